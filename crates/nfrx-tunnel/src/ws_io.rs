//! WebSocket binary messages as a byte stream.
//!
//! Writes are gathered and leave as one message when they are flushed: all frames that
//! HTTP/2 writes in one turn share a message and a system call. At the agent's end what is
//! flushed may leave a moment later, so that small pieces of answers go together (`company.rs`).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Sink, Stream};
use nfrx_runtime::frames::{Flooded, FrameMeter};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::company::Company;
use crate::limits::{FRAMES, MESSAGE_BYTES_MAX, WRITE_BYTES_MAX};
use crate::read_ahead::{READ_BUFFER_BYTES, ReadAhead};
use crate::turn::{Gauge, Turn};

/// A byte stream over a WebSocket.
pub(crate) struct WsIo<S> {
    socket: WebSocketStream<ReadAhead<S>>,
    unread: Bytes,
    gathered: BytesMut,
    heard: Box<dyn Fn() + Send + Sync>,
    frames: FrameMeter,
    gauge: Gauge,
    /// Only the agent's end writes answers.
    company: Option<Company>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WsIo<S> {
    /// Over a socket whose upgrade is done. `heard` is called whenever something
    /// comes.
    pub(crate) async fn new(io: S, role: Role, heard: Box<dyn Fn() + Send + Sync>) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(2 * MESSAGE_BYTES_MAX)
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let io = ReadAhead::new(io);
        let socket = WebSocketStream::from_raw_socket(io, role, Some(config)).await;
        // Of HTTP/2 the server's end of the socket is the client.
        let (frames, company) = match role {
            Role::Client => (FrameMeter::with_preface(FRAMES), Some(Company::new())),
            Role::Server => (FrameMeter::new(FRAMES), None),
        };
        let (unread, gathered) = (Bytes::new(), BytesMut::new());
        Self { socket, unread, gathered, heard, frames, gauge: Gauge::new(), company }
    }

    /// How much of one stream is to be written at a time.
    pub(crate) fn turn(&self) -> Turn {
        self.gauge.turn()
    }

    /// Tells the peer what it did wrong, if that can be written at once: the connection
    /// ends here either way.
    fn refuse(&mut self, code: CloseCode) {
        let frame = CloseFrame { code, reason: "".into() };
        let _ = Pin::new(&mut self.socket).start_send(Message::Close(Some(frame)));
    }

    /// What came, as far as its kind and its frames may come that often.
    fn judge(&mut self, message: &Message) -> Result<(), Flooded> {
        match message {
            Message::Binary(bytes) if !bytes.is_empty() => self.frames.received(bytes),
            _ => self.frames.charge(),
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.gathered.is_empty() {
            let room = Pin::new(&mut self.socket).poll_ready(cx);
            ready!(self.gauged(room)).map_err(broken)?;
            self.frames.sent(self.gathered.len());
            self.gauge.sent(self.gathered.len());
            let message = Message::Binary(self.gathered.split().freeze());
            Pin::new(&mut self.socket).start_send(message).map_err(broken)?;
            if let Some(company) = &mut self.company {
                company.left();
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush_socket(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        self.gauged(flushed).map_err(broken)
    }

    /// Notes whether the socket takes what it is given.
    fn gauged<T>(&mut self, room: Poll<T>) -> Poll<T> {
        let now = Instant::now();
        match room {
            Poll::Ready(_) => self.gauge.free(now),
            Poll::Pending => self.gauge.full(now),
        }
        room
    }
}

fn broken(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed | Error::AlreadyClosed => io::ErrorKind::BrokenPipe.into(),
        // The kind is what metrics tell it by.
        Error::Capacity(_) => io::Error::new(io::ErrorKind::FileTooLarge, error),
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WsIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(message)) => {
                    (self.heard)();
                    if let Err(flooded) = self.judge(&message) {
                        self.refuse(CloseCode::Policy);
                        return Poll::Ready(Err(io::Error::new(io::ErrorKind::QuotaExceeded, flooded)));
                    }
                    match message {
                        Message::Binary(bytes) => self.unread = bytes,
                        Message::Close(_) => return Poll::Ready(Ok(())),
                        Message::Text(_) => {
                            self.refuse(CloseCode::Unsupported);
                            return Poll::Ready(Err(io::Error::new(
                                io::ErrorKind::InvalidData,
                                "a text message",
                            )));
                        }
                        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
                    }
                }
                Some(Err(error)) => {
                    match &error {
                        Error::Capacity(_) => self.refuse(CloseCode::Size),
                        Error::Protocol(_) => self.refuse(CloseCode::Protocol),
                        _ => {}
                    }
                    return Poll::Ready(Err(broken(error)));
                }
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = self.unread.len().min(buf.remaining());
        buf.put_slice(&self.unread[..length]);
        self.unread.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WsIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.gathered.len() >= WRITE_BYTES_MAX {
            ready!(self.poll_send(cx))?;
        }
        let length = bytes.len().min(WRITE_BYTES_MAX);
        self.gathered.extend_from_slice(&bytes[..length]);
        if let Some(company) = &mut self.company {
            company.gathered(&bytes[..length]);
        }
        Poll::Ready(Ok(length))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(company) = &mut this.company
            && company.poll_leave(this.gathered.len(), cx).is_pending()
        {
            // Counts as flushed: HTTP/2 writes nothing before a flush is done, and what comes next is
            // the company that is waited for. The timer wakes the task, and that flushes anew.
            return this.poll_flush_socket(cx);
        }
        ready!(this.poll_send(cx))?;
        this.poll_flush_socket(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        ready!(self.poll_flush_socket(cx))?;
        match ready!(Pin::new(&mut self.socket).poll_close(cx)) {
            Err(Error::ConnectionClosed | Error::AlreadyClosed) | Ok(()) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(broken(error))),
        }
    }
}

#[cfg(test)]
mod tests;
