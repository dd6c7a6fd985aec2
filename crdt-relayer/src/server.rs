//! Accepts connections. Our own loop, because the framework's sets no timer: a client that sends
//! half a header would stay for ever.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Open connections.
const CONNECTIONS_MAX: usize = 4_096;

/// Time for a request's head to arrive.
const HEADER_MAX: Duration = Duration::from_secs(5);

/// Headers of a request.
const HEADERS_MAX: usize = 40;

/// Bytes of a request's head.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// Pause after accepting failed, for example because no file descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// One of the places of a server, held as long as any part of a connection lives.
#[derive(Clone, Debug)]
pub struct Place {
    _permit: Arc<OwnedSemaphorePermit>,
}

/// A listening server.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Listens on an address; port 0 takes a free one.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn bind(address: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of its websocket.
    pub fn url(&self) -> String {
        format!("ws://{}/websocket", self.address)
    }

    /// Serves until `running` turns false or its sender is gone. Open connections go on.
    pub async fn run(self, app: Router, mut running: watch::Receiver<bool>) {
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let accepted = tokio::select! {
                accepted = self.accept(&connections) => accepted,
                _ = running.wait_for(|running| !*running) => return,
            };
            let Some((stream, permit)) = accepted else { return };
            // A websocket outlives the request it came from, and takes its place along.
            let place = Extension(Place { _permit: Arc::new(permit) });
            let service = TowerToHyperService::new(app.clone().layer(place));
            tokio::spawn(async move {
                let served = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADER_MAX)
                    .max_headers(HEADERS_MAX)
                    .max_buf_size(HEADER_BYTES_MAX)
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades()
                    .await;
                // A client that breaks off or misbehaves is no news to the server.
                drop(served);
            });
        }
    }

    async fn accept(
        &self,
        connections: &Arc<Semaphore>,
    ) -> Option<(TcpStream, OwnedSemaphorePermit)> {
        let permit = Arc::clone(connections).acquire_owned().await.ok()?;
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    // Latency only; the connection works without it.
                    drop(stream.set_nodelay(true));
                    return Some((stream, permit));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }
}
