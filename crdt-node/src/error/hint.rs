//! What to do next, for each error.

use std::io::ErrorKind;

use crdt_relayer::address::UrlError;
use crdt_relayer::error::StoreError;
use crdt_relayer::home::HomeError;

use super::NodeError;

impl NodeError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Short(shortfall) => shortfall.hint(),
            Self::Usage(_) => "crdt-node --help lists commands and flags".into(),
            Self::RoomName(_) => "for example: main, ledger-2, team.eu".into(),
            Self::NoIdentity { name, .. } => format!("crdt-node init {name}"),
            Self::KeyExists { name, .. } => format!("crdt-node run {name}, or choose another name"),
            Self::OtherName { owner, .. } => {
                format!("use the name {owner}, or another --home for another node")
            }
            Self::KeyMode { key, .. } => format!("chmod 600 {}", key.display()),
            Self::KeyFormat { .. } => "put the right file back; openssl pkey reads it".into(),
            Self::NoPassphrase { .. } | Self::NoTerminal { .. } => "give it with --passphrase-file FILE".into(),
            Self::Passphrase { .. } => "try again; nothing was changed".into(),
            Self::Config { .. } => {
                "mend the file; it knows `name`, `relays`, `peers`, `listen`, `allow`, `tls_cert`, \
                 `tls_key`, `ca_file`, `insecure_plain` and `rooms`"
                    .into()
            }
            Self::NoSubject { .. } => "name an exported file, or a node made with init".into(),
            Self::Exists { .. } => "choose another file name".into(),
            Self::Plain { .. } => UrlError::Plain.hint().into(),
            Self::Url { .. } => UrlError::Malformed.hint().into(),
            Self::Credentials => UrlError::Credentials.hint().into(),
            Self::PlainDoor(_) => {
                "give --tls-cert and --tls-key, or --insecure-plain where a proxy or tunnel encrypts"
                    .into()
            }
            Self::Tls(_) => {
                "check the files that --tls-cert, --tls-key and --ca-file or config.toml name".into()
            }
            Self::Listen(..) => "is it taken? choose another address with --listen".into(),
            Self::Input { source, .. } if source.kind() == ErrorKind::NotFound => {
                "name a file that is there".into()
            }
            Self::File { .. } | Self::Input { .. } | Self::Home(HomeError::Io { .. }) => {
                "check owner, permissions and free space; nothing was lost".into()
            }
            Self::Home(HomeError::Busy(_)) => {
                "log, status, verify, export, import work beside it; /relay add in it adds a route"
                    .into()
            }
            Self::KeyBusy { .. } => "stop it: two that write would fork your chain".into(),
            Self::NoProof(_) => "it proves nothing against anybody; ask for the file again".into(),
            Self::Store(StoreError::Missing { .. }) => {
                "put it back: signing without it could contradict what this key has signed before; \
                 or make a node with a new name and key"
                    .into()
            }
            Self::Store(StoreError::Full) => "free some space and start again".into(),
            Self::Unverified(_) | Self::Store(StoreError::Damaged(_)) => {
                "keep the file as evidence; a node with a new name and key gets a good copy".into()
            }
            Self::Marks { .. } | Self::Store(StoreError::Open { .. } | StoreError::Io(_)) => {
                "check the disk, its free space and permissions, then start again".into()
            }
            Self::Store(StoreError::Layout { .. }) => "use the version that wrote it".into(),
            Self::NoRoom(_) | Self::Store(StoreError::NoRoom(_)) => "crdt-node status lists the rooms".into(),
            Self::NotRelayed { unsent: 0, way, .. } | Self::NotSynced { unsent: 0, way, .. } => {
                format!("nothing was lost and nothing waits to be sent{}", way.hint())
            }
            Self::NotRelayed { unsent, way, .. } | Self::NotSynced { unsent, way, .. } => format!(
                "nothing was lost: {unsent} of your ops are safe here and will be sent by the next \
                 run{}",
                way.hint()
            ),
            Self::Unsigned { file, .. } => format!(
                "once a relay or peer can be reached, run the node with < {}; when that has ended well, \
                 remove the file; --trust-store signs without asking anybody",
                file.display()
            ),
            Self::NoEvidence { .. } => "crdt-node evidence NAME list names all".into(),
            Self::LinesRefused { .. } => "each refusal was reported with its line".into(),
            Self::Equivocation { .. } => "--allow-forks accepts that; both ops are kept".into(),
            Self::Demo(_) | Self::DemoFailed(_) => {
                "run it again with --keep and look at the folder it names".into()
            }
            Self::Stdio(_) => "check what the output is written to".into(),
            Self::Random(_) | Self::Terminal(_) | Self::Stopped(_) => {
                "everything acknowledged is safe; please report this".into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use crdt_core::id::RoomName;

    use super::*;
    use crate::error::Way;

    #[test]
    fn a_hint_is_about_what_went_wrong() {
        let input = |kind: ErrorKind| {
            NodeError::Input { path: "x".into(), source: io::Error::from(kind) }.hint()
        };
        assert_eq!(input(ErrorKind::NotFound), "name a file that is there");
        assert!(input(ErrorKind::PermissionDenied).contains("permissions"));
        let alone = |unsent, way| {
            let reason = String::new();
            NodeError::NotSynced { seconds: 1, reason, unsent, way }.hint()
        };
        assert_eq!(
            alone(0, Way::None),
            "nothing was lost and nothing waits to be sent; give --relay or --peer, or add one to \
             config.toml"
        );
        assert!(alone(2, Way::Down).ends_with("by the next run; is the other side up?"));
        assert!(alone(2, Way::Other).ends_with("by the next run"));
    }

    #[test]
    fn a_room_that_a_node_has_not_is_called_by_its_name() {
        let room = RoomName::parse("nope").unwrap();
        let missing = NodeError::Store(StoreError::NoRoom(room.id().to_string())).in_room(&room);
        assert_eq!(missing.to_string(), "this node has no room nope");
        assert_eq!((missing.exit_code(), missing.code()), (3, "E0506"));
    }
}
