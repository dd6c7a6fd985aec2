//! Serves connections. Not as the framework does, which sets no timer: a client that sends half a
//! header would stay for ever.

use std::net::SocketAddr;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::timeout;
use tower::Layer;

use crate::acceptor::Acceptor;
use crate::admission::{Admission, Seat};
use crate::limits::Limits;
use crate::read_ahead::ReadAhead;
use crate::stall::Stalling;
use crate::tls::Certificates;

/// Headers of a request.
const HEADERS_MAX: usize = 40;

/// Time for a TLS handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

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
    acceptor: Acceptor,
    certificates: Option<Certificates>,
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
        Ok(Self { acceptor: Acceptor::bind(address).await?, certificates })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.acceptor.address()
    }

    fn encryption(&self) -> Encryption {
        if self.certificates.is_none() { Encryption::None } else { Encryption::Tls }
    }

    /// The address of its websocket.
    pub fn url(&self) -> String {
        url(self.address(), self.encryption())
    }

    /// Serves until `running` turns false or its sender is gone. Open connections go on.
    pub async fn run(self, app: Router, admission: Admission, mut running: watch::Receiver<bool>) {
        let encryption = self.encryption();
        // Where TLS is spoken, nothing can be told to who is turned away.
        let told = encryption == Encryption::None;
        let mut accepting = self.acceptor.accept(admission.clone(), told);
        loop {
            let accepted = tokio::select! {
                accepted = accepting.next() => accepted,
                _ = running.wait_for(|running| !*running) => None,
            };
            let Some((stream, seat)) = accepted else { return accepting.end().await };
            let (app, limits) = (app.clone(), admission.limits());
            match self.certificates.clone() {
                None => drop(tokio::spawn(serve(stream, app, (seat, encryption), limits))),
                Some(certificates) => drop(tokio::spawn(async move {
                    let handshake = certificates.acceptor().accept(stream);
                    if let Ok(Ok(stream)) = timeout(HANDSHAKE_MAX, handshake).await {
                        serve(stream, app, (seat, encryption), limits).await;
                    }
                })),
            }
        }
    }
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
