//! NATS `JetStream` as the bus: one stream for the service, one subject for each room. Nothing but
//! `JetStream` is here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::jetstream::context::{ContextBuilder, GetStreamErrorKind, PublishAckFuture};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, Stream as JetStream};
use async_nats::jetstream::{Context, ErrorCode};
use async_nats::{Client, ConnectOptions, Event, ServerAddr, Subscriber};
use bytes::Bytes;
use crdt_core::id::{OpId, RoomId};
use futures_util::StreamExt;
use futures_util::future::{BoxFuture, FutureExt};
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use super::AWAY;
use super::batch::ENVELOPE_BYTES_MAX;
use super::bus::{Bus, Engine, Heard, Posted, Stream};
use message::{Wanted, fetch};
use reader::{Reader, Source};

mod message;
mod reader;

/// Time for the server to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Time to connect to a server.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Bytes of a message beside the envelope: headers and subject.
const OVERHEAD_BYTES: usize = 1024;

/// Time in which the stream knows an op again that is posted twice.
const DUPLICATE_WINDOW: Duration = Duration::from_mins(2);

/// Messages posted and not confirmed: more than a replica sends before it waits.
const POSTED_MAX: usize = 16_384;

/// Messages read and not taken.
const READ_MAX: usize = 256;

/// Questions of others that wait; more are dropped, they are asked again.
const ASKED_MAX: usize = 1_024;

/// Why this configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NatsError {
    /// It is no address of a NATS server.
    #[error("not an address of a NATS server")]
    Url,
    /// It is no name of a stream.
    #[error("a stream's name has 1 to 32 letters, digits, - and _")]
    Name,
}

/// Where the stream is.
#[derive(Clone, Debug)]
pub struct Nats {
    servers: Vec<ServerAddr>,
    shown: String,
    name: String,
    bytes_max: Option<u64>,
    stuck: Arc<Stuck>,
}

/// Where reading began last, and how often it began there without getting anywhere.
#[derive(Debug, Default)]
struct Stuck {
    at: AtomicU64,
    times: AtomicU64,
}

impl Stuck {
    /// Reading begins after this place. Returns whether it has got nowhere twice before.
    fn begin(&self, place: u64) -> bool {
        if self.at.swap(place, Ordering::Relaxed) == place {
            self.times.fetch_add(1, Ordering::Relaxed) >= 2
        } else {
            self.times.store(1, Ordering::Relaxed);
            false
        }
    }
}

impl Nats {
    /// Servers by their addresses, separated by commas; the stream's name, and how many bytes it
    /// may hold if it is made here. An address may hold a user and password, or a token.
    ///
    /// # Errors
    /// [`NatsError`].
    pub fn new(urls: &str, name: &str, bytes_max: Option<u64>) -> Result<Self, NatsError> {
        let parse = |url: &str| url.trim().parse::<ServerAddr>().map_err(|_| NatsError::Url);
        let servers: Vec<ServerAddr> = urls.split(',').map(parse).collect::<Result<_, _>>()?;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if name.is_empty() || name.len() > 32 || !name.bytes().all(fits) {
            return Err(NatsError::Name);
        }
        let shown: Vec<String> = servers.iter().map(shown).collect();
        Ok(Self {
            servers,
            shown: shown.join(","),
            name: name.to_owned(),
            bytes_max,
            stuck: Arc::default(),
        })
    }

    /// The stream, made if there is none.
    async fn open(&self, context: &Context) -> Result<JetStream, String> {
        let found = match context.get_stream(&self.name).await {
            Err(error) if is_missing(&error.kind()) => None,
            Err(error) => return Err(format!("no stream: {error}")),
            Ok(stream) => Some(stream),
        };
        let Some(stream) = found else {
            let config = Config {
                name: self.name.clone(),
                description: Some("signed ops on their way between relayers".to_owned()),
                subjects: vec![rooms(&self.name)],
                max_bytes: self.bytes_max.map_or(-1, |max| i64::try_from(max).unwrap_or(i64::MAX)),
                max_message_size: i32::try_from(ENVELOPE_BYTES_MAX + OVERHEAD_BYTES).unwrap_or(-1),
                duplicate_window: DUPLICATE_WINDOW,
                ..Config::default()
            };
            let made = context.create_stream(config).await;
            return made.map_err(|error| format!("cannot make the stream: {error}"));
        };
        let config = &stream.cached_info().config;
        let takes = usize::try_from(config.max_message_size).unwrap_or(0);
        if config.no_ack || !config.subjects.contains(&rooms(&self.name)) {
            let (name, subject) = (&self.name, rooms(&self.name));
            return Err(format!("stream {name} is not for {subject}, or does not acknowledge"));
        }
        if (1..ENVELOPE_BYTES_MAX).contains(&takes) {
            return Err(format!("stream {} takes {takes} bytes in a message only", self.name));
        }
        Ok(stream)
    }
}

fn is_missing(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error)
        if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

fn shown(server: &ServerAddr) -> String {
    let scheme = if server.tls_required() { "tls" } else { "nats" };
    format!("{scheme}://{}:{}", server.host(), server.port())
}

/// The subjects of all rooms.
fn rooms(stream: &str) -> String {
    format!("{stream}.room.*")
}

/// The subject of questions; no stream keeps it.
fn questions(stream: &str) -> String {
    format!("{stream}.ask")
}

impl Engine for Nats {
    type Bus = NatsBus;

    fn address(&self) -> &str {
        &self.shown
    }

    async fn connect(&self) -> Result<NatsBus, String> {
        let (lost, is_lost) = watch::channel(None);
        let options = ConnectOptions::new()
            .name(concat!("crdt-relayer/", env!("CARGO_PKG_VERSION")))
            .connection_timeout(CONNECT_MAX)
            // What is read is asked for, and less than this.
            .subscription_capacity(ASKED_MAX)
            // Whoever made this connection makes the next: places may have to be looked at first.
            .max_reconnects(self.servers.len())
            .event_callback(move |event| {
                if let Event::Disconnected | Event::Closed | Event::ClientError(_) = event {
                    lost.send_replace(Some("connection lost"));
                }
                std::future::ready(())
            });
        let connecting = options.connect(self.servers.clone());
        let client = connecting.await.map_err(|error| describe(&error))?;
        let takes = client.server_info().max_payload;
        if takes < ENVELOPE_BYTES_MAX + OVERHEAD_BYTES {
            return Err(format!("the server takes {takes} bytes in a message only"));
        }
        let context = ContextBuilder::new()
            .timeout(ANSWER_MAX)
            .max_ack_inflight(POSTED_MAX)
            .build(client.clone());
        let stream = self.open(&context).await?;
        let asked = client.subscribe(questions(&self.name)).await;
        let asked = asked.map_err(|error| error.to_string())?;
        let info = stream.cached_info();
        let created = info.created.unix_timestamp_nanos().to_be_bytes();
        let known = Stream {
            identity: Sha256::new()
                .chain_update(self.name.as_bytes())
                .chain_update([0])
                .chain_update(created)
                .finalize()
                .into(),
            first: info.state.first_sequence,
            last: info.state.last_sequence,
        };
        let (name, stuck) = (self.name.clone(), Arc::clone(&self.stuck));
        Ok(NatsBus { client, context, stream, known, name, is_lost, asked, stuck, reading: None })
    }
}

/// Why connecting failed, shortly where it is the usual reason.
fn describe(error: &async_nats::ConnectError) -> String {
    let text = error.to_string();
    if text.contains("Connection refused") { AWAY.to_owned() } else { text }
}

/// A connection to `JetStream`.
#[derive(Debug)]
pub struct NatsBus {
    client: Client,
    context: Context,
    stream: JetStream,
    known: Stream,
    name: String,
    is_lost: watch::Receiver<Option<&'static str>>,
    asked: Subscriber,
    stuck: Arc<Stuck>,
    reading: Option<(mpsc::Receiver<Result<Posted, String>>, AbortHandle)>,
}

impl Drop for NatsBus {
    fn drop(&mut self) {
        self.stop_reading();
    }
}

impl NatsBus {
    fn stop_reading(&mut self) {
        if let Some((_, reader)) = self.reading.take() {
            reader.abort();
        }
    }
}

/// Waits until the server has kept a message, and returns where. One that it took for a known one
/// is looked at: anybody can post something else under an op's id before the op.
async fn kept(
    context: Context,
    stream: String,
    (subject, payload): (String, Bytes),
    ack: PublishAckFuture,
) -> Result<u64, String> {
    let ack = ack.await.map_err(|error| format!("not kept: {error}"))?;
    if !ack.duplicate {
        return Ok(ack.sequence);
    }
    let known = fetch(&context, &stream, &Wanted { seq: ack.sequence, subject: None }).await?;
    if known.is_some_and(|known| known.payload == payload && *known.subject == *subject) {
        return Ok(ack.sequence);
    }
    let again = context.publish(subject, payload).await.map_err(|error| error.to_string())?;
    again.await.map(|ack| ack.sequence).map_err(|error| format!("not kept: {error}"))
}

impl Bus for NatsBus {
    type Receipt = BoxFuture<'static, Result<u64, String>>;

    fn stream(&self) -> Stream {
        self.known
    }

    async fn at(&self, seq: u64) -> Result<Option<Bytes>, String> {
        let found = fetch(&self.context, &self.name, &Wanted { seq, subject: None }).await?;
        Ok(found.map(|message| message.payload))
    }

    async fn post(&self, room: RoomId, id: OpId, payload: Bytes) -> Result<Self::Receipt, String> {
        let subject = format!("{}.room.{room}", self.name);
        let message = PublishMessage::build().payload(payload.clone()).message_id(id.to_string());
        let sent = self.context.send_publish(subject.clone(), message).await;
        let ack = sent.map_err(|error| format!("not posted: {error}"))?;
        let (context, stream) = (self.context.clone(), self.name.clone());
        Ok(kept(context, stream, (subject, payload), ack).boxed())
    }

    async fn ask(&self, payload: Vec<u8>) -> Result<(), String> {
        let asked = self.client.publish(questions(&self.name), payload.into()).await;
        asked.map_err(|error| error.to_string())
    }

    async fn read_after(&mut self, seq: u64) -> Result<(), String> {
        self.stop_reading();
        let singly = self.stuck.begin(seq) && self.known.last > seq;
        let source = Source {
            client: self.client.clone(),
            context: self.context.clone(),
            stream: self.stream.clone(),
            name: self.name.clone(),
        };
        let (sender, messages) = mpsc::channel(READ_MAX);
        let task = tokio::spawn(Reader::open(source).await?.run(seq, singly, sender));
        self.reading = Some((messages, task.abort_handle()));
        Ok(())
    }

    async fn next(&mut self) -> Result<Heard, String> {
        let read = async {
            let Some((messages, _)) = &mut self.reading else {
                return std::future::pending().await;
            };
            let mut posted = Vec::new();
            match messages.recv().await {
                Some(first) => posted.push(first?),
                None => return Err("connection lost".to_owned()),
            }
            while let Ok(Ok(more)) = messages.try_recv() {
                posted.push(more);
            }
            Ok(Heard::Posted(posted))
        };
        tokio::select! {
            lost = self.is_lost.wait_for(Option::is_some) => {
                Err(lost.ok().and_then(|reason| *reason).unwrap_or("connection lost").to_owned())
            }
            asked = self.asked.next() => match asked {
                Some(message) => Ok(Heard::Asked(message.payload)),
                None => Err("connection lost".to_owned()),
            },
            read = read => read,
        }
    }
}
