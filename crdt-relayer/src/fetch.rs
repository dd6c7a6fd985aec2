//! One HTTP request to an address, plain or encrypted, in steps of which none is waited for too
//! long.

use std::error::Error;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, SystemTime};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{DATE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::roots::Roots;

/// Longest wait for one step: resolving, connecting, or a request and its answer.
const STEP_MAX: Duration = Duration::from_secs(5);

/// Bytes of the head of an answer.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Bytes of the body of an answer.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nothing came in time.
    #[error("no answer within {} s", STEP_MAX.as_secs())]
    Silent,
    /// The system says why.
    #[error("{0}")]
    Network(#[from] io::Error),
    /// It could not be encrypted.
    #[error("{0}")]
    Tls(String),
    /// The request cannot be put in words.
    #[error("{0}")]
    Request(#[from] hyper::http::Error),
    /// What came is no HTTP, or it broke off.
    #[error("no HTTP answer: {0}")]
    Http(#[from] hyper::Error),
    /// The body is too long, or it broke off.
    #[error("the answer cannot be read: {0}")]
    Body(Box<dyn Error + Send + Sync>),
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub body: Bytes,
    /// The peer's clock, cut to seconds.
    pub date: Option<SystemTime>,
    /// This machine's clock before the request.
    pub asked: SystemTime,
    /// The same, when the answer came.
    pub answered: SystemTime,
}

/// The addresses of a host; at least one.
///
/// # Errors
/// [`Failure::Silent`], [`Failure::Network`].
pub async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
    let (sender, found) = oneshot::channel();
    let host = host.to_owned();
    // On a thread of its own: the runtime would wait for the resolver when the process ends.
    std::thread::Builder::new().spawn(move || {
        let found = (host.as_str(), port).to_socket_addrs().map(Vec::from_iter);
        // Whoever asked may have given up.
        drop(sender.send(found));
    })?;
    let found = timeout(STEP_MAX, found).await.map_err(|_| Failure::Silent)?;
    let addresses: Vec<SocketAddr> = found.map_err(io::Error::other)??;
    if addresses.is_empty() {
        return Err(io::Error::from(io::ErrorKind::NotFound).into());
    }
    Ok(addresses)
}

/// A connection to one of these addresses.
///
/// # Errors
/// [`Failure::Silent`], [`Failure::Network`].
pub async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, Failure> {
    Ok(timeout(STEP_MAX, TcpStream::connect(addresses)).await.map_err(|_| Failure::Silent)??)
}

/// A connection, plain or encrypted.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Encrypts a connection to a host whose certificate holds. Returns it with the second since 1970
/// after which the certificate does not hold any more.
///
/// # Errors
/// [`Failure::Tls`].
pub async fn encrypt(
    roots: &Roots,
    stream: TcpStream,
    host: &str,
) -> Result<(Box<dyn Stream>, u64), Failure> {
    let encrypted = timeout(STEP_MAX, roots.encrypt(stream, host)).await;
    let silent = |_| Failure::Tls(format!("{} when asked to encrypt", Failure::Silent));
    let encrypted = encrypted.map_err(silent)?.map_err(|ended| Failure::Tls(ended.why))?;
    Ok((Box::new(encrypted.stream), encrypted.valid_until))
}

/// Asks for a page.
///
/// # Errors
/// [`Failure`].
pub async fn get(stream: Box<dyn Stream>, host: &str, path: &str) -> Result<Answer, Failure> {
    timeout(STEP_MAX, exchange(stream, host, path)).await.map_err(|_| Failure::Silent)?
}

async fn exchange(stream: Box<dyn Stream>, host: &str, path: &str) -> Result<Answer, Failure> {
    let request = Request::get(path).header(HOST, host).body(Empty::<Bytes>::new())?;
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(HEAD_BYTES_MAX).handshake(TokioIo::new(stream)).await?;
    // Ends with this request, whatever becomes of it.
    let mut carrying = JoinSet::new();
    carrying.spawn(connection);
    let asked = SystemTime::now();
    let response = sender.send_request(request).await?;
    let answered = SystemTime::now();
    let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
    let status = response.status();
    let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
    let body = body.map_err(Failure::Body)?.to_bytes();
    Ok(Answer { status, body, date, asked, answered })
}
