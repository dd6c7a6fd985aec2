//! All that is known to be done to servers, at once, beside members who do what they should.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::member::hello;
use crate::client::{ops as ops_message, sub};
use crate::flood::{Author, orphans};
use crate::light::{Light, dial, frame, opening};

/// Time for an answer, after which an attacker begins again.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// How long a deaf member reads nothing: long enough that what is ready for it fills every buffer
/// on the way and the server is left with the rest, which is the attack. Not a wait for anything.
const DEAF_FOR: Duration = Duration::from_secs(10);

/// Time from one beginning of an attacker to its next: 240 who are answered at once, which is what
/// the 12 addresses of those have with 20 attackers each, come 16,000 times a second at most.
const BETWEEN: Duration = Duration::from_millis(15);

/// What is done to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attack {
    /// Heads of requests that come byte by byte.
    Slowloris,
    /// Connections on which nothing is said.
    HalfOpen,
    /// Members that ask for everything and read nothing.
    Deaf,
    /// Members that send ops whose past never comes, as fast as they are taken.
    Flood,
    /// Connections that come again and again.
    Joins,
    /// A web page that may not ask, over HTTP and for a websocket.
    Origin,
    /// Paths and heads that are too long.
    Bombs,
}

impl Attack {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Slowloris,
        Self::HalfOpen,
        Self::Deaf,
        Self::Flood,
        Self::Joins,
        Self::Origin,
        Self::Bombs,
    ];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Slowloris => "slowloris",
            Self::HalfOpen => "half-open",
            Self::Deaf => "deaf",
            Self::Flood => "flood",
            Self::Joins => "joins",
            Self::Origin => "origin",
            Self::Bombs => "bombs",
        }
    }

    /// The first of the addresses that it comes from, and how many it has.
    fn addresses(self) -> (u8, u8) {
        match self {
            Self::Slowloris => (1, 4),
            Self::HalfOpen => (11, 4),
            Self::Deaf => (21, 2),
            Self::Flood => (31, 2),
            Self::Joins => (41, 8),
            Self::Origin => (51, 2),
            Self::Bombs => (61, 2),
        }
    }
}

/// How often each attack met each end.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<Mutex<BTreeMap<(Attack, String), u64>>>);

impl Tally {
    fn note(&self, attack: Attack, end: &str) {
        *self.0.lock().unwrap().entry((attack, end.to_owned())).or_default() += 1;
    }

    /// How often an attack met an end.
    pub fn of(&self, attack: Attack, end: &str) -> u64 {
        self.0.lock().unwrap().get(&(attack, end.to_owned())).copied().unwrap_or(0)
    }

    /// All of it: attack, end and how often.
    pub fn all(&self) -> Vec<(&'static str, String, u64)> {
        let all = self.0.lock().unwrap();
        all.iter().map(|((attack, end), often)| (attack.word(), end.clone(), *often)).collect()
    }
}

/// A siege that is under way.
#[derive(Debug)]
pub struct Siege {
    goes_on: Arc<AtomicBool>,
    attackers: Vec<JoinHandle<()>>,
    /// What has come of it.
    pub tally: Tally,
    /// Connections that were tried.
    pub tried: Arc<AtomicU64>,
}

/// One attacker.
#[derive(Clone, Debug)]
struct Attacker {
    attack: Attack,
    server: SocketAddr,
    from: IpAddr,
    room: String,
    number: u32,
    tally: Tally,
    tried: Arc<AtomicU64>,
    goes_on: Arc<AtomicBool>,
}

/// Begins: so many attackers from each address of each of these attacks, upon a room.
pub fn begin(server: SocketAddr, room: &str, attacks: &[Attack], attackers: u32) -> Siege {
    let goes_on = Arc::new(AtomicBool::new(true));
    let (tally, tried) = (Tally::default(), Arc::new(AtomicU64::new(0)));
    let mut tasks = Vec::new();
    for attack in attacks.iter().copied() {
        let (first, count) = attack.addresses();
        for address in first..first + count {
            for number in 0..attackers {
                let attacker = Attacker {
                    attack,
                    server,
                    from: Ipv4Addr::new(127, 0, 1, address).into(),
                    room: room.to_owned(),
                    number: 1_000_000 + u32::from(address) * 1_000 + number,
                    tally: tally.clone(),
                    tried: Arc::clone(&tried),
                    goes_on: Arc::clone(&goes_on),
                };
                tasks.push(tokio::spawn(attacker.go_on()));
            }
        }
    }
    Siege { goes_on, attackers: tasks, tally, tried }
}

impl Siege {
    /// Ends it.
    pub async fn end(self) -> Tally {
        self.goes_on.store(false, Ordering::Relaxed);
        for attacker in &self.attackers {
            attacker.abort();
        }
        for attacker in self.attackers {
            drop(attacker.await);
        }
        self.tally
    }
}

impl Attacker {
    async fn go_on(self) {
        let mut begins = Instant::now();
        while self.goes_on.load(Ordering::Relaxed) {
            sleep_until(begins).await;
            begins = Instant::now() + BETWEEN;
            self.tried.fetch_add(1, Ordering::Relaxed);
            let end = match self.once().await {
                Ok(end) => end,
                Err(error) => named(&error),
            };
            self.tally.note(self.attack, &end);
        }
    }

    async fn once(&self) -> io::Result<String> {
        match self.attack {
            Attack::Slowloris => self.slowloris().await,
            Attack::HalfOpen => {
                let mut stream = dial(self.server, self.from).await?;
                answer(&mut stream).await
            }
            Attack::Deaf => self.deaf().await,
            Attack::Flood => self.flood().await,
            Attack::Joins => {
                let mut stream = dial(self.server, self.from).await?;
                stream.write_all(opening(self.server, "").as_bytes()).await?;
                answer(&mut stream).await
            }
            Attack::Origin => {
                let path = if self.number.is_multiple_of(2) { "/v1/rooms" } else { "/websocket" };
                let page = "Origin: http://evil.example\r\n";
                let request = opening(self.server, page).replace("/websocket", path);
                self.asked(request.as_bytes()).await
            }
            Attack::Bombs => {
                let long = "x".repeat(70_000);
                let request = if self.number.is_multiple_of(2) {
                    format!("GET /{long} HTTP/1.1\r\nHost: {}\r\n\r\n", self.server)
                } else {
                    opening(self.server, &format!("X-Bomb: {long}\r\n"))
                };
                self.asked(request.as_bytes()).await
            }
        }
    }

    async fn asked(&self, request: &[u8]) -> io::Result<String> {
        let mut stream = dial(self.server, self.from).await?;
        // What is refused before it was read cannot be written to its end.
        let _refused = stream.write_all(request).await;
        answer(&mut stream).await
    }

    async fn slowloris(&self) -> io::Result<String> {
        let mut stream = dial(self.server, self.from).await?;
        let request = opening(self.server, "");
        for byte in request.bytes() {
            if stream.write_all(&[byte]).await.is_err() {
                break;
            }
            let mut first = [0; 1_024];
            match timeout(Duration::from_millis(500), stream.read(&mut first)).await {
                Err(_) => {}
                Ok(Ok(0)) => return Ok("closed".to_owned()),
                Ok(read) => return Ok(status(&first[..read?])),
            }
        }
        answer(&mut stream).await
    }

    /// Asks for everything as often as it is let, and reads nothing.
    async fn deaf(&self) -> io::Result<String> {
        let mut stream = dial(self.server, self.from).await?;
        stream.write_all(opening(self.server, "").as_bytes()).await?;
        let mut all = frame(1, hello(self.number).as_bytes());
        let asks = frame(1, sub(&self.room).as_bytes());
        for _ in 0..1_000 {
            all.extend(&asks);
        }
        stream.write_all(&all).await?;
        sleep(DEAF_FOR).await;
        answer(&mut stream).await
    }

    async fn flood(&self) -> io::Result<String> {
        let flood = orphans(&[Author::new(self.number, &self.room)], 256);
        let mut link = Light::open(self.server, self.from).await?;
        link.say(&hello(self.number)).await?;
        let mut sent = 0;
        for ops in flood.chunks(16).cycle() {
            let texts: Vec<String> = ops.iter().map(ToString::to_string).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            link.say(&ops_message(&self.room, &texts)).await?;
            sent += 1;
            if !self.goes_on.load(Ordering::Relaxed) || sent == 10_000 {
                break;
            }
            while link.has_more() {
                link.hear().await?;
            }
        }
        Ok("taken".to_owned())
    }
}

/// What a server answers, in a word: its status, or how it ended the connection.
async fn answer<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) -> io::Result<String> {
    let mut first = [0; 1_024];
    match timeout(ANSWER_MAX, stream.read(&mut first)).await {
        Err(_) => Ok("silent".to_owned()),
        Ok(Ok(0)) => Ok("closed".to_owned()),
        Ok(read) => Ok(status(&first[..read?])),
    }
}

fn status(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.split(' ').next());
    status.unwrap_or("answered").to_owned()
}

/// How a connection failed; one that was turned away says its status.
fn named(error: &io::Error) -> String {
    let text = error.to_string();
    if let Some(rest) = text.strip_prefix("HTTP/1.1 ") {
        return rest.split(' ').next().unwrap_or_default().to_owned();
    }
    let kind = error.kind();
    let closed = matches!(
        kind,
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    );
    if closed { "closed".to_owned() } else { format!("{kind:?}") }
}
