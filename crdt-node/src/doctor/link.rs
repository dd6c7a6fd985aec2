//! The way to those a node connects to: the address, the network, and who answers there.

use std::net::SocketAddr;
use std::time::SystemTime;

use crdt_core::head::VERSION;
use crdt_relayer::dial::Dialer;
use crdt_relayer::fetch::{self, Answer, Failure, Stream};
use crdt_relayer::roots::Roots;
use hyper::{StatusCode, Uri};

use super::{Check, NETWORK};
use crate::error::NodeError;
use crate::home::Settings;
use crate::links::Kind;
use crate::routes;
use crate::security::check_address;

/// The ports of an address that names none.
const PORT_PLAIN: u16 = 80;
const PORT_TLS: u16 = 443;

/// A certificate that holds for less is to be renewed.
const DAYS_LEAST: u64 = 14;

const DAY_S: u64 = 24 * 60 * 60;

/// A clock that differs by more is worth a word.
const SKEW_SOME_MS: i64 = 60 * 1000;

/// A clock that differs by more is wrong.
const SKEW_MUCH_MS: i64 = 60 * 60 * 1000;

/// The `Date` of an answer is cut to seconds.
const DATE_STEP_MS: i64 = 999;

/// Somebody a node connects to.
#[derive(Clone, Debug)]
pub(super) struct Link {
    /// What it is to the node.
    kind: Kind,
    url: String,
}

/// Everybody whom a configuration names.
pub(super) fn of(settings: &Settings) -> Vec<Link> {
    let dialled = routes::once(settings.relays.clone(), settings.peers.clone());
    dialled.into_iter().map(|(kind, url)| Link { kind, url }).collect()
}

/// Looks at everything about one address, as far as it can be got.
pub(super) async fn examine(link: &Link, dialer: &Dialer) -> Vec<Check> {
    let target = match Target::parse(&link.url, dialer) {
        Ok(target) => target,
        Err(error) => {
            let what = if matches!(error, NodeError::Plain { .. }) { "tls" } else { "address" };
            return vec![Check::failed(link.check(what), &error)];
        }
    };
    let mut checks = vec![link.ok("address", "is a websocket address")];
    let addresses = match fetch::resolve(&target.host, target.port).await {
        Ok(addresses) => addresses,
        Err(failure) => {
            let message = format!("{} cannot be resolved: {failure}", target.host);
            checks.push(link.error("reach", &message, format!("getent hosts {}", target.host)));
            return checks;
        }
    };
    if !target.encrypted {
        checks.push(link.privacy(&target, &addresses));
    }
    let way = Way { target: &target, addresses: &addresses, roots: dialer.roots() };
    checks.extend(link.answers(way).await);
    checks
}

/// What an address says.
#[derive(Debug)]
struct Target {
    encrypted: bool,
    host: String,
    port: u16,
    /// Host and port as they stand in the address.
    authority: String,
    /// The path above the websocket, without its last slash: the other pages are beside it.
    above: String,
}

impl Target {
    fn parse(url: &str, dialer: &Dialer) -> Result<Self, NodeError> {
        check_address(dialer, url)?;
        let none = || NodeError::Url { url: url.to_owned() };
        let uri: Uri = url.parse().map_err(|_| none())?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(none)?;
        let authority = uri.authority().ok_or_else(none)?.as_str();
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let encrypted = url.starts_with("wss://");
        let port = match authority.strip_prefix(host).and_then(|rest| rest.strip_prefix(':')) {
            Some(port) => port.parse().map_err(|_| none())?,
            None if encrypted => PORT_TLS,
            None => PORT_PLAIN,
        };
        let above = uri.path().rsplit_once('/').map_or("", |(above, _)| above);
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        Ok(Self {
            encrypted,
            host: bare.unwrap_or(host).to_owned(),
            port,
            authority: authority.to_owned(),
            above: above.to_owned(),
        })
    }

    fn page(&self, name: &str) -> String {
        format!("{}/{name}", self.above)
    }

    /// The address of a page, for a browser.
    fn browse(&self, name: &str) -> String {
        let scheme = if self.encrypted { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority, self.page(name))
    }
}

/// How an address is reached.
#[derive(Clone, Copy, Debug)]
struct Way<'w> {
    target: &'w Target,
    addresses: &'w [SocketAddr],
    roots: &'w Roots,
}

impl Way<'_> {
    /// A connection; and if it is encrypted, the second since 1970 after which the other side's
    /// certificate does not hold any more.
    async fn open(self) -> Result<(Box<dyn Stream>, Option<u64>), Failure> {
        let stream = fetch::connect(self.addresses).await?;
        if !self.target.encrypted {
            return Ok((Box::new(stream), None));
        }
        let (stream, until) = fetch::encrypt(self.roots, stream, &self.target.host).await?;
        Ok((stream, Some(until)))
    }

    /// A page of its own.
    async fn get(self, page: &str) -> Result<Answer, Failure> {
        let (stream, _) = self.open().await?;
        fetch::get(stream, &self.target.authority, &self.target.page(page)).await
    }
}

impl Link {
    fn check(&self, what: &str) -> String {
        format!("{}.{what}", self.kind.word())
    }

    fn ok(&self, what: &str, message: &str) -> Check {
        Check::ok(self.check(what), format!("{}: {message}", self.url))
    }

    fn warning(&self, what: &str, message: &str, fix: impl Into<String>) -> Check {
        Check::warning(self.check(what), format!("{}: {message}", self.url), fix)
    }

    fn error(&self, what: &str, message: &str, fix: impl Into<String>) -> Check {
        Check::error(self.check(what), NETWORK, format!("{}: {message}", self.url), fix)
    }

    /// Whether others on the way can read along.
    fn privacy(&self, target: &Target, addresses: &[SocketAddr]) -> Check {
        if is_local(addresses) {
            return self.ok("tls", "plain text, on this machine only");
        }
        let Target { host, port, .. } = target;
        let fix = format!(
            "a tunnel, and ws://127.0.0.1:{port}{}: ssh -N -L {port}:127.0.0.1:{port} {host}",
            target.page("websocket")
        );
        self.warning("tls", "plain text: others on the way can read it", fix)
    }

    async fn answers(&self, way: Way<'_>) -> Vec<Check> {
        let target = way.target;
        let curl = format!("curl -v {}", target.browse("healthz"));
        let fix = match way.addresses {
            [first, ..] if self.kind == Kind::Relay && is_local(way.addresses) => {
                let tls = if target.encrypted { " --tls-cert FILE --tls-key FILE" } else { "" };
                format!("start it: crdt-relayer --listen {first}{tls}")
            }
            _ => format!("is it up? {curl}"),
        };
        let mut checks = vec![self.ok("reach", "accepts connections")];
        let stream = match way.open().await {
            Ok((stream, until)) => {
                checks.extend(until.map(|until| self.certificate(until, SystemTime::now())));
                stream
            }
            Err(Failure::Tls(why)) => {
                let Target { host, port, .. } = target;
                let look = format!("openssl s_client -connect {host}:{port} -servername {host}");
                checks.push(self.error("tls", &why, format!("look at its certificate: {look}")));
                return checks;
            }
            Err(failure) => return vec![self.error("reach", &failure.to_string(), fix)],
        };
        let healthy = match fetch::get(stream, &target.authority, &target.page("healthz")).await {
            Ok(answer) => answer,
            Err(failure) => {
                checks.push(self.error("health", &failure.to_string(), curl));
                return checks;
            }
        };
        checks.push(self.health(&healthy, curl));
        checks.push(self.version(target, way.get("version").await));
        checks.push(self.clock(&healthy));
        checks
    }

    /// How long a certificate that holds will hold, until a second since 1970.
    fn certificate(&self, until: u64, now: SystemTime) -> Check {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let days = until.saturating_sub(now) / DAY_S;
        let message = format!("encrypted; its certificate holds for {days} more days");
        if days < DAYS_LEAST {
            self.warning("tls", &message, "whoever runs it must renew the certificate")
        } else {
            self.ok("tls", &message)
        }
    }

    fn health(&self, answer: &Answer, fix: String) -> Check {
        match answer.status {
            StatusCode::OK => self.ok("health", "is healthy"),
            StatusCode::SERVICE_UNAVAILABLE => {
                self.error("health", "has stopped, perhaps over a full disk", "start it again")
            }
            other => self.error("health", &format!("answers {other} where its health is"), fix),
        }
    }

    fn version(&self, target: &Target, answer: Result<Answer, Failure>) -> Check {
        let page = format!("curl {}", target.browse("version"));
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) => return self.error("version", &failure.to_string(), page),
        };
        let about: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let version = about["version"].as_str().unwrap_or("unknown");
        match about["protocol"].as_i64() {
            Some(VERSION) => {
                self.ok("version", &format!("version {version}, protocol {VERSION} as here"))
            }
            Some(other) => {
                let message =
                    format!("version {version} speaks protocol {other}, this one {VERSION}");
                let fix =
                    format!("use one version on both sides; here {}", env!("CARGO_PKG_VERSION"));
                self.error("version", &message, fix)
            }
            None => self.error("version", "does not say which protocol it speaks", page),
        }
    }

    fn clock(&self, answer: &Answer) -> Check {
        let fix = "timedatectl set-ntp true, where the clock is wrong; the log's order does not \
                   depend on it";
        let Some(skew) = Skew::of(answer) else {
            return self.warning("clock", "does not tell its time", fix);
        };
        let message = format!("its clock is {skew}");
        match skew.at_least_ms() {
            SKEW_MUCH_MS.. => self.error("clock", &message, fix),
            SKEW_SOME_MS.. => self.warning("clock", &message, fix),
            _ => self.ok("clock", &message),
        }
    }
}

fn is_local(addresses: &[SocketAddr]) -> bool {
    addresses.iter().all(|address| address.ip().to_canonical().is_loopback())
}

/// How far a clock is ahead of this machine's, in ms: somewhere between two values, because the
/// answer was written at an unknown time between request and receipt.
#[derive(Clone, Copy, Debug)]
struct Skew {
    least: i64,
    most: i64,
}

impl Skew {
    fn of(answer: &Answer) -> Option<Self> {
        let date = ms(answer.date?)?;
        let (asked, answered) = (ms(answer.asked)?, ms(answer.answered)?);
        Some(Self { least: date - answered, most: date + DATE_STEP_MS - asked })
    }

    /// How far the clocks differ for certain.
    fn at_least_ms(self) -> i64 {
        self.least.max(-self.most).max(0)
    }
}

impl std::fmt::Display for Skew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (middle, half) = (i64::midpoint(self.least, self.most), (self.most - self.least) / 2);
        let side = if middle < 0 { "behind" } else { "ahead of" };
        let (seconds, around) = (middle.abs() / 1000, half / 1000 + 1);
        write!(f, "{seconds} s {side} ours, give or take {around} s")
    }
}

fn ms(time: SystemTime) -> Option<i64> {
    jiff::Timestamp::try_from(time).ok().map(jiff::Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use crdt_relayer::address::PlainText;
    use hyper::body::Bytes;

    use super::*;
    use crate::doctor::Verdict;

    const LINK: Link = Link { kind: Kind::Relay, url: String::new() };

    fn anywhere() -> Dialer {
        Dialer::new(Roots::default(), PlainText::Anywhere)
    }

    fn target(url: &str) -> Option<(String, u16, String, String)> {
        let target = Target::parse(url, &anywhere()).ok()?;
        let page = target.page("healthz");
        Some((target.host, target.port, target.authority, page))
    }

    #[test]
    fn an_address_gives_host_port_and_the_pages_beside_the_websocket() {
        let expected = |host: &str, port, authority: &str, page: &str| {
            Some((host.to_owned(), port, authority.to_owned(), page.to_owned()))
        };
        assert_eq!(
            target("ws://127.0.0.1:8080/websocket"),
            expected("127.0.0.1", 8080, "127.0.0.1:8080", "/healthz")
        );
        assert_eq!(
            target("ws://relay.example"),
            expected("relay.example", 80, "relay.example", "/healthz")
        );
        assert_eq!(
            target("wss://relay.example"),
            expected("relay.example", 443, "relay.example", "/healthz")
        );
        assert_eq!(
            target("ws://[::1]:1/a/b/websocket"),
            expected("::1", 1, "[::1]:1", "/a/b/healthz")
        );
        for bad in
            ["ws://", "ws://h:99999/websocket", "ws://h:port/websocket", "http://h/", "ws://:1/"]
        {
            assert_eq!(target(bad), None, "{bad}");
        }
    }

    #[test]
    fn plain_text_off_this_machine_is_worth_a_warning() {
        let target = Target::parse("ws://relay.example/websocket", &anywhere()).unwrap();
        let verdict = |addresses: &[&str]| {
            let addresses: Vec<SocketAddr> =
                addresses.iter().map(|address| address.parse().unwrap()).collect();
            LINK.privacy(&target, &addresses).verdict
        };
        assert_eq!(verdict(&["127.0.0.1:80", "[::1]:80", "[::ffff:127.0.0.2]:80"]), Verdict::Ok);
        assert_eq!(verdict(&["127.0.0.1:80", "192.0.2.1:80"]), Verdict::Warning);
    }

    #[test]
    fn a_certificate_that_holds_for_less_than_two_weeks_is_worth_a_warning() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let check = |days: u64| LINK.certificate(1_000_000 + days * DAY_S, now);
        assert_eq!(check(14).verdict, Verdict::Ok);
        assert_eq!(check(13).verdict, Verdict::Warning);
        assert!(check(400).message.ends_with("400 more days"));
    }

    /// The verdict on a clock so many ms ahead, told in an answer that took so many ms.
    fn clock(ahead: i64, took: u64) -> Verdict {
        let asked = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let shift = Duration::from_millis(ahead.unsigned_abs());
        let theirs = if ahead < 0 { asked - shift } else { asked + shift };
        let answer = Answer {
            status: StatusCode::OK,
            body: Bytes::new(),
            date: Some(theirs),
            asked,
            answered: asked + Duration::from_millis(took),
        };
        LINK.clock(&answer).verdict
    }

    #[test]
    fn a_clock_is_wrong_only_if_the_round_trip_does_not_explain_it() {
        assert_eq!(clock(0, 0), Verdict::Ok);
        assert_eq!(clock(59_000, 0), Verdict::Ok);
        assert_eq!(clock(64_000, 5_000), Verdict::Ok);
        assert_eq!(clock(66_000, 5_000), Verdict::Warning);
        assert_eq!(clock(-60_000, 0), Verdict::Ok, "the date may be cut by a second");
        assert_eq!(clock(-62_000, 5_000), Verdict::Warning);
        assert_eq!(clock(3_599_000, 0), Verdict::Warning);
        assert_eq!(clock(3_601_000, 0), Verdict::Error(4));
        assert_eq!(clock(-3_602_000, 0), Verdict::Error(4));
    }
}
