//! WebSocket messages of text, in two lanes: what must not wait goes before data.
//!
//! Driven by one task through [`Socket::poll_send`] and [`Socket::poll_hear`]; nothing here
//! waits for a peer that takes nothing while there is something to hear from it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::{Sink, Stream};
use nfrx_runtime::frames::FrameMeter;
use nfrx_spi::Io;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::MESSAGE_BYTES_MAX;
use crate::counters::{FLOOD, MESSAGE_BYTES};
use crate::limits::FRAMES;
use crate::read_ahead::{READ_BUFFER_BYTES, ReadAhead};

/// How long the goodbye may take to leave.
const GOODBYE: Duration = Duration::from_secs(1);

/// A WebSocket whose upgrade is done.
pub struct Socket {
    inner: WebSocketStream<ReadAhead<Pin<Box<dyn Io>>>>,
    urgent: VecDeque<Utf8Bytes>,
    unflushed: bool,
    frames: FrameMeter,
}

/// What a peer said.
#[derive(Debug)]
pub enum Heard {
    /// A message.
    Text(Utf8Bytes),
    /// A sign of life.
    Beat,
    /// It closed, maybe with a code and a reason.
    Closed(Option<(u16, String)>),
    /// It was over a bound, and was told so.
    Refused {
        /// The bound, for metrics.
        reason: &'static str,
        /// For our own log.
        problem: String,
    },
    /// The connection broke; the text is for our own log.
    Broken(String),
}

impl Socket {
    pub(super) async fn new(io: Pin<Box<dyn Io>>, role: Role, message_bytes_max: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(message_bytes_max))
            .max_frame_size(Some(message_bytes_max));
        let io = ReadAhead::new(io);
        let inner = WebSocketStream::from_raw_socket(io, role, Some(config)).await;
        Self { inner, urgent: VecDeque::new(), unflushed: false, frames: FrameMeter::new(FRAMES) }
    }

    /// The server's end.
    pub(super) async fn server(io: Pin<Box<dyn Io>>) -> Self {
        Self::new(io, Role::Server, MESSAGE_BYTES_MAX).await
    }

    /// The server's end of a plugin's own protocol, whose messages have at most so many bytes.
    pub async fn of_server(io: Pin<Box<dyn Io>>, message_bytes_max: usize) -> Self {
        Self::new(io, Role::Server, message_bytes_max).await
    }

    /// The agent's end of the same.
    pub async fn of_agent(io: Pin<Box<dyn Io>>, message_bytes_max: usize) -> Self {
        Self::new(io, Role::Client, message_bytes_max).await
    }

    /// Sends what was said, as far as the peer takes it, and gives the next thing that the
    /// peer says.
    pub fn poll_talk(&mut self, cx: &mut Context<'_>) -> Poll<Heard> {
        if self.poll_send(cx, |_| None).is_ready() {
            return Poll::Ready(Heard::Broken("the connection broke".to_owned()));
        }
        self.poll_hear(cx)
    }

    /// Says something that goes before all data. Nothing bounds it but who says it.
    pub fn say(&mut self, text: String) {
        self.urgent.push_back(text.into());
    }

    /// How much waits in the lane of what must not wait.
    pub fn urgent_len(&self) -> usize {
        self.urgent.len()
    }

    /// Sends what is to be said, then data for as long as `next` gives some and the peer
    /// takes it. `Ready` only when the connection is over.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        mut next: impl FnMut(&mut Context<'_>) -> Option<String>,
    ) -> Poll<()> {
        loop {
            match Pin::new(&mut self.inner).poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
            let Some(text) = self.urgent.pop_front().or_else(|| next(cx).map(Utf8Bytes::from)) else { break };
            self.unflushed = true;
            self.frames.sent(text.len());
            if Pin::new(&mut self.inner).start_send(Message::Text(text)).is_err() {
                return Poll::Ready(());
            }
        }
        if self.unflushed {
            if ready!(Pin::new(&mut self.inner).poll_flush(cx)).is_err() {
                return Poll::Ready(());
            }
            self.unflushed = false;
        }
        Poll::Pending
    }

    /// The message that was heard last is what was asked for: it costs its sender nothing of
    /// what it may say unasked.
    pub(super) fn was_asked_for(&mut self) {
        self.frames.refund();
    }

    /// The next thing that the peer says. What we send it pays for what it says; who says far
    /// more is refused.
    pub(super) fn poll_hear(&mut self, cx: &mut Context<'_>) -> Poll<Heard> {
        let heard = ready!(self.poll_said(cx));
        let is_message = matches!(heard, Heard::Text(_) | Heard::Beat);
        Poll::Ready(match is_message.then(|| self.frames.charge()) {
            Some(Err(flooded)) => {
                self.start_close(1008, "flood");
                Heard::Refused { reason: FLOOD, problem: flooded.to_string() }
            }
            _ => heard,
        })
    }

    fn poll_said(&mut self, cx: &mut Context<'_>) -> Poll<Heard> {
        Poll::Ready(match ready!(Pin::new(&mut self.inner).poll_next(cx)) {
            Some(Ok(Message::Text(text))) => Heard::Text(text),
            // Peers may send the same in binary messages (worker protocol §2).
            Some(Ok(Message::Binary(bytes))) => match Utf8Bytes::try_from(bytes) {
                Ok(text) => Heard::Text(text),
                Err(_) => Heard::Broken("a message is no text".to_owned()),
            },
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {
                // The library has an answer to a ping ready, which leaves with a flush.
                self.unflushed = true;
                Heard::Beat
            }
            Some(Ok(Message::Close(frame))) => {
                Heard::Closed(frame.map(|frame| (frame.code.into(), frame.reason.to_string())))
            }
            Some(Err(Error::Capacity(error))) => {
                self.start_close(1009, "");
                Heard::Refused { reason: MESSAGE_BYTES, problem: error.to_string() }
            }
            Some(Err(error)) => Heard::Broken(error.to_string()),
            None => Heard::Closed(None),
        })
    }

    /// How many bytes the peer has sent: of a long message on a slow line they are the only
    /// sign of life for a while.
    pub(super) fn bytes_heard(&self) -> u64 {
        self.inner.get_ref().total()
    }

    /// Asks for a pong.
    pub(super) fn ping(&mut self) {
        // What can't be sent now is asked again with the next beat.
        if Pin::new(&mut self.inner).start_send(Message::Ping(Vec::new().into())).is_ok() {
            self.unflushed = true;
        }
    }

    fn start_close(&mut self, code: u16, reason: &str) {
        // A close frame has room for 123 bytes.
        let reason: String = reason.chars().take(120).collect();
        let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
        let _ = Pin::new(&mut self.inner).start_send(Message::Close(Some(frame)));
    }

    /// Closes with a code and a reason, and waits a moment for the peer to say the same.
    pub async fn close(mut self, code: u16, reason: &str) {
        let closing = async {
            // What is half written goes first.
            let ready = std::future::poll_fn(|cx| Pin::new(&mut self.inner).poll_ready(cx)).await;
            if ready.is_err() {
                return;
            }
            self.start_close(code, reason);
            if std::future::poll_fn(|cx| Pin::new(&mut self.inner).poll_flush(cx)).await.is_err() {
                return;
            }
            while let Heard::Text(_) | Heard::Beat = std::future::poll_fn(|cx| self.poll_hear(cx)).await {}
        };
        let _ = tokio::time::timeout(GOODBYE, closing).await;
    }
}
