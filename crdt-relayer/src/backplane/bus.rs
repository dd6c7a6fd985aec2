//! What a message bus must be able to do to join relayers. Nothing here knows the protocol of the
//! replica, and nothing in the protocol side knows an engine.

use bytes::Bytes;
use crdt_core::id::{OpId, RoomId};

/// One message of the bus's stream.
#[derive(Clone, Debug)]
pub struct Posted {
    /// Its place in the stream, from 1.
    pub seq: u64,
    /// The room it was posted to; `None` if it is for none.
    pub room: Option<RoomId>,
    /// What it says: the envelope of an op, or anything else.
    pub payload: Bytes,
}

/// What comes from the bus.
#[derive(Clone, Debug)]
pub enum Heard {
    /// The next messages of the stream, in order, at least one.
    Posted(Vec<Posted>),
    /// Somebody asks all relayers for something. Not kept in the stream.
    Asked(Bytes),
}

/// The stream one is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// A hash that a stream made anew does not share with the one before.
    pub identity: [u8; 32],
    /// Place of the oldest message; messages before it were discarded.
    pub first: u64,
    /// Place of the newest message; 0 if there was never one.
    pub last: u64,
}

/// Makes connections to a bus.
pub trait Engine: Send + Sync + 'static {
    /// The connection it makes.
    type Bus: Bus;

    /// Where it connects to, fit to be shown: without passwords.
    fn address(&self) -> &str;

    /// Connects once.
    ///
    /// # Errors
    /// Why it failed, in words.
    fn connect(&self) -> impl Future<Output = Result<Self::Bus, String>> + Send;
}

/// A connection to a bus. The first error ends it.
pub trait Bus: Send {
    /// What became of a message that was posted: done once the bus says at which place it keeps it.
    type Receipt: Future<Output = Result<u64, String>> + Send + 'static;

    /// The stream as it was when the connection was made.
    fn stream(&self) -> Stream;

    /// The message at a place; `None` if there is none any more.
    fn at(&self, seq: u64) -> impl Future<Output = Result<Option<Bytes>, String>> + Send;

    /// Posts an op to a room. Messages come into the stream in the order of the calls. One that the
    /// stream holds already, and that was posted a short while ago, is not kept twice.
    fn post(
        &self,
        room: RoomId,
        id: OpId,
        payload: Bytes,
    ) -> impl Future<Output = Result<Self::Receipt, String>> + Send;

    /// Asks all other relayers for something. Nobody may hear it.
    fn ask(&self, payload: Vec<u8>) -> impl Future<Output = Result<(), String>> + Send;

    /// From now on [`Bus::next`] tells the messages after this place.
    fn read_after(&mut self, seq: u64) -> impl Future<Output = Result<(), String>> + Send;

    /// What comes next. May be dropped at any time without loss.
    fn next(&mut self) -> impl Future<Output = Result<Heard, String>> + Send;
}
