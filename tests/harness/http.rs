//! A small HTTP client: one request a connection, and streams of events.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::process::WAIT_MAX;

/// A server.
#[derive(Clone, Debug)]
pub struct Server {
    address: SocketAddr,
    from: IpAddr,
}

/// What it answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }
}

impl Server {
    /// The server with this websocket.
    pub fn of(websocket: &str) -> Self {
        let address = websocket.strip_prefix("ws://").unwrap().strip_suffix("/websocket").unwrap();
        Self { address: address.parse().unwrap(), from: Ipv4Addr::LOCALHOST.into() }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same server, asked from another address of this machine: 127.0.0.N.
    #[must_use]
    pub fn asked_from(&self, last: u8) -> Self {
        Self { from: Ipv4Addr::new(127, 0, 0, last).into(), ..self.clone() }
    }

    /// A connection to it.
    pub async fn connect(&self) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(self.from, 0)).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    /// Asks for a path.
    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    /// Asks for a path with these headers.
    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask("GET", path, headers, "").await
    }

    /// Sends ops to a room as an array.
    pub async fn post(&self, room: &str, ops: &[String]) -> Answer {
        let body = format!("[{}]", ops.join(","));
        let json = [("content-type", "application/json")];
        self.ask("POST", &format!("/v1/rooms/{room}/ops"), &json, &body).await
    }

    /// Any request.
    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let response = self.send(method, path, headers, body).await;
        let headers = response.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_string(), text(value.as_bytes())));
        let (status, headers) = (response.status().as_u16(), headers.collect());
        let body = timeout(WAIT_MAX, response.into_body().collect()).await.expect("the body ends");
        Answer { status, headers, body: body.unwrap().to_bytes().to_vec() }
    }

    /// Opens a stream of events.
    ///
    /// # Errors
    /// The status, if it is another than 200.
    pub async fn events(&self, path: &str, headers: &[(&str, &str)]) -> Result<Events, u16> {
        let response = self.send("GET", path, headers, "").await;
        if response.status() != 200 {
            return Err(response.status().as_u16());
        }
        Ok(Events { body: response.into_body(), unread: String::new() })
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response<Incoming> {
        let stream = self.connect().await;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        timeout(WAIT_MAX, sender.send_request(request)).await.expect("an answer comes").unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A stream of events.
#[derive(Debug)]
pub struct Events {
    body: Incoming,
    unread: String,
}

/// An event of a stream.
#[derive(Clone, Debug)]
pub struct StreamEvent {
    /// Its kind.
    pub event: String,
    /// What to begin again after.
    pub id: u64,
    /// What it says.
    pub data: Value,
}

impl Events {
    /// The next event; `None` once the stream has ended. Comments are passed over.
    pub async fn next(&mut self) -> Option<StreamEvent> {
        loop {
            while let Some((event, rest)) = self.unread.split_once("\n\n") {
                let (event, rest) = (parse(event), rest.to_owned());
                self.unread = rest;
                if event.is_some() {
                    return event;
                }
            }
            let frame = timeout(WAIT_MAX, self.body.frame()).await.expect("the stream goes on");
            let data = frame?.ok()?.into_data().ok()?;
            self.unread.push_str(std::str::from_utf8(&data).expect("events are not cut in two"));
        }
    }

    /// The next event of a kind.
    pub async fn next_of(&mut self, kind: &str) -> StreamEvent {
        loop {
            let event = self.next().await.expect("the stream goes on");
            if event.event == kind {
                return event;
            }
        }
    }
}

fn parse(text: &str) -> Option<StreamEvent> {
    let field = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
    };
    let (event, id) = (field("event")?.to_owned(), field("id")?.parse().ok()?);
    Some(StreamEvent { event, id, data: serde_json::from_str(field("data")?).ok()? })
}
