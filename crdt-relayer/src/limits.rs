//! How much anybody may take of a relayer. Source: `docs/OPERATIONS.md`, "Limits".

use std::time::Duration;

use crate::config::Resolved;

/// The limits of connections, of the disk, of rooms and of rates.
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
    /// Silence that ends a connection.
    pub idle_time: Duration,
    /// Time in which whoever is sent something takes at least 64 KiB of it.
    pub stall_time: Duration,
    /// Bytes of the disk that stay free.
    pub disk_floor_bytes: Option<u64>,
    /// Bytes of ops in one room.
    pub room_bytes: Option<u64>,
    /// Rooms that are kept.
    pub rooms: usize,
    /// Rooms that one connection may use.
    pub subscriptions: usize,
    /// New ops of one author a second.
    pub ops_per_key: Option<u64>,
    /// Bytes of new ops of one author a second.
    pub bytes_per_key: Option<u64>,
    /// New ops that the connections of one address bring, a second.
    pub ops_per_address: Option<u64>,
    /// Bytes that the connections of one address send, a second.
    pub bytes_per_address: Option<u64>,
    /// What comes at a rate in so much time may come at once.
    pub burst_time: Duration,
}

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
            header_bytes: size("limits.header_bytes"),
            idle_time: Duration::from_millis(number("limits.idle_time")),
            stall_time: Duration::from_millis(number("limits.stall_time")),
            disk_floor_bytes: settings.number("limits.disk_floor_bytes"),
            room_bytes: settings.number("limits.room_bytes"),
            rooms: size("limits.rooms"),
            subscriptions: size("limits.subscriptions"),
            ops_per_key: settings.number("limits.ops_per_key"),
            bytes_per_key: settings.number("limits.bytes_per_key"),
            ops_per_address: settings.number("limits.ops_per_address"),
            bytes_per_address: settings.number("limits.bytes_per_address"),
            burst_time: Duration::from_millis(number("limits.burst_time")),
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
            idle_time: Duration::from_mins(1),
            stall_time: Duration::from_secs(30),
            disk_floor_bytes: Some(256 * 1024 * 1024),
            room_bytes: None,
            rooms: crdt_core::limits::ROOMS_MAX,
            subscriptions: crdt_core::limits::SUBSCRIPTIONS_MAX,
            ops_per_key: Some(1_000),
            bytes_per_key: Some(4 * 1024 * 1024),
            ops_per_address: Some(5_000),
            bytes_per_address: Some(16 * 1024 * 1024),
            burst_time: Duration::from_secs(10),
        }
    }
}
