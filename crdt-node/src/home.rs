//! A node's home folder: key, configuration, store, and what each command opens of it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crdt_core::id::{AuthorId, RoomName};
use crdt_relayer::config::TlsFiles;
use crdt_relayer::home::STORE_FILE;
use crdt_relayer::store::Store;
use serde::{Deserialize, Serialize};

use crate::error::NodeError;
use crate::identity;

/// The relay of a node that was told none.
pub const DEFAULT_RELAY: &str = "ws://127.0.0.1:8080/websocket";

/// The room of a node that was told none.
pub const DEFAULT_ROOM: &str = "main";

/// `config.toml` in a home.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Whose home it is.
    pub name: String,
    /// Relays to connect to.
    pub relays: Vec<String>,
    /// Nodes to connect to directly.
    #[serde(default)]
    pub peers: Vec<String>,
    /// Where to accept connections of other nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// Keys of those who may connect, if not everybody may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// The certificate chain, in PEM, with which what is accepted is encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key, in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
    /// Authorities to trust besides the system's, in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Whether plain text may go to and come from other machines.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure_plain: bool,
    /// Rooms to take part in; the first is the one lines are written to.
    pub rooms: Vec<String>,
}

/// A node's home.
#[derive(Clone, Debug)]
pub struct Home {
    path: PathBuf,
    name: String,
}

impl Home {
    /// The home of a name: `path` if given, else under the user's data folder.
    ///
    /// # Errors
    /// The name is no file name, or the user has no data folder.
    pub fn of(name: &str, path: Option<&Path>) -> Result<Self, NodeError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
            let message = format!("{name:?} is no name: use letters, digits, - _ .");
            return Err(NodeError::Usage(message));
        }
        let path = match path {
            Some(path) => path.to_owned(),
            None => dirs::data_dir()
                .ok_or_else(|| NodeError::Usage("this user has no data folder: use --home".into()))?
                .join("crdt-node")
                .join(name),
        };
        Ok(Self { path, name: name.to_owned() })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The node's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The secret key's file.
    pub fn key(&self) -> PathBuf {
        self.path.join("key.pem")
    }

    /// The store's file.
    pub fn store(&self) -> PathBuf {
        self.path.join(STORE_FILE)
    }

    /// The line editor's history.
    pub fn history(&self) -> PathBuf {
        self.path.join("history")
    }

    /// The configuration's file.
    pub fn config(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    /// Writes the first configuration.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_settings(&self, settings: &Settings) -> Result<(), NodeError> {
        let path = self.config();
        let text = toml::to_string(settings)
            .map_err(|error| NodeError::Config { path: path.clone(), reason: error.to_string() })?;
        fs::write(&path, text).map_err(|source| NodeError::File { path, source })
    }

    /// Reads the configuration of a home that was made.
    ///
    /// # Errors
    /// There is no key, the home is another name's, or the file is malformed.
    pub fn settings(&self) -> Result<Settings, NodeError> {
        if !self.key().exists() {
            let (home, name) = (self.path.clone(), self.name.clone());
            return Err(NodeError::NoIdentity { home, name });
        }
        let path = self.config();
        let text = fs::read_to_string(&path)
            .map_err(|source| NodeError::File { path: path.clone(), source })?;
        let settings: Settings = toml::from_str(&text)
            .map_err(|error| NodeError::Config { path, reason: error.message().to_owned() })?;
        if settings.name != self.name {
            let (home, name) = (self.path.clone(), self.name.clone());
            return Err(NodeError::OtherName { home, owner: settings.name, name });
        }
        Ok(settings)
    }

    /// The files that the configuration names to encrypt with. A relative path begins in the home.
    ///
    /// # Errors
    /// It names one of the two.
    pub fn tls_files(&self, settings: &Settings) -> Result<Option<TlsFiles>, NodeError> {
        match (&settings.tls_cert, &settings.tls_key) {
            (None, None) => Ok(None),
            (Some(cert), Some(key)) => {
                Ok(Some(TlsFiles { cert: self.path.join(cert), key: self.path.join(key) }))
            }
            (Some(_), None) | (None, Some(_)) => Err(NodeError::Config {
                path: self.config(),
                reason: "`tls_cert` and `tls_key` go together".into(),
            }),
        }
    }

    /// The author of this home, without its secret key.
    ///
    /// # Errors
    /// There is no key, or its public half cannot be read.
    pub fn author(&self) -> Result<AuthorId, NodeError> {
        self.settings()?;
        identity::load_public(&self.key())
    }

    /// Opens the store for reading, also beside a running node.
    ///
    /// # Errors
    /// There is no key, or the store cannot be read.
    pub fn open_store(&self) -> Result<Store, NodeError> {
        self.settings()?;
        Ok(Store::open_read(&self.store())?)
    }

    /// The room a command is about: the one named, else the first configured.
    ///
    /// # Errors
    /// The name is not allowed.
    pub fn room(&self, named: Option<&str>) -> Result<RoomName, NodeError> {
        let settings = self.settings()?;
        let first = settings.rooms.first().map_or(DEFAULT_ROOM, String::as_str);
        Ok(RoomName::parse(named.unwrap_or(first))?)
    }
}
