//! What a command that moves ops did not achieve: nothing is broken, but something is left to do.

/// What is left. Each was reported in full before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Shortfall {
    /// A file of ops holds none.
    #[error("the file is empty")]
    Empty,
    /// Lines of a file are not what they claim to be.
    #[error("{bad} of {lines} lines failed verification; the others were dealt with")]
    Unverified {
        /// How many.
        bad: u64,
        /// All lines.
        lines: u64,
    },
    /// Ops of rooms that the node does not take part in.
    #[error("{lines} lines are ops of rooms this node does not take part in; they were left out")]
    NotJoined {
        /// How many.
        lines: u64,
    },
    /// Ops whose past is not known.
    #[error("{lines} lines wait for ops that are not in the file")]
    Parked {
        /// How many.
        lines: u64,
    },
    /// Routes that could not be connected to, or that are none.
    #[error("cannot reach {route}: {reason}")]
    Unreachable {
        /// The first of them.
        route: String,
        /// Why not.
        reason: String,
    },
    /// A route that does not announce what this node holds.
    #[error("not in sync with {route} after {seconds} s: {lacking}")]
    Apart {
        /// The first of them.
        route: String,
        /// How long was tried.
        seconds: u64,
        /// What is lacking.
        lacking: String,
    },
}

impl Shortfall {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Empty | Self::Unverified { .. } => 5,
            Self::NotJoined { .. } => 10,
            Self::Parked { .. } | Self::Apart { .. } => 7,
            Self::Unreachable { .. } => 4,
        }
    }

    /// The code for searching and for support.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "E0508",
            Self::Unverified { .. } => "E0509",
            Self::NotJoined { .. } => "E0206",
            Self::Parked { .. } => "E0704",
            Self::Apart { .. } => "E0705",
            Self::Unreachable { .. } => "E0404",
        }
    }

    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Empty => "ask for the file again; crdt-node export writes one".into(),
            Self::Unverified { .. } => {
                "the lines were damaged or forged on their way: ask for the file again".into()
            }
            Self::NotJoined { .. } => {
                "if you know a room's name, import again with --room NAME, or first /join NAME"
                    .into()
            }
            Self::Parked { .. } => {
                "they are kept only as long as a node runs that was given them: \
                 import a file that holds what is missing, then this one again"
                    .into()
            }
            Self::Unreachable { .. } => "is it up, and is the address right?".into(),
            Self::Apart { .. } => {
                "what came is kept: run it again, with a longer --timeout, or with \
                 another route that holds what this one keeps back"
                    .into()
            }
        }
    }
}
