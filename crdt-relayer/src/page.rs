//! Ops read for one peer, up to what fits into a message.

use crdt_core::effect::Load;
use crdt_core::op::Op;

/// A page being filled.
#[derive(Debug)]
pub(crate) struct Page<'l> {
    ops: Vec<Op>,
    bytes: usize,
    load: &'l Load,
}

impl<'l> Page<'l> {
    pub(crate) fn new(load: &'l Load) -> Self {
        Self { ops: Vec::new(), bytes: 0, load }
    }

    /// Adds an op; `true` if the page is then full.
    pub(crate) fn add(&mut self, op: Op) -> bool {
        self.bytes += op.weight();
        self.ops.push(op);
        self.bytes >= self.load.bytes_max || self.ops.len() >= self.load.ops_max
    }

    pub(crate) fn into_ops(self) -> Vec<Op> {
        self.ops
    }
}
