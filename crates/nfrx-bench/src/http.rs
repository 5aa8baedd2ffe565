//! A bare HTTP/1.1 client: one connection, one request after the other, nothing kept of answers.
//!
//! It has to cost less than anything it measures, so it writes requests that were rendered once and
//! parses no more of an answer than its end and its events.

mod answer;
mod events;

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

pub(crate) use self::answer::Piece;
use self::answer::{Answer, Broken};

/// What is read at once at most.
const READ_BYTES: usize = 64 << 10;

/// Why a request got no whole, good answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("status {0}")]
    Status(u16),
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error("{events} events came, expected were {expected}")]
    Events { events: u64, expected: u64 },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A request, rendered once and sent often.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// A POST to `path`, with `key` as bearer.
    pub(crate) fn post(host: &str, path: &str, key: &str, content_type: &str, body: &[u8]) -> Self {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n"
        );
        Self { bytes: [head.as_bytes(), body].concat() }
    }

    /// Head and body.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }
}

/// What one answered request took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered {
    /// Before the first byte was sent.
    pub(crate) began: Instant,
    /// When the head was there.
    pub(crate) head: Instant,
    /// When the last byte was there.
    pub(crate) ended: Instant,
    /// The whole body.
    pub(crate) total: Piece,
}

impl Answered {
    /// An answer that lost an event, or has one too many, is no good answer.
    pub(crate) fn check_events(&self, expected: u64) -> Result<(), AskError> {
        let events = self.total.events;
        if events == expected { Ok(()) } else { Err(AskError::Events { events, expected }) }
    }
}

/// A connection to a target. Dropping it hangs up.
#[derive(Debug)]
pub(crate) struct Client {
    addr: SocketAddr,
    socket: TcpStream,
    buffer: Box<[u8]>,
    /// The last answer said that none follows on this connection.
    used_up: bool,
}

impl Client {
    /// Connects, without delays for small writes.
    pub(crate) async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let socket = connect(addr).await?;
        Ok(Self { addr, socket, buffer: vec![0; READ_BYTES].into(), used_up: false })
    }

    /// Sends a request and reads the whole answer, which must be a good one. `seen` is told each
    /// piece as it comes.
    pub(crate) async fn ask(
        &mut self,
        request: &Request,
        mut seen: impl FnMut(Instant, Piece),
    ) -> Result<Answered, AskError> {
        if self.used_up {
            self.socket = connect(self.addr).await?;
        }
        self.used_up = true; // Until the answer says otherwise.
        let began = Instant::now();
        let (mut reader, mut writer) = self.socket.split();
        let receive = receive(&mut reader, &mut self.buffer, &mut seen);
        tokio::pin!(receive);
        // A refusal may come while the request is still being sent, and end the sending; it is the
        // answer then, not the broken pipe.
        let received = tokio::select! {
            biased;
            _ = writer.write_all(&request.bytes) => receive.await,
            received = &mut receive => received,
        };
        let (answer, head, total) = received?;
        self.used_up = !answer.keeps_alive();
        match answer.status() {
            200 => Ok(Answered { began, head, ended: Instant::now(), total }),
            status => Err(AskError::Status(status)),
        }
    }
}

async fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(addr).await?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// Reads one answer; also gives when its head was there, and the sum of its pieces.
async fn receive(
    reader: &mut (impl AsyncReadExt + Unpin),
    buffer: &mut [u8],
    seen: &mut impl FnMut(Instant, Piece),
) -> Result<(Answer, Instant, Piece), AskError> {
    let (mut answer, mut head, mut total) = (Answer::default(), None, Piece::default());
    while !answer.is_done() {
        let length = reader.read(buffer).await?;
        let now = Instant::now();
        if length == 0 {
            answer.end()?;
            break;
        }
        let piece = answer.read(&buffer[..length])?;
        if answer.has_head() {
            head.get_or_insert(now);
        }
        total.events += piece.events;
        total.body_bytes += piece.body_bytes;
        seen(now, piece);
    }
    Ok((answer, head.unwrap_or_else(Instant::now), total))
}

#[cfg(test)]
mod tests;
