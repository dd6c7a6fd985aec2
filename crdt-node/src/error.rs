//! What can go wrong for a user: one sentence, what to do next, and an exit code.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crdt_core::id::{AuthorId, RoomName, RoomNameError};
use crdt_core::rejection::Rejection;
use crdt_relayer::address::UrlError;
use crdt_relayer::driver::Stopped;
use crdt_relayer::error::StoreError;
use crdt_relayer::home::HomeError;
use crdt_relayer::tls::TlsError;

use crate::shortfall::Shortfall;

mod hint;
mod way;

pub use way::Way;

/// Everything that ends a command early.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// A flag or argument makes no sense.
    #[error("{0}")]
    Usage(String),
    /// A room name is not allowed.
    #[error(transparent)]
    RoomName(#[from] RoomNameError),
    /// No key was made here yet.
    #[error("{home} holds no key")]
    NoIdentity {
        /// The home.
        home: PathBuf,
        /// The node's name.
        name: String,
    },
    /// There is a key already; it was kept.
    #[error("{key} exists already; it was kept as it is")]
    KeyExists {
        /// The key file.
        key: PathBuf,
        /// Whose it is.
        name: String,
    },
    /// The home belongs to another name.
    #[error("{home} belongs to {owner}, not to {name}")]
    OtherName {
        /// The home.
        home: PathBuf,
        /// Whose it is.
        owner: String,
        /// Who asked.
        name: String,
    },
    /// Others may read the key file.
    #[error("key file {key} is readable by other users (mode {mode:04o})")]
    KeyMode {
        /// The key file.
        key: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The key file is no Ed25519 key in PKCS#8.
    #[error("key file {key} is no Ed25519 key in PKCS#8 PEM")]
    KeyFormat {
        /// The key file.
        key: PathBuf,
    },
    /// The key is encrypted and no passphrase was given.
    #[error("key file {key} is encrypted and there is no terminal to ask for its passphrase")]
    NoPassphrase {
        /// The key file.
        key: PathBuf,
    },
    /// A passphrase was to be asked for, for a key that is made.
    #[error("there is no terminal to ask for a passphrase of {key}")]
    NoTerminal {
        /// The key file.
        key: PathBuf,
    },
    /// The passphrase is wrong.
    #[error("the passphrase does not open {key}")]
    Passphrase {
        /// The key file.
        key: PathBuf,
    },
    /// The configuration cannot be read.
    #[error("{path}: {reason}")]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A relay's address is none.
    #[error("{url} is no websocket address")]
    Url {
        /// The address.
        url: String,
    },
    /// An address of another machine is to be dialled in plain text.
    #[error("{url}: {}", UrlError::Plain)]
    Plain {
        /// The address.
        url: String,
    },
    /// An address holds a name or password. It is not repeated.
    #[error("{}", UrlError::Credentials)]
    Credentials,
    /// Other machines are to be let in in plain text.
    #[error("{0} can be reached from other machines, and nothing is encrypted")]
    PlainDoor(SocketAddr),
    /// Certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Neither a file nor a node has this name.
    #[error("there is no file and no node named {subject}")]
    NoSubject {
        /// What was asked for.
        subject: String,
    },
    /// A file is there already.
    #[error("{path} exists already; it was kept")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that was named to be read cannot be.
    #[error("{path}: {source}")]
    Input {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The node takes no part in this room.
    #[error("this node has no room {0}")]
    NoRoom(RoomName),
    /// The home cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system gives no randomness.
    #[error("the system gives no randomness: {0}")]
    Random(#[from] getrandom::Error),
    /// An address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// Nothing could be sent in time.
    #[error("no relay or peer acknowledged within {seconds} s: {reason}")]
    NotRelayed {
        /// How long was waited.
        seconds: u64,
        /// What the link said last.
        reason: String,
        /// Own ops that wait.
        unsent: usize,
        /// What may help.
        way: Way,
    },
    /// The log did not converge in time.
    #[error("not in sync with a relay or peer after {seconds} s: {reason}")]
    NotSynced {
        /// How long was waited.
        seconds: u64,
        /// What is missing.
        reason: String,
        /// Own ops that wait.
        unsent: usize,
        /// What may help.
        way: Way,
    },
    /// Another process signs with the key, perhaps from another home.
    #[error("another process signs with the key {author}, from this home or from a copy of it")]
    KeyBusy {
        /// The key.
        author: AuthorId,
    },
    /// It could not be noted how much the key has signed.
    #[error(
        "{path}: {source}; all that was shown as recorded is recorded, but how much your key has \
             signed could not be noted"
    )]
    Marks {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is no evidence.
    #[error("this is no evidence: {0}")]
    NoProof(String),
    /// Nothing could be signed before the run ended.
    #[error(
        "not recorded: {lines} line{}, kept in {file}: your own ops were not all known yet, and \
             signing might have contradicted them", if *lines == 1 { "" } else { "s" }
    )]
    Unsigned {
        /// How many.
        lines: usize,
        /// Where they are.
        file: PathBuf,
    },
    /// No evidence has this name, or several pieces do.
    #[error("no single piece of evidence is called {asked}")]
    NoEvidence {
        /// What was asked for.
        asked: String,
    },
    /// Some lines were refused; the others are recorded.
    #[error("{refused} of {lines} lines were refused{}", if refused < lines { "; the others are recorded" } else { "" })]
    LinesRefused {
        /// Refused lines.
        refused: u64,
        /// All lines.
        lines: u64,
    },
    /// A verification failed.
    #[error("verification failed: {0}")]
    Unverified(String),
    /// Everything is valid, but an author signed two ops at one place.
    #[error("valid, but {count} equivocations are on record")]
    Equivocation {
        /// How many.
        count: u64,
    },
    /// Something is left to do.
    #[error(transparent)]
    Short(#[from] Shortfall),
    /// The demo did not end as it should; its report says so too.
    #[error("the demo failed: {0}")]
    DemoFailed(String),
    /// The demo could not be played.
    #[error("the demo could not be played: {0}")]
    Demo(String),
    /// Standard output or input failed.
    #[error("standard input or output: {0}")]
    Stdio(#[from] std::io::Error),
    /// The line editor failed.
    #[error("terminal: {0}")]
    Terminal(#[from] rustyline::error::ReadlineError),
    /// The replica ended without saying why.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl From<Rejection> for NodeError {
    fn from(rejection: Rejection) -> Self {
        Self::Store(StoreError::Damaged(rejection.to_string()))
    }
}

impl NodeError {
    /// A file that cannot be used.
    pub fn file(path: &Path, source: std::io::Error) -> Self {
        let path = path.to_owned();
        if source.kind() == std::io::ErrorKind::AlreadyExists {
            Self::Exists { path }
        } else {
            Self::File { path, source }
        }
    }

    /// The same, of a command that was about this room.
    #[must_use]
    pub fn in_room(self, room: &RoomName) -> Self {
        if let Self::Store(StoreError::NoRoom(_)) = self {
            return Self::NoRoom(room.clone());
        }
        self
    }

    /// Whether a report that says so was printed already.
    pub fn is_reported(&self) -> bool {
        matches!(
            self,
            Self::Unverified(_)
                | Self::NoProof(_)
                | Self::Equivocation { .. }
                | Self::DemoFailed(_)
                | Self::Short(_)
        )
    }

    /// Whether the reader of a pipe has gone, as `head` does: nothing is wrong.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Stdio(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Random(_) | Self::Stdio(_) | Self::Terminal(_) | Self::Stopped(_) => 1,
            Self::Usage(_) | Self::RoomName(_) | Self::NoEvidence { .. } => 2,
            Self::NoIdentity { .. }
            | Self::KeyExists { .. }
            | Self::OtherName { .. }
            | Self::KeyMode { .. }
            | Self::KeyFormat { .. }
            | Self::NoPassphrase { .. }
            | Self::NoTerminal { .. }
            | Self::Passphrase { .. }
            | Self::Config { .. }
            | Self::Url { .. }
            | Self::Credentials
            | Self::Plain { .. }
            | Self::PlainDoor(_)
            | Self::Tls(_)
            | Self::NoSubject { .. }
            | Self::Exists { .. }
            | Self::File { .. }
            | Self::Input { .. }
            | Self::NoRoom(_)
            | Self::Marks { .. }
            | Self::Home(HomeError::Io { .. })
            | Self::Store(
                StoreError::Open { .. }
                | StoreError::Missing { .. }
                | StoreError::Full
                | StoreError::Io(_)
                | StoreError::Layout { .. }
                | StoreError::NoRoom(_),
            ) => 3,
            Self::Short(shortfall) => shortfall.exit_code(),
            Self::NotRelayed { .. } | Self::Listen(..) => 4,
            Self::Unverified(_) | Self::NoProof(_) | Self::Store(StoreError::Damaged(_)) => 5,
            Self::Equivocation { .. } => 6,
            Self::NotSynced { .. }
            | Self::Unsigned { .. }
            | Self::Demo(_)
            | Self::DemoFailed(_) => 7,
            Self::Home(HomeError::Busy(_)) | Self::KeyBusy { .. } => 9,
            Self::LinesRefused { .. } => 10,
        }
    }

    /// The code for searching and for support.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Short(shortfall) => shortfall.code(),
            Self::Usage(_) => "E0201",
            Self::RoomName(_) => "E0202",
            Self::LinesRefused { .. } => "E0203",
            Self::NoEvidence { .. } => "E0205",
            Self::KeyMode { .. } => "E0301",
            Self::NoIdentity { .. } => "E0302",
            Self::KeyExists { .. } => "E0303",
            Self::NoPassphrase { .. } | Self::NoTerminal { .. } | Self::Passphrase { .. } => {
                "E0304"
            }
            Self::Config { .. } => "E0305",
            Self::KeyFormat { .. } => "E0307",
            Self::OtherName { .. } => "E0308",
            Self::Home(HomeError::Busy(_)) => "E0309",
            Self::KeyBusy { .. } => "E0313",
            Self::Marks { .. } => "E0314",
            Self::NoProof(_) => "E0507",
            Self::File { .. } | Self::Input { .. } | Self::Home(HomeError::Io { .. }) => "E0310",
            Self::NoSubject { .. } => "E0311",
            Self::Exists { .. } => "E0312",
            Self::Url { .. } | Self::Credentials => "E0401",
            Self::Plain { .. } | Self::PlainDoor(_) => "E0403",
            Self::Tls(_) => "E0315",
            Self::NotRelayed { .. } => "E0402",
            Self::Listen(..) => "E0404",
            Self::Unverified(_) => "E0501",
            Self::Store(StoreError::Damaged(_)) => "E0502",
            Self::Store(StoreError::Missing { .. }) => "E0306",
            Self::Store(StoreError::Full) => "E0503",
            Self::Store(StoreError::Io(_) | StoreError::Open { .. }) => "E0504",
            Self::Store(StoreError::Layout { .. }) => "E0505",
            Self::NoRoom(_) | Self::Store(StoreError::NoRoom(_)) => "E0506",
            Self::Equivocation { .. } => "E0601",
            Self::NotSynced { .. } => "E0701",
            Self::Unsigned { .. } => "E0703",
            Self::Demo(_) | Self::DemoFailed(_) => "E0702",
            Self::Random(_) | Self::Stdio(_) | Self::Terminal(_) | Self::Stopped(_) => "E0101",
        }
    }
}
