//! A relayer that runs, as whoever asks it over HTTP.

use std::path::PathBuf;

use crdt_relayer::address::{UrlError, holds_credentials};
use crdt_relayer::fetch::{self, Answer};
use crdt_relayer::roots::Roots;
use hyper::{StatusCode, Uri};
use serde_json::Value;

use crate::failure::Failure;
use crate::settings::Sources;

/// Which relayer is asked, and whom to believe.
#[derive(Debug)]
pub(crate) struct Target {
    /// The address, if one was given; else the one that the settings make a relayer listen on.
    pub(crate) url: Option<String>,
    /// Authorities to trust besides the system's, in PEM.
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) sources: Sources,
}

/// A relayer that can be asked.
#[derive(Debug)]
pub(crate) struct Remote {
    /// As `https://HOST:PORT`.
    pub(crate) url: String,
    host: String,
    port: u16,
    authority: String,
    encrypted: bool,
    roots: Roots,
}

/// What it answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) body: String,
}

impl Answered {
    /// Why it says no, in its own words.
    pub(crate) fn problem(&self) -> String {
        let object: Option<Value> = serde_json::from_str(&self.body).ok();
        let detail = object.as_ref().and_then(|object| object["detail"].as_str());
        detail.map_or_else(|| format!("HTTP {}", self.status), str::to_owned)
    }
}

impl Target {
    /// Finds out where to ask.
    pub(crate) fn remote(&self) -> Result<Remote, Failure> {
        let url = match &self.url {
            Some(url) => url.clone(),
            None => own_address(&self.sources)?,
        };
        if holds_credentials(&url) {
            return Err(Failure {
                sentence: UrlError::Credentials.to_string(),
                hint: UrlError::Credentials.hint().into(),
                code: 2,
            });
        }
        let (encrypted, host, port) = parts(&url).ok_or_else(|| Failure {
            sentence: format!("{url} is no address of a relayer"),
            hint: "it looks like https://relay.example or http://127.0.0.1:8080".into(),
            code: 2,
        })?;
        let roots = Roots::read(self.ca_file.as_deref())
            .map_err(crdt_relayer::relayer::RelayerError::from)?;
        let authority =
            if port == standard(encrypted) { host.clone() } else { format!("{host}:{port}") };
        let scheme = if encrypted { "https" } else { "http" };
        let url = format!("{scheme}://{authority}");
        let host = host.trim_matches(['[', ']']).to_owned();
        Ok(Remote { url, host, port, authority, encrypted, roots })
    }
}

/// Where a relayer with these settings listens, as seen from this machine.
fn own_address(sources: &Sources) -> Result<String, Failure> {
    let settings = sources.gather()?;
    let mut address = settings.listen();
    if address.ip().is_unspecified() {
        let here = match address.ip() {
            std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        address.set_ip(here);
    }
    let scheme = if settings.is_encrypted() { "https" } else { "http" };
    Ok(format!("{scheme}://{address}"))
}

fn standard(encrypted: bool) -> u16 {
    if encrypted { 443 } else { 80 }
}

/// Whether an address is encrypted, its host and its port.
fn parts(url: &str) -> Option<(bool, String, u16)> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let encrypted = match scheme {
        "https" | "wss" => true,
        "http" | "ws" => false,
        _ => return None,
    };
    let uri: Uri = format!("http://{rest}").parse().ok()?;
    let authority = uri.authority()?;
    let after_host = authority.as_str().strip_prefix(authority.host())?;
    let port = match after_host {
        "" => standard(encrypted),
        _ => authority.port_u16()?,
    };
    (!authority.host().is_empty()).then(|| (encrypted, authority.host().to_owned(), port))
}

impl Remote {
    /// Asks for a page.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(crate) async fn get(&self, path: &str) -> Result<Answered, fetch::Failure> {
        let addresses = fetch::resolve(&self.host, self.port).await?;
        let stream = fetch::connect(&addresses).await?;
        let stream: Box<dyn fetch::Stream> = if self.encrypted {
            fetch::encrypt(&self.roots, stream, &self.host).await?.0
        } else {
            Box::new(stream)
        };
        let Answer { status, body, .. } = fetch::get(stream, &self.authority, path).await?;
        Ok(Answered { status, body: String::from_utf8_lossy(&body).into_owned() })
    }

    /// Asks for a page that must be there.
    ///
    /// # Errors
    /// It is not.
    pub(crate) async fn page(&self, path: &str) -> Result<String, Failure> {
        let answered = self.get(path).await.map_err(|error| self.unreachable(&error))?;
        if answered.status.is_success() {
            return Ok(answered.body);
        }
        let problem = answered.problem();
        let hint = if answered.status == StatusCode::FORBIDDEN {
            "nobody may read it over HTTP; its operator allows that with --http-read"
        } else {
            "is it a relayer, of this version? see its /version"
        };
        Err(Failure {
            sentence: format!("{}{path} answers: {problem}", self.url),
            hint: hint.into(),
            code: 4,
        })
    }

    /// Asks for a page of JSON.
    ///
    /// # Errors
    /// It is none.
    pub(crate) async fn json(&self, path: &str) -> Result<Value, Failure> {
        serde_json::from_str(&self.page(path).await?).map_err(|error| Failure {
            sentence: format!("{}{path} is no JSON: {error}", self.url),
            hint: "is it a relayer, of this version? see its /version".into(),
            code: 4,
        })
    }

    /// There is no answer.
    pub(crate) fn unreachable(&self, error: &fetch::Failure) -> Failure {
        Failure {
            sentence: format!("cannot reach {}: {error}", self.url),
            hint: "is it running? name another address as the argument, and a certificate's \
                   private authority with --ca-file FILE"
                .into(),
            code: 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn an_address_with_a_name_or_password_is_refused_and_not_repeated() {
        for url in ["http://me:secret@127.0.0.1:1", "me:secret@relay.example", "ftp://me:secret@h/"]
        {
            let sources = Sources { flags: BTreeMap::new(), file: None };
            let target = Target { url: Some(url.to_owned()), ca_file: None, sources };
            let refused = target.remote().unwrap_err();
            assert_eq!((refused.sentence, refused.code), (UrlError::Credentials.to_string(), 2));
        }
    }

    #[test]
    fn an_address_may_be_of_http_or_of_the_websocket_or_just_a_host() {
        for (url, encrypted, host, port) in [
            ("http://127.0.0.1:8080", false, "127.0.0.1", 8080),
            ("https://relay.example/", true, "relay.example", 443),
            ("ws://[::1]:1/websocket", false, "[::1]", 1),
            ("wss://relay.example/websocket", true, "relay.example", 443),
            ("127.0.0.1:8080", false, "127.0.0.1", 8080),
            ("localhost", false, "localhost", 80),
        ] {
            assert_eq!(parts(url), Some((encrypted, host.to_owned(), port)), "{url}");
        }
        for bad in ["", "ftp://h/", "http://", "http://h:port/", "http://h:99999/", "http://a b/"] {
            assert_eq!(parts(bad), None, "{bad}");
        }
    }
}
