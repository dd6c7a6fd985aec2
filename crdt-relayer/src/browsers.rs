//! Which web pages may speak to a relayer. A browser sends requests for any page that its user
//! visits, also to this machine, so a page is believed to be this relayer's own only by the name it
//! was asked for. Source: `docs/OPERATIONS.md`, "Browsers".

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN, UPGRADE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::watch;

use crate::config::{ConfigError, Resolved};
use crate::http::Problem;
use crate::metrics::{Metrics, Refused};
use crate::server::Encryption;

/// The names and pages that are allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Browsers {
    /// Names of this relayer, with the port if it is not the usual one.
    pub hosts: Vec<String>,
    /// Other pages, as `https://app.example`.
    pub origins: Vec<String>,
}

impl Browsers {
    /// Reads the lists: what a browser never says would allow nothing, and nobody would notice.
    pub(crate) fn of(settings: &Resolved) -> Result<Self, ConfigError> {
        let of = |key: &str, fits: fn(&str) -> bool, hint: &str| {
            let listed = settings.list(key);
            match listed.iter().find(|word| !fits(word)) {
                None => Ok(listed),
                Some(word) => {
                    let problem = format!("{key}: no browser says {word:?}");
                    Err(ConfigError::new(settings.place(key), problem, hint))
                }
            }
        };
        let host = "a name, with the port if it is not the usual one, as relay.example:8443";
        let origin = "scheme and name, as https://app.example, without a path and the usual port";
        Ok(Self {
            hosts: of("server.hosts", is_host, host)?,
            origins: of("server.origins", is_origin, origin)?,
        })
    }

    /// Whether what came may be from this relayer's own page, from one that is allowed, or from no
    /// browser.
    fn check(&self, request: &Asked<'_>) -> Result<(), Refused> {
        let headers = request.headers;
        let host = one(headers, &HOST);
        let origin = one(headers, &ORIGIN);
        // A browser that opens a websocket says for which page.
        let no_browser = !headers.contains_key(ORIGIN) && headers.contains_key(UPGRADE);
        let known = host.is_some_and(|host| self.is_own_name(host));
        if !known && !no_browser {
            return Err(Refused::Host);
        }
        if origin.is_some_and(|page| self.origins.iter().any(|listed| listed == page)) {
            return Ok(());
        }
        if request.is_of_another_site() {
            return Err(Refused::Origin);
        }
        if !headers.contains_key(ORIGIN) {
            return Ok(());
        }
        let own = origin.and_then(|origin| origin.split_once("://"));
        let own = own.is_some_and(|(scheme, page)| host == Some(page) && request.is_own(scheme));
        if own { Ok(()) } else { Err(Refused::Origin) }
    }

    /// A page whose name leads to an address of somebody's choice can be told by its name only.
    fn is_own_name(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        let name = authority.host();
        let literal = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        literal.is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self.hosts.iter().any(|listed| listed.eq_ignore_ascii_case(host))
    }
}

/// What a request says of where it comes from.
struct Asked<'r> {
    method: &'r Method,
    headers: &'r HeaderMap,
    encryption: Encryption,
}

impl Asked<'_> {
    /// Whether the browser says that another page than this relayer's own asked: it compares names
    /// and schemes as the page sees them, also where a proxy encrypts. Whoever follows a link is
    /// let in. For a websocket it always names the page, and what it says besides is not sure: `ws`
    /// is not `http`.
    fn is_of_another_site(&self) -> bool {
        let says = |name, words: &[&str]| {
            one(self.headers, &name).is_some_and(|value| words.contains(&value))
        };
        let follows = self.method.is_safe() && says(FETCH_MODE, &["navigate"]);
        let there = self.headers.contains_key(FETCH_SITE) && !self.headers.contains_key(UPGRADE);
        there && !says(FETCH_SITE, &["same-origin", "none"]) && !follows
    }

    /// Whether this relayer's own page has this scheme. In front of one that does not encrypt there
    /// may be a proxy that does.
    fn is_own(&self, scheme: &str) -> bool {
        scheme == "https" || (scheme == "http" && self.encryption == Encryption::None)
    }
}

/// What browsers say besides, and pages cannot.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Whether a `Host` header may say this.
fn is_host(text: &str) -> bool {
    let whole = text.parse::<Authority>().is_ok_and(|host| !host.host().is_empty());
    whole && !text.contains('@')
}

/// Whether an `Origin` header may say this: a page's scheme, name and port, in lower case.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let usual = [("http", ":80"), ("https", ":443")];
    let said = usual.iter().any(|(of, port)| scheme == *of && host.ends_with(port));
    let lower = text.bytes().all(|byte| !byte.is_ascii_uppercase());
    !scheme.is_empty() && lower && !said && is_host(host)
}

/// What machines ask for by any name; nothing in it is worth a trick.
const FOR_ANYBODY: [&str; 4] = ["/healthz", "/readyz", "/version", "/metrics"];

/// A header that is there once.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// What [`guard`] goes by.
#[derive(Clone, Debug)]
pub struct Guard {
    /// What is allowed at the time.
    pub allowed: watch::Receiver<Browsers>,
    /// Counts who is refused.
    pub metrics: Metrics,
}

/// Answers requests of pages that may not speak to this relayer.
pub async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let for_anybody = FOR_ANYBODY.contains(&request.uri().path());
    let encryption = request.extensions().get().copied().unwrap_or(Encryption::None);
    let asked = Asked { method: request.method(), headers: request.headers(), encryption };
    let checked = guard.allowed.borrow().check(&asked);
    let Some(refused) = checked.err().filter(|_| !for_anybody) else {
        return next.run(request).await;
    };
    guard.metrics.refused(refused);
    let (status, code) = if refused == Refused::Origin {
        (StatusCode::FORBIDDEN, "origin")
    } else {
        (StatusCode::MISDIRECTED_REQUEST, "host")
    };
    Problem::new(status, code, refused.sentence()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[(&str, &str)]) -> Result<(), Refused> {
        check_of(&Method::GET, Encryption::Tls, headers)
    }

    fn check_of(
        method: &Method,
        encryption: Encryption,
        headers: &[(&str, &str)],
    ) -> Result<(), Refused> {
        let browsers = Browsers {
            hosts: vec!["relay.example".into(), "relay.example:8443".into()],
            origins: vec!["https://app.example".into()],
        };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        browsers.check(&Asked { method, headers: &map, encryption })
    }

    #[test]
    fn addresses_and_listed_names_are_this_relayers_own() {
        for host in
            ["127.0.0.1:8080", "[::1]:8080", "LOCALHOST:1", "relay.example", "Relay.example:8443"]
        {
            assert_eq!(check(&[("host", host)]), Ok(()), "{host}");
        }
        for host in
            ["evil.example", "relay.example:1", "relay.example.evil.example", "127.0.0.1.evil", ""]
        {
            assert_eq!(check(&[("host", host)]), Err(Refused::Host), "{host}");
        }
        assert_eq!(check(&[]), Err(Refused::Host));
        assert_eq!(check(&[("host", "localhost"), ("host", "localhost")]), Err(Refused::Host));
    }

    #[test]
    fn a_page_is_this_relayers_own_or_listed() {
        let from = |origin| check(&[("host", "relay.example"), ("origin", origin)]);
        assert_eq!(from("https://relay.example"), Ok(()));
        assert_eq!(from("https://app.example"), Ok(()));
        for origin in [
            "https://evil.example",
            "https://app.example.evil.example",
            "https://app.example:444",
            "http://app.example",
            "https://relay.example:8443",
            "null",
            "",
        ] {
            assert_eq!(from(origin), Err(Refused::Origin), "{origin}");
        }
    }

    #[test]
    fn a_page_of_the_same_name_without_encryption_is_another_page() {
        let (host, page) = (("host", "relay.example"), ("origin", "http://relay.example"));
        for (encryption, allowed) in [(Encryption::Tls, false), (Encryption::None, true)] {
            let checked = check_of(&Method::POST, encryption, &[host, page]);
            assert_eq!(checked.is_ok(), allowed, "{encryption:?}");
            let own = ("origin", "https://relay.example");
            assert_eq!(check_of(&Method::POST, encryption, &[host, own]), Ok(()), "by a proxy");
            let other = ("origin", "ftp://relay.example");
            assert_eq!(check_of(&Method::GET, encryption, &[host, other]), Err(Refused::Origin));
        }
        // Behind a proxy that encrypts, the browser knows that they differ.
        let differs = ("sec-fetch-site", "cross-site");
        let checked = check_of(&Method::POST, Encryption::None, &[host, page, differs]);
        assert_eq!(checked, Err(Refused::Origin));
    }

    #[test]
    fn what_the_browser_says_another_site_asked_is_refused_though_it_names_no_page() {
        let host = ("host", "127.0.0.1:8080");
        for (site, allowed) in [
            ("same-origin", true),
            ("none", true),
            ("same-site", false),
            ("cross-site", false),
            ("", false),
        ] {
            for method in [Method::GET, Method::POST] {
                let headers = [host, ("sec-fetch-site", site)];
                let checked = check_of(&method, Encryption::None, &headers);
                assert_eq!(checked.is_ok(), allowed, "{method} {site}");
            }
        }
        let link = [host, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
        assert_eq!(check_of(&Method::GET, Encryption::None, &link), Ok(()));
        let form = check_of(&Method::POST, Encryption::None, &link);
        assert_eq!(form, Err(Refused::Origin), "a form of another site that is sent");
        let upgrade = [host, ("sec-fetch-site", "cross-site"), ("upgrade", "websocket")];
        for (page, allowed) in [("http://127.0.0.1:8080", true), ("http://evil.example", false)] {
            let headers = [&upgrade[..], &[("origin", page)]].concat();
            let checked = check_of(&Method::GET, Encryption::None, &headers);
            assert_eq!(checked.is_ok(), allowed, "a websocket goes by its origin: {page}");
        }
        let listed = [host, ("sec-fetch-site", "cross-site"), ("origin", "https://app.example")];
        assert_eq!(check_of(&Method::POST, Encryption::None, &listed), Ok(()));
    }

    /// The name of an attacker's page is made to lead to this machine.
    #[test]
    fn a_name_that_was_made_to_lead_here_is_refused_whatever_its_page_says() {
        let host = ("host", "evil.example:8080");
        assert_eq!(check(&[host]), Err(Refused::Host));
        assert_eq!(check(&[host, ("origin", "http://evil.example:8080")]), Err(Refused::Host));
        let upgrade = ("upgrade", "websocket");
        let origin = ("origin", "http://evil.example:8080");
        assert_eq!(check(&[host, origin, upgrade]), Err(Refused::Host));
    }

    #[test]
    fn who_opens_a_websocket_and_names_no_page_is_no_browser() {
        assert_eq!(check(&[("host", "any.name"), ("upgrade", "websocket")]), Ok(()));
    }
}
