//! Accepts connections and turns away those that are too many, on a thread of its own: those who are
//! in do not take turns with all who come.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::admission::{Admission, Seat, TurnedAway};
use crate::http::Problem;
use crate::metrics::Refused;

/// How many are told at a time that they are turned away, and how long they have to listen.
const REFUSALS_MAX: usize = 64;
const REFUSAL_MAX: Duration = Duration::from_secs(1);

/// Bytes that are read of one who is turned away.
const REFUSED_BYTES_MAX: u64 = 16 * 1024;

/// Pause after accepting failed, for example because no file descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Listens on an address.
#[derive(Debug)]
pub(crate) struct Acceptor {
    listener: TcpListener,
    address: SocketAddr,
    thread: Thread,
}

/// A thread for tasks, which end with it when this is dropped.
#[derive(Debug)]
struct Thread {
    tasks: Handle,
    _running: oneshot::Sender<Infallible>,
}

impl Thread {
    async fn start() -> io::Result<Self> {
        let (starting, started) = oneshot::channel();
        let (running, ended) = oneshot::channel();
        // What it runs is made and dropped on it: that may wait.
        thread::Builder::new().name("acceptor".into()).spawn(move || {
            match Builder::new_current_thread().enable_all().build() {
                Err(error) => drop(starting.send(Err(error))),
                Ok(runtime) => {
                    drop(starting.send(Ok(runtime.handle().clone())));
                    drop(runtime.block_on(ended));
                }
            }
        })?;
        let tasks = started.await.map_err(io::Error::other)??;
        Ok(Self { tasks, _running: running })
    }
}

impl Acceptor {
    /// Listens on an address; port 0 takes a free one.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<Self> {
        let thread = Thread::start().await?;
        let listener = thread.tasks.spawn(TcpListener::bind(address)).await??;
        Ok(Self { address: listener.local_addr()?, listener, thread })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to accept those who are admitted. The others are told why if they are `told`.
    pub(crate) fn accept(self, admission: Admission, told: bool) -> Accepting {
        let (accepting, accepted) = mpsc::unbounded_channel();
        let turned_away = Arc::new(Semaphore::new(REFUSALS_MAX));
        let door =
            Door { listener: self.listener, admission, told, turned_away, accepted: accepting };
        Accepting { accepted, door: self.thread.tasks.spawn(door.keep()), _thread: self.thread }
    }
}

/// Those who are let in.
#[derive(Debug)]
pub(crate) struct Accepting {
    /// Each takes up a seat: there are no more of them than seats.
    accepted: mpsc::UnboundedReceiver<(std::net::TcpStream, Seat)>,
    door: JoinHandle<()>,
    _thread: Thread,
}

impl Accepting {
    /// The next; none ever again if accepting has ended. Nobody is lost if this is not awaited to
    /// its end.
    pub(crate) async fn next(&mut self) -> Option<(TcpStream, Seat)> {
        loop {
            let (stream, seat) = self.accepted.recv().await?;
            // One that cannot be watched here, for want of memory, is closed.
            if let Ok(stream) = TcpStream::from_std(stream) {
                return Some((stream, seat));
            }
        }
    }

    /// Stops. From then on nobody listens on the address.
    pub(crate) async fn end(self) {
        self.door.abort();
        // It ended in one way or another.
        drop(self.door.await);
    }
}

/// What the thread does.
struct Door {
    listener: TcpListener,
    admission: Admission,
    told: bool,
    /// Those who are being told that they are turned away.
    turned_away: Arc<Semaphore>,
    accepted: mpsc::UnboundedSender<(std::net::TcpStream, Seat)>,
}

impl Door {
    async fn keep(self) {
        loop {
            let Ok((stream, address)) = self.listener.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            match self.admission.admit(address.ip()) {
                Ok(seat) => self.let_in(stream, seat),
                Err(turned) => self.turn_away(stream, turned),
            }
        }
    }

    fn let_in(&self, stream: TcpStream, seat: Seat) {
        // Latency only; the connection works without it.
        drop(stream.set_nodelay(true));
        // A connection that cannot be handed on, because it or its server has gone, is closed.
        if let Ok(stream) = stream.into_std() {
            drop(self.accepted.send((stream, seat)));
        }
    }

    /// Says why, if that costs little at the moment.
    fn turn_away(&self, stream: TcpStream, turned: TurnedAway) {
        if !self.told {
            return;
        }
        let Ok(turn) = Arc::clone(&self.turned_away).try_acquire_owned() else { return };
        tokio::spawn(async move {
            // Who does not listen is left.
            let _in_time = timeout(REFUSAL_MAX, refuse(stream, turned)).await;
            drop(turn);
        });
    }
}

async fn refuse(mut stream: TcpStream, turned: TurnedAway) -> io::Result<()> {
    let TurnedAway { limit, wait } = turned;
    let of_address = matches!(limit, Refused::ConnectionsOfAddress | Refused::HandshakesOfAddress);
    let problem = if of_address {
        Problem::busy(limit.sentence(), wait)
    } else {
        Problem::unavailable("full", limit.sentence()).again_in(wait)
    };
    stream.write_all(problem.written().as_bytes()).await?;
    stream.shutdown().await?;
    // Closed before the request was read, the answer could be lost on its way.
    copy(&mut stream.take(REFUSED_BYTES_MAX), &mut sink()).await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{Ipv4Addr, TcpStream};

    use tokio::sync::watch;

    use super::{Acceptor, Admission, Duration, timeout};
    use crate::limits::Limits;
    use crate::metrics::Metrics;

    const LONG: Duration = Duration::from_secs(10);

    /// The only thread of the test's runtime waits in the test all the time.
    #[tokio::test]
    async fn who_is_turned_away_takes_up_no_time_of_those_who_are_in() {
        let acceptor = Acceptor::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let address = acceptor.address();
        let limits = watch::channel(Limits { connections: 1, ..Limits::default() }).1;
        let mut accepting = acceptor.accept(Admission::new(limits, Metrics::default()), true);
        let _in = TcpStream::connect(address).unwrap();
        for _ in 0..3 {
            let mut refused = TcpStream::connect(address).unwrap();
            refused.set_read_timeout(Some(LONG)).unwrap();
            let mut answer = String::new();
            refused.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        }
        assert!(timeout(LONG, accepting.next()).await.unwrap().is_some());
        accepting.end().await;
        assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
    }
}
