//! Accepts connections. Our own loop, because the framework's sets no timer: a client that sends
//! half a header would stay for ever.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tower::Layer;

use crate::admission::{Admission, Seat, TurnedAway};
use crate::http::Problem;
use crate::limits::Limits;
use crate::metrics::Refused;
use crate::read_ahead::ReadAhead;
use crate::stall::Stalling;
use crate::tls::Certificates;

/// Headers of a request.
const HEADERS_MAX: usize = 40;

/// Time for a TLS handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// How many are told at a time that they are turned away, and how long they have to listen.
const REFUSALS_MAX: usize = 64;
const REFUSAL_MAX: Duration = Duration::from_secs(1);

/// Pause after accepting failed, for example because no file descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Whether what is served is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// It is not.
    None,
    /// It is.
    Tls,
}

/// The websocket of who listens on an address.
pub fn url(address: SocketAddr, encryption: Encryption) -> String {
    let scheme = match encryption {
        Encryption::None => "ws",
        Encryption::Tls => "wss",
    };
    format!("{scheme}://{address}/websocket")
}

/// A listening server.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    certificates: Option<Certificates>,
    /// Those who are being told that they are turned away.
    turned_away: Arc<Semaphore>,
}

impl Server {
    /// Listens on an address; port 0 takes a free one. With certificates, encrypted.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn bind(
        address: SocketAddr,
        certificates: Option<Certificates>,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let turned_away = Arc::new(Semaphore::new(REFUSALS_MAX));
        Ok(Self { listener, address, certificates, turned_away })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of its websocket.
    pub fn url(&self) -> String {
        let plain = self.certificates.is_none();
        url(self.address, if plain { Encryption::None } else { Encryption::Tls })
    }

    /// Serves until `running` turns false or its sender is gone. Open connections go on.
    pub async fn run(self, app: Router, admission: Admission, mut running: watch::Receiver<bool>) {
        loop {
            let (stream, address) = tokio::select! {
                accepted = self.accept() => accepted,
                _ = running.wait_for(|running| !*running) => return,
            };
            let seat = match admission.admit(address.ip()) {
                Ok(seat) => seat,
                Err(turned) => {
                    self.turn_away(stream, turned);
                    continue;
                }
            };
            let (app, limits) = (app.clone(), admission.limits());
            match self.certificates.clone() {
                None => drop(tokio::spawn(serve(stream, app, (seat, Encryption::None), limits))),
                Some(certificates) => drop(tokio::spawn(async move {
                    let handshake = certificates.acceptor().accept(stream);
                    if let Ok(Ok(stream)) = timeout(HANDSHAKE_MAX, handshake).await {
                        serve(stream, app, (seat, Encryption::Tls), limits).await;
                    }
                })),
            }
        }
    }

    async fn accept(&self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    // Latency only; the connection works without it.
                    drop(stream.set_nodelay(true));
                    return (stream, address);
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    /// Says why, if that costs little at the moment. Where TLS is spoken, nothing.
    fn turn_away(&self, stream: TcpStream, turned: TurnedAway) {
        let Ok(turn) = Arc::clone(&self.turned_away).try_acquire_owned() else { return };
        if self.certificates.is_none() {
            tokio::spawn(async move {
                // Who does not listen is left.
                let _in_time = timeout(REFUSAL_MAX, refuse(stream, turned)).await;
                drop(turn);
            });
        }
    }
}

async fn refuse(mut stream: TcpStream, turned: TurnedAway) -> std::io::Result<()> {
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
    let mut request = [0; 1_024];
    while stream.read(&mut request).await? > 0 {}
    Ok(())
}

async fn serve<S>(stream: S, app: Router, (seat, encryption): (Seat, Encryption), limits: Limits)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = Stalling::new(ReadAhead::new(stream), limits.stall_time);
    // A websocket outlives the request it came from, and takes its seat along. Both are added
    // around the routes: `Router::layer` would make each of them anew.
    let service = Extension(seat).layer(Extension(encryption).layer(app));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_headers(HEADERS_MAX)
        .max_buf_size(limits.header_bytes)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .with_upgrades()
        .await;
    // A client that breaks off or misbehaves is no news to the server.
    drop(served);
}
