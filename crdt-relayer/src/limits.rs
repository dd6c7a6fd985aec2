//! How much anybody may take of a relayer. Source: `docs/OPERATIONS.md`, "Limits".

use std::time::Duration;

use crate::config::Resolved;

/// The limits of connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at a time.
    pub connections: usize,
    /// Connections of one address open at a time.
    pub connections_per_address: usize,
    /// New connections a second.
    pub handshakes: u64,
    /// New connections of one address a second.
    pub handshakes_per_address: u64,
    /// Whether connections from this machine are outside the limits by address.
    pub trust_loopback: bool,
    /// Time for the head of a request to arrive.
    pub header_time: Duration,
    /// Bytes of the head of a request.
    pub header_bytes: usize,
}

/// Fewest bytes of a head that the library takes.
const HEADER_BYTES_MIN: usize = 8 * 1024;

impl Limits {
    pub(crate) fn of(settings: &Resolved) -> Self {
        let number = |key| settings.number(key).unwrap_or_default();
        let size = |key| usize::try_from(number(key)).unwrap_or(usize::MAX);
        Self {
            connections: size("limits.connections"),
            connections_per_address: size("limits.connections_per_address"),
            handshakes: number("limits.handshakes"),
            handshakes_per_address: number("limits.handshakes_per_address"),
            trust_loopback: settings.switch("limits.trust_loopback"),
            header_time: Duration::from_millis(number("limits.header_time")),
            header_bytes: size("limits.header_bytes").max(HEADER_BYTES_MIN),
        }
    }
}

impl Default for Limits {
    /// As the settings say that nobody has given.
    fn default() -> Self {
        Self {
            connections: 4_096,
            connections_per_address: 32,
            handshakes: 500,
            handshakes_per_address: 20,
            trust_loopback: true,
            header_time: Duration::from_secs(5),
            header_bytes: 16 * 1024,
        }
    }
}
