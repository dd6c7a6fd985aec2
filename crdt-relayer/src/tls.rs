//! Encryption: TLS 1.3 with the certificate an operator gives, read again when told to.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, version};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::config::TlsFiles;

/// A certificate that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{file} cannot be read: {reason}")]
    Unreadable {
        /// Which.
        file: String,
        /// Why.
        reason: std::io::Error,
    },
    /// A file holds nothing of its kind.
    #[error("{file} holds no {what} in PEM: {reason}")]
    File {
        /// Which.
        file: String,
        /// What it should hold.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// Certificate and key do not go together.
    #[error("the certificate and its key cannot be used: {0}")]
    Pair(rustls::Error),
    /// What should be an authority's certificate is none.
    #[error("{file} holds a certificate that cannot be used: {source}")]
    Authority {
        /// Which file.
        file: String,
        /// Why.
        source: rustls::Error,
    },
}

/// A certificate with its key, replaced while it is in use.
#[derive(Clone, Debug)]
pub struct Certificates(Arc<watch::Sender<Arc<ServerConfig>>>);

impl Certificates {
    /// Reads them.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let (sender, _) = watch::channel(Arc::new(server(files)?));
        Ok(Self(Arc::new(sender)))
    }

    /// Reads them again, for connections from now on.
    ///
    /// # Errors
    /// [`TlsError`]; the ones before stay in use.
    pub fn reread(&self, files: &TlsFiles) -> Result<(), TlsError> {
        self.0.send_replace(Arc::new(server(files)?));
        Ok(())
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0.borrow()))
    }
}

fn server(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(&files.cert, "certificate", error))?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| unreadable(&files.key, "private key", error))?;
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&version::TLS13])
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(TlsError::Pair)
}

/// Why a file that should hold PEM is of no use.
pub(crate) fn unreadable(file: &Path, what: &'static str, error: pem::Error) -> TlsError {
    let file = file.display().to_string();
    if let pem::Error::Io(reason) = error {
        return TlsError::Unreadable { file, reason };
    }
    TlsError::File { file, what, reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_is_told_from_one_that_holds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |name: &str| {
            let file = folder.path().join(name);
            let files = TlsFiles { cert: folder.path().join("cert.pem"), key: file };
            Certificates::read(&files).unwrap_err().to_string()
        };
        assert!(refused("key.pem").contains("cert.pem cannot be read: "));
        std::fs::write(folder.path().join("cert.pem"), "").unwrap();
        std::fs::write(folder.path().join("key.pem"), "").unwrap();
        assert!(refused("key.pem").contains("key.pem holds no private key in PEM: "));
        assert!(refused("absent.pem").contains("absent.pem cannot be read: "));
    }
}
