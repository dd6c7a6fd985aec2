//! Whom this process believes when it dials an encrypted address: the authorities that the system
//! trusts, and those of a file.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, Error, RootCertStore, version};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio_rustls::TlsConnector;

use crate::distrust;
use crate::ended::Ended;
use crate::tls::{TlsError, unreadable};

/// The first second of the year 10000: no certificate can be written that is valid then.
const AFTER_ALL_S: u64 = 253_402_300_800;

/// The authorities that are believed. Clones share them. Made once per process; the system's are
/// read when the first encrypted address is dialled.
#[derive(Clone)]
pub struct Roots {
    /// Those of the file.
    given: Arc<RootCertStore>,
    client: Arc<OnceCell<Client>>,
}

#[derive(Clone)]
struct Client {
    config: Arc<ClientConfig>,
    verifier: Arc<WebPkiServerVerifier>,
}

impl Default for Roots {
    fn default() -> Self {
        Self { given: Arc::new(RootCertStore::empty()), client: Arc::default() }
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roots").field("given", &self.given.len()).finish_non_exhaustive()
    }
}

/// An encrypted connection to somebody whose certificate holds.
#[derive(Debug)]
pub struct Encrypted<S> {
    /// The connection.
    pub stream: S,
    /// Seconds since 1970 after which the other side's certificate does not hold any more.
    pub valid_until: u64,
}

impl Roots {
    /// The system's authorities, and those of a PEM file, if one is given.
    ///
    /// # Errors
    /// [`TlsError`]: the file holds none that can be used.
    pub fn read(ca_file: Option<&Path>) -> Result<Self, TlsError> {
        let mut given = RootCertStore::empty();
        if let Some(file) = ca_file {
            let authorities: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(file)
                .and_then(Iterator::collect)
                .map_err(|error| unreadable(file, "certificate", error))?;
            let none = || rustls::pki_types::pem::Error::NoItemsFound;
            if authorities.is_empty() {
                return Err(unreadable(file, "certificate", none()));
            }
            for authority in authorities {
                given.add(authority).map_err(|source| TlsError::Authority {
                    file: file.display().to_string(),
                    source,
                })?;
            }
        }
        Ok(Self { given: Arc::new(given), client: Arc::default() })
    }

    /// What a connection is encrypted with.
    pub(crate) async fn config(&self) -> Result<Arc<ClientConfig>, Ended> {
        Ok(Arc::clone(&self.client().await?.config))
    }

    async fn client(&self) -> Result<&Client, Ended> {
        let given = RootCertStore::clone(&self.given);
        let made = || async {
            // Reading them takes a hundred files on some systems.
            spawn_blocking(|| client(given)).await.map_err(|_| Ended::lost("stopping"))?
        };
        self.client.get_or_try_init(made).await
    }

    /// Encrypts a connection to this host, a name or an address, if its certificate holds.
    ///
    /// # Errors
    /// Why there is none, in a sentence that says what to do.
    pub async fn encrypt(
        &self,
        stream: TcpStream,
        host: &str,
    ) -> Result<Encrypted<impl AsyncRead + AsyncWrite + Unpin + Send + use<>>, Ended> {
        let Client { config, verifier } = self.client().await?;
        let name = ServerName::try_from(host).map_err(|_| distrust::no_name(host))?.to_owned();
        let connecting = TlsConnector::from(Arc::clone(config)).connect(name.clone(), stream);
        let stream = connecting.await.map_err(|error| distrust::of_io(&error))?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let valid_until = valid_until(verifier, chain, &name);
        Ok(Encrypted { stream, valid_until })
    }
}

fn client(mut roots: RootCertStore) -> Result<Client, Ended> {
    let found = rustls_native_certs::load_native_certs();
    // What cannot be read is as if it were not there: whom it would have vouched for is refused.
    let (_added, _ignored) = roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(distrust::no_authorities());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .map_err(|error| Ended::refused(format!("TLS cannot be used: {error}")))?;
    let mut config = ClientConfig::builder_with_provider(provider)
        // Not every proxy speaks the newer one.
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .map_err(|error| distrust::of(&error))?
        .with_webpki_verifier(Arc::clone(&verifier))
        .with_no_client_auth();
    // The certificate is checked each time: one that has expired meanwhile ends the trust in it.
    config.resumption = Resumption::disabled();
    Ok(Client { config: Arc::new(config), verifier })
}

/// When the first certificate of a chain that holds will not do so any more, in seconds since 1970.
fn valid_until(
    verifier: &WebPkiServerVerifier,
    chain: &[CertificateDer<'_>],
    name: &ServerName<'_>,
) -> u64 {
    let Some((own, others)) = chain.split_first() else { return 0 };
    let then = UnixTime::since_unix_epoch(Duration::from_secs(AFTER_ALL_S));
    // The verifier says of an expired certificate when it expired, and looks at the server's first.
    match verifier.verify_server_cert(own, others, name, &[], then) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            not_after.as_secs()
        }
        Ok(_) | Err(_) => AFTER_ALL_S,
    }
}
