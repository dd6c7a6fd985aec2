//! Why an op is refused: one code per rule.

/// Why an op is refused. Whether it is depends on the op and its causal past only, so it is the
/// same on every node and for ever; which of several broken rules is named may differ. Source:
/// `docs/PROTOCOL.md`, "Validity".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// A field is missing, has the wrong type, or is not known.
    #[error("field `{0}` is missing, malformed or unknown")]
    Field(&'static str),
    /// The head or the data is larger or nested deeper than allowed.
    #[error("`{0}` is larger or nested deeper than allowed")]
    Size(&'static str),
    /// `v` is not 1.
    #[error("unknown protocol version")]
    Version,
    /// Fields of the head contradict one another.
    #[error("field `{0}` contradicts the rest of the head")]
    Head(&'static str),
    /// `dh` or `dl` is not the hash or length of the data.
    #[error("the data does not match its hash and length")]
    Data,
    /// `id` is not the hash of the head.
    #[error("the id is not the hash of the head")]
    Id,
    /// `author` is no acceptable public key.
    #[error("the author is no acceptable public key")]
    Key,
    /// `sig` is not the author's signature over the id.
    #[error("the signature is not by the author over this id")]
    Signature,
    /// The data of an `entry` op is not an array of 1 to 256 values.
    #[error("an entry op holds an array of 1 to 256 values")]
    Entry,
    /// The op belongs to another room.
    #[error("the op belongs to another room")]
    Room,
    /// `grant` does not let the author write here.
    #[error("the grant does not let this author write here")]
    Grant,
    /// `prev` is not the author's op just before this one, or is later by its own timestamp.
    #[error("the op does not continue its author's chain")]
    Chain,
    /// `depth` is not one more than that of the deepest dependency.
    #[error("the depth is not one more than that of the deepest dependency")]
    Depth,
    /// The op depends on one that was refused.
    #[error("the op depends on a refused one")]
    Ancestor,
}

impl Rejection {
    /// The code on the wire.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Field(_) => "field",
            Self::Size(_) => "size",
            Self::Version => "version",
            Self::Head(_) => "head",
            Self::Data => "data",
            Self::Id => "id",
            Self::Key => "key",
            Self::Signature => "sig",
            Self::Entry => "entry",
            Self::Room => "room",
            Self::Grant => "grant",
            Self::Chain => "chain",
            Self::Depth => "depth",
            Self::Ancestor => "ancestor",
        }
    }
}
