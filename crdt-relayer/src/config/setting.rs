//! Every setting there is.

use super::value::{Kind, Value};

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
    /// Whether `none` can be written: there is no limit then.
    pub optional: bool,
    /// The least number that can be set, in the unit of [`Value::Number`].
    pub least: u64,
    /// The most.
    pub most: u64,
}

impl Setting {
    /// The environment variable.
    pub fn variable(&self) -> String {
        let name = self.key.replace('.', "_").to_uppercase();
        format!("{}{name}", super::ENVIRONMENT)
    }

    /// Reads what was written.
    ///
    /// # Errors
    /// What is expected instead.
    pub(super) fn parse(&self, text: &str) -> Result<Value, String> {
        let none = text.trim() == "none" && self.optional;
        let value = if none { Value::None } else { self.kind.parse(text)? };
        let Value::Number(number) = value else { return Ok(value) };
        let shown = |bound| self.kind.show(&Value::Number(bound)).to_string();
        let text = text.trim();
        match (self.least, self.optional) {
            _ if number > self.most => Err(format!("{text} is above {}", shown(self.most))),
            _ if number >= self.least => Ok(value),
            (1, true) => {
                Err("0 is no limit that can be set; write none where there is to be no limit"
                    .into())
            }
            (1, false) => Err("0 is no limit that can be set; give 1 or more".into()),
            (least, _) => Err(format!("{text} is below {}", shown(least))),
        }
    }

    /// Where to look for what can be written.
    pub(super) fn hint(&self) -> String {
        format!("crdt-relayer init-config shows how {} is written", self.key)
    }

    const fn least(mut self, number: u64) -> Self {
        self.least = number;
        self
    }

    const fn most(mut self, number: u64) -> Self {
        self.most = number;
        self
    }

    const fn optional(mut self) -> Self {
        self.optional = true;
        self
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
    Setting {
        key,
        flag,
        kind,
        default,
        help,
        live: false,
        optional: false,
        least: 1,
        most: u64::MAX,
    }
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
    .live()
    // The library takes no fewer.
    .least(8 * 1024),
    setting(
        "limits.idle_time",
        "max-idle-time",
        Kind::Span,
        "60s",
        "Silence that ends a connection; three pings are sent in it; at least 3s",
    )
    .live()
    // Whoever answers pings a second late stays.
    .least(3_000),
    setting(
        "limits.stall_time",
        "max-stall-time",
        Kind::Span,
        "30s",
        "Time in which whoever is sent something takes at least 64KiB of it; at least 1s",
    )
    .live()
    .least(1_000),
    setting(
        "limits.disk_floor_bytes",
        "disk-floor-bytes",
        Kind::Bytes,
        "256MiB",
        "Bytes of the disk that stay free: while there are fewer, nothing new is taken; or none",
    )
    .live()
    .optional(),
    setting(
        "limits.room_bytes",
        "max-room-bytes",
        Kind::Bytes,
        "none",
        "Bytes of ops in one room, each with some 900 bytes around it; or none",
    )
    .live()
    .optional(),
    setting(
        "limits.ops_per_key",
        "max-ops-per-key",
        Kind::Rate,
        "1000/s",
        "New ops of one author a second, whoever brings them; or none",
    )
    .live()
    .optional(),
    setting(
        "limits.bytes_per_key",
        "max-bytes-per-key",
        Kind::Bytes,
        "4MiB",
        "Bytes of new ops of one author, a second; or none",
    )
    .live()
    .optional(),
    setting(
        "limits.ops_per_address",
        "max-ops-per-address",
        Kind::Rate,
        "5000/s",
        "New ops that the connections of one address bring, a second; or none",
    )
    .live()
    .optional(),
    setting(
        "limits.bytes_per_address",
        "max-bytes-per-address",
        Kind::Bytes,
        "16MiB",
        "Bytes that the connections of one address send, a second; or none",
    )
    .live()
    .optional(),
    setting(
        "limits.burst_time",
        "burst-time",
        Kind::Span,
        "10s",
        "What comes at one of these four rates in so much time may come at once",
    )
    .live(),
    setting(
        "limits.rooms",
        "max-rooms",
        Kind::Count,
        "10000",
        "Rooms that are kept, at most 10000",
    )
    .live()
    .most(10_000),
    setting(
        "limits.subscriptions",
        "max-subscriptions",
        Kind::Count,
        "64",
        "Rooms that one connection may use, at most 64",
    )
    .live()
    .most(64),
    setting(
        "auth.mode",
        "auth",
        Kind::Choice(&["off", "required"]),
        "off",
        "Whether who connects must prove a key of auth.keys. Other relayers have none, and cannot \
         dial this one then",
    )
    .live(),
    setting(
        "auth.keys",
        "allow",
        Kind::List,
        "",
        "A key that is let in, as `crdt-node key show` prints it; repeatable",
    )
    .live(),
    setting(
        "auth.http_read",
        "http-read",
        Kind::Switch,
        "false",
        "Let anybody read over HTTP where a key is required. Nobody writes over HTTP then",
    )
    .live(),
    setting(
        "rooms.create",
        "rooms",
        Kind::Choice(&["open", "list"]),
        "open",
        "Whether a room is made when it is first used, or only if it is in rooms.list. Those that \
         hold ops stay",
    )
    .live(),
    setting(
        "rooms.list",
        "room",
        Kind::List,
        "",
        "The name of a room that may be made; repeatable",
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
    )
    .optional(),
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
