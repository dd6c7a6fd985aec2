//! Every setting there is.

use super::value::Kind;

/// A setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Section and key in the file.
    pub key: &'static str,
    /// The flag, without the dashes.
    pub flag: &'static str,
    /// How it is written.
    pub kind: Kind,
    /// What counts if nothing is given; empty if there is none.
    pub default: &'static str,
    /// What it is.
    pub help: &'static str,
    /// Whether it is read again on SIGHUP.
    pub live: bool,
}

impl Setting {
    /// The environment variable.
    pub fn variable(&self) -> String {
        let name = self.key.replace('.', "_").to_uppercase();
        format!("{}{name}", super::ENVIRONMENT)
    }

    const fn live(mut self) -> Self {
        self.live = true;
        self
    }
}

const fn setting(
    key: &'static str,
    flag: &'static str,
    kind: Kind,
    default: &'static str,
    help: &'static str,
) -> Setting {
    Setting { key, flag, kind, default, help, live: false }
}

/// All settings, in the order in which they are shown.
pub const SETTINGS: &[Setting] = &[
    setting(
        "server.listen",
        "listen",
        Kind::Address,
        "127.0.0.1:8080",
        "Address to listen on; port 0 takes a free one",
    ),
    setting(
        "server.data",
        "data",
        Kind::Path,
        "",
        "Folder for the store [default: the user's data folder + /crdt-relayer]",
    ),
    setting(
        "server.insecure_plain",
        "insecure-plain",
        Kind::Switch,
        "false",
        "Listen without TLS on an address that other machines reach, and dial peers at ws:// there",
    ),
    setting(
        "server.hosts",
        "host",
        Kind::List,
        "",
        "Names by which browsers may speak of this relayer, with the port if it is not the usual \
         one; repeatable. An address, localhost and the listening address always may",
    )
    .live(),
    setting(
        "server.origins",
        "origin",
        Kind::List,
        "",
        "Other pages that may connect from a browser, as https://app.example; repeatable. This \
         relayer's own page always may",
    )
    .live(),
    setting("tls.cert", "tls-cert", Kind::Path, "", "Certificate chain (PEM), to encrypt").live(),
    setting("tls.key", "tls-key", Kind::Path, "", "The certificate's private key (PEM)").live(),
    setting(
        "limits.connections",
        "max-connections",
        Kind::Count,
        "4096",
        "Connections open at a time",
    )
    .live(),
    setting(
        "limits.connections_per_address",
        "max-connections-per-address",
        Kind::Count,
        "32",
        "Connections of one address open at a time",
    )
    .live(),
    setting("limits.handshakes", "max-handshakes", Kind::Rate, "500/s", "New connections a second")
        .live(),
    setting(
        "limits.handshakes_per_address",
        "max-handshakes-per-address",
        Kind::Rate,
        "20/s",
        "New connections of one address a second",
    )
    .live(),
    setting(
        "limits.trust_loopback",
        "trust-loopback",
        Kind::Switch,
        "true",
        "Leave connections from this machine, where a proxy may be, out of the limits by address",
    )
    .live(),
    setting(
        "limits.header_time",
        "max-header-time",
        Kind::Span,
        "5s",
        "Time for the head of a request to arrive",
    )
    .live(),
    setting(
        "limits.header_bytes",
        "max-header-bytes",
        Kind::Bytes,
        "16KiB",
        "Bytes of the head of a request; at least 8KiB",
    )
    .live(),
    setting(
        "cluster.peers",
        "peer",
        Kind::List,
        "",
        "Another relayer to keep the same rooms with; repeatable. Give each of them the others",
    ),
    setting(
        "cluster.ca_file",
        "ca-file",
        Kind::Path,
        "",
        "Authorities to trust besides the system's when a wss:// peer is dialled (PEM)",
    ),
    setting(
        "cluster.backplane",
        "backplane",
        Kind::Choice(&["none", "nats"]),
        "none",
        "Keep the same rooms with every relayer on this bus. What is acknowledged is in this \
         relayer's own store all the same",
    ),
    setting(
        "cluster.nats_url",
        "nats-url",
        Kind::Secret,
        "",
        "NATS server that keeps streams, as nats://[USER:PASSWORD@]HOST:PORT or tls://…; several \
         with commas",
    ),
    setting(
        "cluster.nats_stream",
        "nats-stream",
        Kind::Text,
        "crdt-log",
        "The stream, which all relayers of a service share; made if there is none",
    ),
    setting(
        "cluster.nats_max_bytes",
        "nats-max-bytes",
        Kind::Bytes,
        "",
        "Bytes the stream may hold, if it is made now; the oldest ops leave it first",
    ),
    setting(
        "log.format",
        "log-format",
        Kind::Choice(&["text", "json"]),
        "text",
        "How events are printed: a line for people, or a JSON object",
    ),
    setting(
        "log.level",
        "log-level",
        Kind::Choice(&["warn", "info", "debug"]),
        "info",
        "Which events are printed; debug tells of each connection",
    )
    .live(),
];
