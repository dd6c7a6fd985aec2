//! What the integration tests share: real nodes and relayers as processes, a websocket client
//! that can say anything, and a relayer that lies.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on panics"
)]

pub mod client;
pub mod cluster;
pub mod curves;
pub mod flood;
pub mod fuzz;
pub mod http;
pub mod liar;
pub mod light;
pub mod load;
pub mod metrics;
pub mod nats;
pub mod process;
pub mod sim;
pub mod tap;
