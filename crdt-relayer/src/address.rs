//! Addresses of websockets, and which of them may be dialled in plain text.

use std::net::IpAddr;

use tokio_tungstenite::tungstenite::http::Uri;

/// Where plain text may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlainText {
    /// Only where it does not leave this machine.
    #[default]
    Loopback,
    /// Anywhere: somebody has said that nobody on the way can read it, or that it does not matter.
    Anywhere,
}

impl PlainText {
    /// What a switch says that allows it anywhere.
    pub fn allowed(anywhere: bool) -> Self {
        if anywhere { Self::Anywhere } else { Self::Loopback }
    }

    /// Whether plain text may pass at an address of a machine.
    pub fn may_pass(self, address: IpAddr) -> bool {
        self == Self::Anywhere || address.to_canonical().is_loopback()
    }
}

/// Why an address cannot be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It is another machine's, or may be, and everybody on the way could read along.
    #[error(
        "plain text to another machine: whoever is on the way can read and hold up what passes"
    )]
    Plain,
    /// It is no websocket address.
    #[error("not a websocket address")]
    Malformed,
    /// It holds a name or a password: addresses are printed, logged and kept where others read
    /// them.
    #[error("a name or password stands in a peer's or relay's address, which is shown to others")]
    Credentials,
}

impl UrlError {
    /// What to do about it.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Plain => {
                "dial wss://, which encrypts; or --insecure-plain, where a tunnel or a network of \
                 your own does. ws:// to 127.0.0.1, [::1] and localhost is always allowed"
            }
            Self::Malformed => {
                "it looks like ws://127.0.0.1:8080/websocket or wss://relay.example/websocket"
            }
            Self::Credentials => {
                "leave out what stands before the @: nobody asks for it, keys say who is let in"
            }
        }
    }
}

/// Whether a name or password stands before an address's host, whatever else is wrong with it.
pub fn holds_credentials(url: &str) -> bool {
    let (_, rest) = url.split_once("://").unwrap_or(("", url));
    rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@'))
}

/// Whether a text is an address that may be dialled. Names are not looked up: what is neither a
/// loopback address nor `localhost` may be another machine.
///
/// # Errors
/// [`UrlError`].
pub fn check_url(url: &str, plain: PlainText) -> Result<(), UrlError> {
    if holds_credentials(url) {
        return Err(UrlError::Credentials);
    }
    let encrypted = url.starts_with("wss://");
    if !encrypted && !url.starts_with("ws://") {
        return Err(UrlError::Malformed);
    }
    let uri: Uri = url.parse().map_err(|_| UrlError::Malformed)?;
    // The library that dials reads the host in the same way, so both mean the same machine.
    let host = uri.host().filter(|host| !host.is_empty()).ok_or(UrlError::Malformed)?;
    let rest = uri.authority().and_then(|all| all.as_str().strip_prefix(host));
    if rest.is_none_or(|rest| !rest.is_empty() && uri.port_u16().is_none()) {
        return Err(UrlError::Malformed);
    }
    if encrypted || plain == PlainText::Anywhere || is_loopback(host) {
        return Ok(());
    }
    Err(UrlError::Plain)
}

fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let literal = bare.parse().is_ok_and(|address| PlainText::Loopback.may_pass(address));
    literal || host.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_goes_to_this_machine_only_unless_it_may_go_anywhere() {
        for local in [
            "ws://127.0.0.1:8080/websocket",
            "ws://127.9.9.9/",
            "ws://[::1]:1/websocket",
            "ws://[::ffff:127.0.0.1]/",
            "ws://localhost:80/websocket",
            "ws://LocalHost",
        ] {
            assert_eq!(check_url(local, PlainText::Loopback), Ok(()), "{local}");
        }
        for far in [
            "ws://192.0.2.1:8080/websocket",
            "ws://[2001:db8::1]/",
            "ws://0.0.0.0/",
            "ws://relay.example/websocket",
            "ws://localhost.example/",
            "ws://127.0.0.1.example/",
            "ws://2130706433/",
        ] {
            assert_eq!(check_url(far, PlainText::Loopback), Err(UrlError::Plain), "{far}");
            assert_eq!(check_url(far, PlainText::Anywhere), Ok(()), "{far}");
            let encrypted = far.replacen("ws://", "wss://", 1);
            assert_eq!(check_url(&encrypted, PlainText::Loopback), Ok(()), "{encrypted}");
        }
    }

    #[test]
    fn an_address_with_a_name_or_password_is_never_dialled() {
        for shown in [
            "wss://me:secret@relay.example/websocket",
            "ws://me@127.0.0.1:1/",
            "ws://@localhost/",
            "ws://127.0.0.1@relay.example/",
            "ws://localhost:80@relay.example:80/",
            "https://me:secret@relay.example/",
            "me:secret@relay.example",
        ] {
            for plain in [PlainText::Loopback, PlainText::Anywhere] {
                assert_eq!(check_url(shown, plain), Err(UrlError::Credentials), "{shown}");
            }
        }
        assert_eq!(check_url("ws://localhost/@", PlainText::Loopback), Ok(()), "it is in the path");
    }

    #[test]
    fn what_is_no_websocket_address_is_never_dialled() {
        for bad in [
            "",
            "x",
            "ws://",
            "wss://",
            "http://h/",
            "ws:///x",
            "ws://a b/",
            "ws://h:port/",
            "ws://h:99999/",
        ] {
            assert_eq!(check_url(bad, PlainText::Anywhere), Err(UrlError::Malformed), "{bad}");
        }
    }
}
