//! A websocket client that costs next to nothing, so that thousands of them run beside what they
//! measure: it masks with zeros and copies what comes once.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Most bytes of an answer's head.
const HEAD_MAX: usize = 8 * 1024;

/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;

/// The last frame of a message; a mask follows.
const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;

/// The length follows in two bytes, or in eight.
const SHORT: u8 = 126;
const LONG: u8 = 127;

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A connection.
#[derive(Debug)]
pub struct Light {
    stream: TcpStream,
    unread: Vec<u8>,
    /// How much of it was given out already.
    taken: usize,
}

/// Connects a socket from an address of this machine.
///
/// # Errors
/// The system's.
pub async fn dial(server: SocketAddr, from: IpAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    // A socket that is bound first takes a port that no other uses, of whatever server, or did
    // lately: there are not enough of them for many runs.
    if from != Ipv4Addr::LOCALHOST {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    let stream = socket.connect(server).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A frame of a client, whole, masked with zeros.
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![FINAL | opcode];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short), _) if short < SHORT => frame.push(MASKED | short),
        (_, Ok(len)) => {
            frame.push(MASKED | SHORT);
            frame.extend(len.to_be_bytes());
        }
        (_, Err(_)) => {
            frame.push(MASKED | LONG);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// The request that opens a websocket.
pub fn opening(server: SocketAddr, more: &str) -> String {
    format!(
        "GET /websocket HTTP/1.1\r\nHost: {server}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

fn ended() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

impl Light {
    /// Opens a websocket from an address of this machine.
    ///
    /// # Errors
    /// The system's, or `ConnectionRefused` with the status if another than 101 is answered.
    pub async fn open(server: SocketAddr, from: IpAddr) -> io::Result<Self> {
        let mut stream = dial(server, from).await?;
        stream.write_all(opening(server, "").as_bytes()).await?;
        let mut unread = Vec::new();
        loop {
            if let Some(end) = unread.windows(4).position(|four| four == b"\r\n\r\n") {
                if !unread.starts_with(b"HTTP/1.1 101 ") {
                    let status = String::from_utf8_lossy(&unread[..end]).into_owned();
                    return Err(io::Error::new(io::ErrorKind::ConnectionRefused, status));
                }
                return Ok(Self { stream, unread, taken: end + 4 });
            }
            if unread.len() > HEAD_MAX || stream.read_buf(&mut unread).await? == 0 {
                return Err(ended());
            }
        }
    }

    /// Sends a text.
    ///
    /// # Errors
    /// The system's.
    pub async fn say(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(&frame(TEXT, text.as_bytes())).await
    }

    /// Sends frames as they are.
    ///
    /// # Errors
    /// The system's.
    pub async fn send(&mut self, frames: &[u8]) -> io::Result<()> {
        self.stream.write_all(frames).await
    }

    /// The next text. Pings are answered, a close frame is the end.
    ///
    /// # Errors
    /// The connection ended.
    pub async fn hear(&mut self) -> io::Result<&[u8]> {
        loop {
            let Some((opcode, from, to)) = self.whole() else {
                self.fill().await?;
                continue;
            };
            self.taken = to;
            match opcode {
                TEXT => return Ok(&self.unread[from..to]),
                CLOSE => return Err(ended()),
                PING => {
                    let pong = frame(PONG, &self.unread[from..to]);
                    self.stream.write_all(&pong).await?;
                }
                _ => {}
            }
        }
    }

    /// Code and reason of the close frame; whatever comes before it is passed over.
    ///
    /// # Errors
    /// The connection ended without one.
    pub async fn closed(&mut self) -> io::Result<(u16, String)> {
        loop {
            let Some((opcode, from, to)) = self.whole() else {
                self.fill().await?;
                continue;
            };
            self.taken = to;
            if let (CLOSE, [first, second, reason @ ..]) = (opcode, &self.unread[from..to]) {
                let reason = String::from_utf8_lossy(reason).into_owned();
                return Ok((u16::from_be_bytes([*first, *second]), reason));
            }
        }
    }

    /// Whether another frame is here without waiting.
    pub fn has_more(&self) -> bool {
        self.whole().is_some()
    }

    /// The next frame, if all of it is here: its opcode and where it is.
    fn whole(&self) -> Option<(u8, usize, usize)> {
        let bytes = &self.unread[self.taken..];
        let (first, short) = (bytes.first()?, bytes.get(1)? & 0x7f);
        let (head, len) = match short {
            SHORT => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
            LONG => {
                let len = u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?);
                (10, usize::try_from(len).ok()?)
            }
            len => (2, usize::from(len)),
        };
        let whole = bytes.len() >= head + len;
        let from = self.taken + head;
        whole.then_some((first & 0x0f, from, from + len))
    }

    async fn fill(&mut self) -> io::Result<()> {
        self.unread.drain(..self.taken);
        self.taken = 0;
        self.unread.reserve(READ_BYTES);
        if self.stream.read_buf(&mut self.unread).await? == 0 {
            return Err(ended());
        }
        Ok(())
    }

    /// Gives back what is read into, for connections that are silent for long.
    pub fn rest(&mut self) {
        self.unread.drain(..self.taken);
        self.taken = 0;
        self.unread.shrink_to_fit();
    }
}
