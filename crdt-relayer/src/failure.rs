//! Why the program ends badly: a sentence, what to do, and an exit code.

use std::io;

use crdt_relayer::backup::BackupError;
use crdt_relayer::error::StoreError;
use crdt_relayer::home::HomeError;
use crdt_relayer::relayer::RelayerError;

pub(crate) struct Failure {
    pub(crate) sentence: String,
    pub(crate) hint: String,
    pub(crate) code: u8,
}

impl From<RelayerError> for Failure {
    fn from(error: RelayerError) -> Self {
        let (hint, code) = match &error {
            RelayerError::Home(HomeError::Busy(_)) => {
                ("stop the other relayer, or give this one its own --data folder", 9)
            }
            RelayerError::Home(HomeError::Io { .. })
            | RelayerError::Store(StoreError::Open { .. } | StoreError::Missing { .. }) => {
                ("check the folder's owner and permissions, or choose another with --data", 3)
            }
            RelayerError::Listen { .. } => {
                ("is another relayer running? choose another address with --listen", 4)
            }
            RelayerError::Tls(_) => (
                "check the files that --tls-cert, --tls-key and --ca-file name, and who may read them",
                3,
            ),
            RelayerError::Store(StoreError::Full) => {
                ("free some space and start again; members send what was not acknowledged", 3)
            }
            RelayerError::Store(StoreError::Damaged(_)) => (
                "keep the file as evidence and start with a new --data folder; members send all again",
                5,
            ),
            RelayerError::Store(StoreError::Layout { .. }) => {
                ("run the version that wrote it, or start with a new --data folder", 3)
            }
            RelayerError::Store(StoreError::Io(_) | StoreError::NoRoom(_)) => {
                ("check the disk and start again; members send what was not acknowledged", 3)
            }
            RelayerError::Stopped(_) => {
                ("everything acknowledged is safe; please report what was printed above", 1)
            }
            RelayerError::Random(_) => ("check that /dev/urandom can be read", 1),
        };
        Self { sentence: error.to_string(), hint: hint.into(), code }
    }
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        let (hint, code) = match error {
            BackupError::Store(error) => return RelayerError::Store(error).into(),
            BackupError::Home(error) => return RelayerError::Home(error).into(),
            BackupError::Random(error) => return RelayerError::Random(error).into(),
            BackupError::Exists(_) => ("nothing is written over; name another file", 3),
            BackupError::Occupied(_) => {
                ("name an empty folder with --data, or put the store there aside with --force", 3)
            }
            BackupError::Unverified { .. } => (
                "nothing was changed; try an older backup, or start with an empty folder: \
                 members send all again",
                5,
            ),
            BackupError::File { .. } => {
                ("check that it is there, who may use it, and the space", 3)
            }
        };
        Self { sentence: error.to_string(), hint: hint.into(), code }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let hint = "check the output it is written to".into();
        Self { sentence: error.to_string(), hint, code: 1 }
    }
}
