//! How a node's connections are kept from being read on the way: what flags say, or else the
//! configuration.

use std::net::SocketAddr;
use std::path::PathBuf;

use crdt_relayer::address::{PlainText, UrlError};
use crdt_relayer::config::TlsFiles;
use crdt_relayer::dial::Dialer;
use crdt_relayer::roots::Roots;
use crdt_relayer::tls::Certificates;

use crate::error::NodeError;
use crate::home::{Home, Settings};

/// What flags say.
#[derive(Clone, Debug, Default)]
pub struct Security {
    /// Authorities to trust besides the system's, in PEM.
    pub ca_file: Option<PathBuf>,
    /// Where plain text may go.
    pub plain: PlainText,
}

impl Security {
    /// What the configuration says where the flags say nothing. A relative path in it begins in the
    /// home.
    #[must_use]
    pub fn or(self, home: &Home, settings: &Settings) -> Self {
        let configured = settings.ca_file.as_ref().map(|file| home.path().join(file));
        let plain = self.plain == PlainText::Anywhere || settings.insecure_plain;
        Self { ca_file: self.ca_file.or(configured), plain: PlainText::allowed(plain) }
    }

    /// What addresses are dialled with.
    ///
    /// # Errors
    /// The file holds no authority that can be used.
    pub fn dialer(&self) -> Result<Dialer, NodeError> {
        Ok(Dialer::new(Roots::read(self.ca_file.as_deref())?, self.plain))
    }

    /// What is served on an address is encrypted with, if anything.
    ///
    /// # Errors
    /// The files cannot be used, or there are none and the address is one that other machines
    /// reach.
    pub fn certificates(
        &self,
        listen: Option<SocketAddr>,
        files: Option<&TlsFiles>,
    ) -> Result<Option<Certificates>, NodeError> {
        match (listen, files) {
            (None, _) => Ok(None),
            (Some(_), Some(files)) => Ok(Some(Certificates::read(files)?)),
            (Some(address), None) if self.plain.may_pass(address.ip()) => Ok(None),
            (Some(address), None) => Err(NodeError::PlainDoor(address)),
        }
    }
}

/// Whether an address may be dialled.
///
/// # Errors
/// [`NodeError::Url`], [`NodeError::Plain`], [`NodeError::Credentials`].
pub fn check_address(dialer: &Dialer, url: &str) -> Result<(), NodeError> {
    dialer.check(url).map_err(|error| match error {
        UrlError::Plain => NodeError::Plain { url: url.to_owned() },
        UrlError::Malformed => NodeError::Url { url: url.to_owned() },
        UrlError::Credentials => NodeError::Credentials,
    })
}
