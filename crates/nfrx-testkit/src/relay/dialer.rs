//! How an agent under test dials: through pipes, which somebody else can break.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use nfrx_spi::{BoxFuture, Io};
use nfrx_tunnel::{Connect, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Entrance, LOCAL};
use crate::pipe::{PipeControl, PipeOptions, pipe};

/// Dials the server behind an entrance, and keeps what breaks the connections. Clones
/// share it.
#[derive(Clone)]
pub struct Dialer {
    entrance: Entrance,
    options: PipeOptions,
    carrier: Carrier,
    made: Arc<Mutex<Vec<PipeControl>>>,
}

/// What the tunnels of an agent under test carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Carrier {
    /// What agent and server agree on by themselves.
    #[default]
    H2,
    /// Protocol v1: on its way the upgrade request loses the subprotocol it asks for, as if
    /// the agent were an old one.
    V1,
}

impl Carrier {
    /// A connection on which an agent's tunnel carries this.
    pub fn over(self, io: impl Io + 'static) -> Connection {
        match self {
            Self::H2 => Box::pin(io),
            Self::V1 => Box::pin(WithoutProtocol::new(Box::pin(io) as Connection)),
        }
    }
}

impl Dialer {
    /// Dials at `entrance`, over such pipes.
    pub fn new(entrance: &Entrance, options: PipeOptions) -> Self {
        Self { entrance: entrance.clone(), options, carrier: Carrier::H2, made: Arc::default() }
    }

    /// The same for tunnels that carry this.
    pub fn carrying(self, carrier: Carrier) -> Self {
        Self { carrier, ..self }
    }

    /// The connections made so far, in their order; the server is at the right end.
    pub fn made(&self) -> Vec<PipeControl> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<PipeControl>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connect for Dialer {
    fn connect(&self) -> BoxFuture<'_, io::Result<Connection>> {
        let (ours, theirs, control) = pipe(self.options);
        let dialed = if self.entrance.enter(theirs, LOCAL, control.clone()) {
            self.lock().push(control);
            Ok(self.carrier.over(ours))
        } else {
            Err(Entrance::nobody())
        };
        Box::pin(std::future::ready(dialed))
    }
}

/// Takes the subprotocol out of the head of the first request.
struct WithoutProtocol<T> {
    inner: T,
    /// The head as far as it has come; `None` once it is through.
    head: Option<Vec<u8>>,
    unsent: Vec<u8>,
}

impl<T> WithoutProtocol<T> {
    fn new(inner: T) -> Self {
        Self { inner, head: Some(Vec::new()), unsent: Vec::new() }
    }
}

impl<T: AsyncWrite + Unpin> WithoutProtocol<T> {
    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let sent = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.unsent))?;
            self.unsent.drain(..sent);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for WithoutProtocol<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for WithoutProtocol<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_unsent(cx))?;
        let Some(head) = &mut self.head else { return Pin::new(&mut self.inner).poll_write(cx, bytes) };
        head.extend_from_slice(bytes);
        if head.ends_with(b"\r\n\r\n") {
            let text = String::from_utf8_lossy(head).into_owned();
            let lines = text.split_inclusive("\r\n");
            let kept = lines.filter(|line| !line.to_ascii_lowercase().starts_with("sec-websocket-protocol:"));
            self.unsent = kept.collect::<String>().into_bytes();
            self.head = None;
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_unsent(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_unsent(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
