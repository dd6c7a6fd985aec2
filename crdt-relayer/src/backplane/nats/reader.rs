//! Reads the stream: asks for messages by the hundred and hands them on, in order and without a
//! gap.
//!
//! The library's own reader is not used: what a message's headers say may make it end, and anybody
//! who may post writes headers.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::stream::Stream;
use async_nats::{Client, Message, Subscriber};
use bytes::Bytes;
use crdt_core::id::RoomId;
use futures_util::StreamExt;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::super::bus::Posted;
use super::message::{Wanted, fetch};

/// Messages asked for at one time.
const PULL_MESSAGES: usize = 256;

/// Bytes asked for at one time, beyond the largest message of the server.
const PULL_BYTES: usize = 2 * 1024 * 1024;

/// Time after which is asked again though nothing came.
pub(super) const PULL_EVERY: Duration = Duration::from_mins(1);

/// Time between two signs of life while nothing comes.
const HEARTBEAT: Duration = Duration::from_secs(20);

/// Silence after which the server counts as gone: it has missed two signs of life.
const SILENCE_MAX: Duration = Duration::from_secs(50);

/// What a reader reads.
pub(super) struct Source {
    pub(super) client: Client,
    pub(super) context: Context,
    pub(super) stream: Stream,
    /// The stream's name, which its subjects begin with.
    pub(super) name: String,
}

pub(super) struct Reader {
    source: Source,
    inbox: String,
    messages: Subscriber,
    /// What a room's subject begins with.
    rooms: String,
}

type Told = mpsc::Sender<Result<Posted, String>>;

/// What the server says.
enum Line {
    /// A message of the stream, and its number among those told to this reader.
    Posted(Posted, u64),
    /// A sign of life.
    Alive,
    /// What was asked for has come, or will not come: ask again.
    Done,
    /// There is no more to be had.
    End(String),
}

impl Reader {
    pub(super) async fn open(source: Source) -> Result<Self, String> {
        let inbox = source.client.new_inbox();
        let messages = source.client.subscribe(inbox.clone()).await;
        let messages = messages.map_err(|error| error.to_string())?;
        let rooms = format!("{}.room.", source.name);
        Ok(Self { source, inbox, messages, rooms })
    }

    /// Reads on after a place until something fails, which is the last thing it tells. If reading
    /// got nowhere before, the first messages are fetched one by one: there may be one whose
    /// headers the library does not read, and then it gives up the connection.
    pub(super) async fn run(mut self, mut after: u64, singly: bool, told: Told) {
        let read = async {
            if singly {
                after = self.fetch(after, &told).await?;
            }
            self.pull(after, &told).await
        };
        if let Err(reason) = read.await {
            // Whoever listened may have gone.
            drop(told.send(Err(reason)).await);
        }
    }

    async fn fetch(&self, mut after: u64, told: &Told) -> Result<u64, String> {
        for _ in 0..2 * PULL_MESSAGES {
            let wanted = Wanted { seq: after + 1, subject: Some(format!("{}*", self.rooms)) };
            let found = fetch(&self.source.context, &self.source.name, &wanted).await?;
            let Some(message) = found else { break };
            after = message.sequence;
            let room = room_of(&self.rooms, &message.subject);
            let posted = Posted { seq: after, room, payload: message.payload };
            told.send(Ok(posted)).await.map_err(|_| "nobody reads")?;
        }
        Ok(after)
    }

    /// Makes a consumer. Returns where to ask it for more.
    async fn consumer(&self, after: u64) -> Result<String, String> {
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: after + 1 },
            ack_policy: AckPolicy::None,
            filter_subject: format!("{}*", self.rooms),
            inactive_threshold: PULL_EVERY * 2,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let consumer = self.source.stream.create_consumer(config).await;
        let consumer = consumer.map_err(|error| format!("cannot read the stream: {error}"))?;
        let info = consumer.cached_info();
        Ok(format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", info.stream_name, info.name))
    }

    async fn pull(&mut self, after: u64, told: &Told) -> Result<(), String> {
        let next = self.consumer(after).await?;
        let client = self.source.client.clone();
        let request = json!({
            "batch": PULL_MESSAGES,
            "max_bytes": PULL_BYTES + client.server_info().max_payload,
            "expires": nanos(PULL_EVERY),
            "idle_heartbeat": nanos(HEARTBEAT),
        });
        let request = Bytes::from(request.to_string());
        let mut count = 0;
        loop {
            let (to, answer) = (next.clone(), self.inbox.clone());
            let asked = client.publish_with_reply(to, answer, request.clone()).await;
            asked.map_err(|error| error.to_string())?;
            let mut left = PULL_MESSAGES;
            while left > 0 {
                let message = timeout(SILENCE_MAX, self.messages.next()).await;
                let message = message.map_err(|_| "the server fell silent")?;
                let message = message.ok_or("connection lost")?;
                match line(&self.rooms, message) {
                    Line::Posted(posted, number) => {
                        count += 1;
                        if number != count {
                            return Err("messages were lost on the way".to_owned());
                        }
                        left -= 1;
                        told.send(Ok(posted)).await.map_err(|_| "nobody reads")?;
                    }
                    Line::Alive => {}
                    Line::Done => break,
                    Line::End(reason) => return Err(reason),
                }
            }
        }
    }
}

fn room_of(rooms: &str, subject: &str) -> Option<RoomId> {
    RoomId::parse(subject.strip_prefix(rooms)?).ok()
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Tells a message of the stream, which the server marks with where to acknowledge it, from what
/// the server says itself.
fn line(rooms: &str, message: Message) -> Line {
    if let Some((seq, number)) = message.reply.as_deref().and_then(places) {
        let room = room_of(rooms, &message.subject);
        return Line::Posted(Posted { seq, room, payload: message.payload }, number);
    }
    let description = message.description.unwrap_or_default();
    match message.status.map(|status| status.as_u16()) {
        Some(100) | None => Line::Alive,
        Some(408) => Line::Done,
        Some(409) if description.contains("MaxBytes") => Line::Done,
        Some(_) => Line::End(format!("reading ended: {description}")),
    }
}

/// The place in the stream and the number among those told:
/// `$JS.ACK.[DOMAIN.ACCOUNT.]STREAM.CONSUMER.TIMES.PLACE.NUMBER.TIME.PENDING[.RANDOM]`.
fn places(reply: &str) -> Option<(u64, u64)> {
    let rest = reply.strip_prefix("$JS.ACK.")?;
    let tokens: Vec<&str> = rest.split('.').collect();
    let at = if tokens.len() == 7 { 3 } else { 5 };
    Some((tokens.get(at)?.parse().ok()?, tokens.get(at + 1)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_the_place_are_read() {
        let short = "$JS.ACK.crdt-log.Xy12.1.17.5.1700000000.3";
        let long = "$JS.ACK._.hash.crdt-log.Xy12.1.17.5.1700000000.3.random";
        for reply in [short, long] {
            assert_eq!(places(reply), Some((17, 5)));
        }
        for reply in ["_INBOX.a.b", "$JS.ACK.", "$JS.ACK.a.b.c.d.e.f.g"] {
            assert_eq!(places(reply), None);
        }
    }
}
