//! What an operator can set: each setting is a flag, an environment variable, a key of the
//! configuration file and a default, and the first of these that is given counts.
//! Source: `docs/OPERATIONS.md`, "Settings".

mod file;
mod resolve;
mod setting;
mod template;
mod value;

use std::net::SocketAddr;
use std::path::PathBuf;

pub use resolve::{ENVIRONMENT, Origin, Resolved, resolve};
pub use setting::{SETTINGS, Setting};
pub use template::template;
pub use value::{Kind, Shown, Value};

use crate::access::Access;
use crate::address::{PlainText, UrlError, check_url};
use crate::browsers::Browsers;
use crate::limits::Limits;

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ConfigError {
    /// Where it was set.
    pub place: String,
    /// What is wrong with it.
    pub problem: String,
    /// What to do about it.
    pub hint: String,
}

impl ConfigError {
    pub(crate) fn new(
        place: impl Into<String>,
        problem: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { place: place.into(), problem: problem.into(), hint: hint.into() }
    }
}

/// Where the certificate and its key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain, in PEM.
    pub cert: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

/// A stream of NATS that several relayers share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatsConfig {
    /// The servers.
    pub url: String,
    /// The stream.
    pub stream: String,
    /// Bytes the stream may hold if it is made now.
    pub max_bytes: Option<u64>,
}

/// What a relayer was told to do.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The folder of its state; the user's data folder if none is given.
    pub data: Option<PathBuf>,
    /// Encrypts what it serves.
    pub tls: Option<TlsFiles>,
    /// Other relayers that keep the same rooms.
    pub peers: Vec<String>,
    /// Authorities to trust besides the system's, in PEM.
    pub ca_file: Option<PathBuf>,
    /// Where plain text may go.
    pub plain: PlainText,
    /// A bus that several relayers share.
    pub nats: Option<NatsConfig>,
    /// How much anybody may take.
    pub limits: Limits,
    /// Which web pages may speak to it.
    pub browsers: Browsers,
    /// Who is let in, and which rooms are made.
    pub access: Access,
}

impl Config {
    /// Reads the settings together.
    ///
    /// # Errors
    /// Settings that do not go together.
    pub fn of(settings: &Resolved) -> Result<Self, ConfigError> {
        let listen = settings.address("server.listen");
        let tls = match (settings.path("tls.cert"), settings.path("tls.key")) {
            (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
            (None, None) => None,
            (cert, _) => {
                let (given, lacking) =
                    if cert.is_some() { ("cert", "key") } else { ("key", "cert") };
                let place = settings.place(&format!("tls.{given}"));
                let problem = format!("tls.{given} is set and tls.{lacking} is not");
                return Err(ConfigError::new(place, problem, format!("set tls.{lacking} as well")));
            }
        };
        let plain = PlainText::allowed(settings.switch("server.insecure_plain"));
        if tls.is_none() && !plain.may_pass(listen.ip()) {
            return Err(ConfigError::new(
                settings.place("server.listen"),
                format!("{listen} can be reached from other machines, and nothing is encrypted"),
                "set --tls-cert and --tls-key, or --insecure-plain where a proxy or tunnel \
                 encrypts",
            ));
        }
        Ok(Self {
            listen,
            data: settings.path("server.data"),
            tls,
            peers: peers(settings, plain)?,
            ca_file: settings.path("cluster.ca_file"),
            plain,
            nats: nats(settings)?,
            limits: Limits::of(settings),
            browsers: Browsers::of(settings)?,
            access: Access::of(settings)?,
        })
    }
}

fn nats(settings: &Resolved) -> Result<Option<NatsConfig>, ConfigError> {
    let wanted = settings.text("cluster.backplane").as_deref() == Some("nats");
    match (wanted, settings.text("cluster.nats_url")) {
        (false, None) => Ok(None),
        (true, Some(url)) => Ok(Some(NatsConfig {
            url,
            stream: settings.text("cluster.nats_stream").unwrap_or_default(),
            max_bytes: settings.number("cluster.nats_max_bytes"),
        })),
        (true, None) => Err(ConfigError::new(
            settings.place("cluster.backplane"),
            "the backplane is nats, and no server is named",
            "set --nats-url, as nats://bus.example:4222",
        )),
        (false, Some(_)) => Err(ConfigError::new(
            settings.place("cluster.nats_url"),
            "a NATS server is named, and the backplane is none",
            "set --backplane nats as well",
        )),
    }
}

/// The peers, each of which may be dialled.
fn peers(settings: &Resolved, plain: PlainText) -> Result<Vec<String>, ConfigError> {
    let peers = settings.list("cluster.peers");
    for url in &peers {
        check_url(url, plain).map_err(|error| {
            let place = settings.place("cluster.peers");
            let problem = match error {
                UrlError::Plain | UrlError::Malformed => format!("{url}: {error}"),
                UrlError::Credentials => error.to_string(),
            };
            ConfigError::new(place, problem, error.hint())
        })?;
    }
    Ok(peers)
}

#[cfg(test)]
mod tests;
