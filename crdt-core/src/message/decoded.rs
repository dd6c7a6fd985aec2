//! A frame that waits to be handled, decoded already.

use super::{DecodeError, Received};
use crate::op::HashedOp;
use crate::rejection::Rejection;

/// A frame that came, and all that can be said of it without knowing anything else: decoding it and
/// hashing its ops is work that may be done where and when there is time for it.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// What it says, if it says anything.
    pub(crate) received: Result<Received, DecodeError>,
    /// Its bytes on the wire.
    pub(crate) bytes: usize,
    /// Whether its signatures were looked ahead at, all of them.
    pub(crate) looked: bool,
}

impl Decoded {
    /// Decodes a frame.
    pub fn of(frame: &[u8]) -> Self {
        Self { received: Received::decode(frame), bytes: frame.len(), looked: false }
    }

    /// Bytes of memory that it takes, at most: an op or id takes less than its text, but one that is
    /// refused takes the place of an op.
    pub fn weight(&self) -> usize {
        let Ok(Received::Ops(batch)) = &self.received else { return self.bytes };
        let refused = batch.ops.iter().filter(|op| op.is_err()).count();
        self.bytes.saturating_add(refused.saturating_mul(size_of::<Result<HashedOp, Rejection>>()))
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;
    use crate::fixtures::{Author, entry, room};
    use crate::limits;
    use crate::message::encode_ops;

    #[test]
    fn what_a_frame_takes_of_memory_is_known_before_it_waits() {
        let op = entry(&Author::new(1), &[], "1");
        let good = encode_ops(room("main"), [&op], None, &[]);
        assert_eq!(Decoded::of(good.as_bytes()).weight(), good.len());
        let place = size_of::<Result<HashedOp, Rejection>>();
        assert!(place < op.to_string().len(), "an op takes less than its text");
        let many = vec!["0"; limits::BATCH_OPS_MAX].join(",");
        let bad = encode_ops(room("main"), [], None, &[]);
        let bad = bad.replace("\"ops\":[", &format!("\"ops\":[{many}"));
        let weight = Decoded::of(bad.as_bytes()).weight();
        assert_eq!(weight, bad.len() + limits::BATCH_OPS_MAX * place);
    }
}
