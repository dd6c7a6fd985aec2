//! Proofs that authors signed two different ops at one place: listed, shown, exported.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use crdt_core::Replica;
use crdt_core::effect::{Load, PeerId, Select};
use crdt_core::evidence::{Equivocation, Evidence};
use crdt_core::id::{ForkId, RoomId};
use crdt_core::op::Op;
use crdt_relayer::error::StoreError;
use crdt_relayer::store::Store;
use serde_json::json;

use crate::error::NodeError;
use crate::report;
use crate::show;

/// One equivocation, and the name of its room.
#[derive(Clone, Debug)]
pub struct Found {
    /// The room's name, or its id.
    pub room: String,
    /// The equivocation.
    pub equivocation: Equivocation,
}

/// How an equivocation is called: `ev-` and the first digits of its id.
pub fn name(id: ForkId) -> String {
    format!("ev-{}", show::short(&id))
}

/// Every equivocation a replica knows of, by room, author and place.
pub fn all(replica: &Replica) -> Vec<Found> {
    let of_room = |room: RoomId| {
        let name = replica.status(room).and_then(|status| status.name);
        let name = name.map_or_else(|| room.to_string(), |name| name.to_string());
        let found = move |equivocation| Found { room: name.clone(), equivocation };
        replica.equivocations(room).map(found)
    };
    replica.rooms().flat_map(of_room).collect()
}

/// One a line, for people.
pub fn list_text(found: &[Found]) -> String {
    if found.is_empty() {
        return "no author is known to have signed two different ops at one place".to_owned();
    }
    let line = |found: &Found| {
        let Equivocation { author, seq, ops: [a, b], .. } = &found.equivocation;
        format!(
            "{}  room {:<12} author {} signed two ops as #{}: {} and {}",
            name(found.equivocation.id()),
            found.room,
            show::short(author),
            seq.number(),
            show::short(a),
            show::short(b),
        )
    };
    found.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// For programs.
pub fn list_json(found: &[Found]) -> serde_json::Value {
    let entry = |found: &Found| entry_json(&found.room, &found.equivocation);
    json!({
        "schema": "crdt-node/evidence/1", "ok": true, "code": 0,
        "evidence": found.iter().map(entry).collect::<Vec<_>>(),
    })
}

fn entry_json(room: &str, equivocation: &Equivocation) -> serde_json::Value {
    let Equivocation { author, seq, prev, ops: [a, b], .. } = equivocation;
    json!({
        "id": equivocation.id().to_string(),
        "room": room,
        "author": author.to_string(),
        "seq": seq.number(),
        "prev": prev.map(|prev| prev.to_string()),
        "a": a.to_string(),
        "b": b.to_string(),
    })
}

/// The news of an equivocation, for programs.
pub fn event_json(room: &str, equivocation: &Equivocation) -> serde_json::Value {
    let mut event = entry_json(room, equivocation);
    event["event"] = json!("evidence");
    event
}

/// The news of an equivocation, for people. Their own is a fault of theirs.
pub fn event_text(equivocation: &Equivocation, own: bool) -> String {
    let Equivocation { author, seq, ops: [a, b], .. } = equivocation;
    let (seq, a, b) = (seq.number(), show::short(a), show::short(b));
    let name = name(equivocation.id());
    if own {
        return format!(
            "WARNING  your own key signed two different ops as #{seq} ({a} and {b}), and everybody \
             can prove it ({name}): it is used in two places, or an old copy of this home was used. \
             Both branches are kept, and this node goes on from its own. Use one home for a key."
        );
    }
    let author = show::short(author);
    format!(
        "WARNING  {author} signed two different ops as #{seq}: {a} and {b}. Both are kept and \
         marked.  /evidence {name}"
    )
}

/// The evidence whose id starts with these digits, `ev-` before them or not.
///
/// # Errors
/// None does, or several do.
pub fn find<'f>(found: &'f [Found], asked: &str) -> Result<&'f Found, NodeError> {
    let digits = asked.strip_prefix("ev-").unwrap_or(asked);
    let fits = |found: &&Found| found.equivocation.id().to_string().starts_with(digits);
    let mut fitting = found.iter().filter(fits);
    match (fitting.next(), fitting.next()) {
        (Some(one), None) if !digits.is_empty() => Ok(one),
        _ => Err(NodeError::NoEvidence { asked: asked.to_owned() }),
    }
}

/// Both ops of an equivocation, and what they prove.
#[derive(Clone, Debug)]
pub struct Proof {
    found: Found,
    ops: [Op; 2],
    evidence: Evidence,
}

/// Reads both ops of an equivocation from a store.
///
/// # Errors
/// No evidence has this name, or the store cannot be read.
pub fn proof(store: &Store, asked: &str) -> Result<Proof, NodeError> {
    let replica = report::restored(store)?;
    let found = find(&all(&replica), asked)?.clone();
    let Equivocation { room, ops, .. } = found.equivocation;
    let positions = ops.iter().filter_map(|op| replica.position(room, *op)).collect();
    let (peer, what) = (PeerId(0), Select::At(positions));
    let load = Load { peer, room, what, bytes_max: usize::MAX, ops_max: ops.len() };
    let mut read: BTreeMap<_, Op> =
        store.load(load)?.ops.into_iter().map(|op| (op.id(), op)).collect();
    let ops = ops.map(|id| read.remove(&id));
    let [Some(a), Some(b)] = ops else {
        return Err(StoreError::Damaged("an op of the evidence".to_owned()).into());
    };
    let evidence = Evidence::of(&a, &b).map_err(|error| StoreError::Damaged(error.to_string()))?;
    Ok(Proof { found, ops: [a, b], evidence })
}

impl Proof {
    /// Both ops side by side, for people.
    pub fn text(&self) -> String {
        let Equivocation { author, seq, prev, .. } = &self.found.equivocation;
        let after = match prev {
            Some(prev) => format!("both follow its op {}", show::short(prev)),
            None => "both claim to be its first op".to_owned(),
        };
        let mut lines = vec![
            format!("{}  room {}", name(self.found.equivocation.id()), self.found.room),
            format!("author {author} signed two different ops as #{}; {after}", seq.number()),
        ];
        for op in &self.ops {
            lines.push(format!("op {}  claims {}", op.id(), show::clock(op.head().ts.as_ms())));
            for entry in op.entries() {
                lines.push(format!("     {}", show::describe(&entry)));
            }
        }
        lines.join("\n")
    }

    /// For programs.
    pub fn json(&self) -> serde_json::Value {
        let mut entry = entry_json(&self.found.room, &self.found.equivocation);
        entry["schema"] = json!("crdt-node/evidence-item/1");
        entry["ok"] = json!(true);
        entry["code"] = json!(0);
        entry["ops"] = self
            .ops
            .iter()
            .filter_map(|op| serde_json::from_str::<serde_json::Value>(&op.to_string()).ok())
            .collect();
        entry
    }

    /// The evidence file.
    pub fn file(&self) -> String {
        format!("{}\n", self.evidence)
    }

    /// Writes the evidence file; one that exists is kept.
    ///
    /// # Errors
    /// The file exists or cannot be written.
    pub fn export(&self, path: &Path) -> Result<(), NodeError> {
        let written = File::create_new(path).and_then(|mut file| {
            file.write_all(self.file().as_bytes())?;
            file.sync_all()
        });
        written.map_err(|source| NodeError::file(path, source))
    }
}
