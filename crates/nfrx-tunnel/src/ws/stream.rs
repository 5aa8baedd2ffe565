//! The two faces of a connection: [`WsIo`] for HTTP/2, [`WsHandle`] for the task that owns
//! both.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use nfrx_spi::Io;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frame::{Decoder, PONG, Seen};
use super::outbox::Outbox;
use super::{CloseFrame, Role};
use crate::limits::UNSENT_BYTES_MAX;

/// The connection as HTTP/2 reads and writes it.
#[derive(Debug)]
pub(crate) struct WsIo(Arc<Mutex<Connection>>);

/// The connection as its owner sees it. It must be polled by the same task as [`WsIo`].
#[derive(Debug)]
pub(crate) struct WsHandle(Arc<Mutex<Connection>>);

struct Connection {
    io: Pin<Box<dyn Io>>,
    /// Bytes that were read together with the head of the upgrade.
    ahead: Bytes,
    decoder: Decoder,
    outbox: Outbox,
    received: u64,
    /// The owner sends, once a turn; HTTP/2's flushes are only noted.
    corked: bool,
    close: CloseFrame,
    close_queued: bool,
    ended: bool,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("received", &self.received).finish_non_exhaustive()
    }
}

/// Wraps a connection whose upgrade is done; `ahead` is what was read with it.
pub(crate) fn pair(io: Pin<Box<dyn Io>>, role: Role, ahead: Bytes) -> (WsIo, WsHandle) {
    let connection = Arc::new(Mutex::new(Connection {
        io,
        ahead,
        decoder: Decoder::new(role),
        outbox: Outbox::new(role),
        received: 0,
        corked: false,
        close: CloseFrame { code: CloseFrame::NORMAL, reason: "" },
        close_queued: false,
        ended: false,
    }));
    (WsIo(Arc::clone(&connection)), WsHandle(connection))
}

fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

impl WsHandle {
    /// From here on the owner sends, by [`WsHandle::poll_send`] at the end of each turn.
    pub(crate) fn cork(&self) {
        lock(&self.0).corked = true;
    }

    /// Sends what was written. Ready when all of it is with the system.
    pub(crate) fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).poll_send(cx)
    }

    /// Bytes that came so far: more of them is a sign of life.
    pub(crate) fn received(&self) -> u64 {
        lock(&self.0).received
    }

    /// What the peer is told when the connection ends, unless it was told already.
    pub(crate) fn set_close(&self, code: u16, reason: &'static str) {
        lock(&self.0).close = CloseFrame { code, reason };
    }

    /// Says the last word and ends this direction.
    pub(crate) fn poll_close(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).poll_close(cx)
    }

    /// Gives back buffers that are not in use.
    pub(crate) fn relax(&self) {
        lock(&self.0).outbox.relax();
    }
}

impl Connection {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.outbox.unsent() > 0 {
            let count = ready!(self.io.as_mut().poll_write(cx, self.outbox.to_send()))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outbox.advance(count);
        }
        self.io.as_mut().poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.queue_close();
        ready!(self.poll_send(cx))?;
        self.io.as_mut().poll_shutdown(cx)
    }

    fn queue_close(&mut self) {
        if !self.close_queued {
            self.close_queued = true;
            self.outbox.close(self.close);
        }
    }

    /// Reads bytes of the connection into `buf` and leaves what they carry. Says whether
    /// there was anything, be it the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        let before = buf.filled().len();
        if self.ahead.is_empty() {
            ready!(self.io.as_mut().poll_read(cx, buf))?;
        } else {
            let length = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead[..length]);
            self.ahead.advance(length);
        }
        let came = buf.filled().len() - before;
        self.received += came as u64;
        self.ended = came == 0;
        let mut seen = Seen::default();
        let kept = self.decoder.decode(&mut buf.filled_mut()[before..], &mut seen).inspect_err(|error| {
            self.close = error.close();
            self.ended = true;
        })?;
        buf.set_filled(before + kept);
        if let Some(ping) =
            seen.ping.filter(|_| self.outbox.unsent() < UNSENT_BYTES_MAX && !self.close_queued)
        {
            self.outbox.control(PONG, &ping);
        }
        if seen.close {
            self.ended = true;
            self.queue_close();
        }
        Poll::Ready(Ok(kept > 0 || self.ended))
    }
}

impl AsyncRead for WsIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut connection = lock(&self.0);
        if connection.ended || buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        while !ready!(connection.poll_fill(cx, buf))? {}
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WsIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let mut connection = lock(&self.0);
        if connection.close_queued {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if connection.outbox.unsent() >= UNSENT_BYTES_MAX {
            if let Poll::Ready(Err(error)) = connection.poll_send(cx) {
                return Poll::Ready(Err(error));
            }
            if connection.outbox.unsent() >= UNSENT_BYTES_MAX {
                return Poll::Pending;
            }
        }
        let length = data.len().min(UNSENT_BYTES_MAX - connection.outbox.unsent());
        connection.outbox.push(&data[..length]);
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut connection = lock(&self.0);
        if connection.corked { Poll::Ready(Ok(())) } else { connection.poll_send(cx) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).poll_close(cx)
    }
}
