//! A connection that an agent keeps with a named key: it holds its place among the key's
//! connections, and is cut some time after the key was revoked, whatever a plugin does.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use nfrx_spi::{BoxFuture, Io, Revocation, Upgrade};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::gate::Place;

/// How long the plugin has to say goodbye.
const GOODBYE_MAX: Duration = Duration::from_secs(5);

/// The same right to a connection, for a place of a key.
pub(super) fn kept(upgrade: Upgrade, place: Place, revocation: Revocation) -> Upgrade {
    Upgrade::new(Box::pin(async move {
        let io = upgrade.stream().await?;
        let late = Box::pin(async move {
            revocation.happened().await;
            tokio::time::sleep(GOODBYE_MAX).await;
        });
        Ok(Box::pin(Kept { io, late, is_late: false, _place: place }) as Pin<Box<dyn Io>>)
    }))
}

struct Kept {
    io: Pin<Box<dyn Io>>,
    late: BoxFuture<'static, ()>,
    is_late: bool,
    _place: Place,
}

impl AsyncRead for Kept {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.is_late {
            this.is_late = this.late.as_mut().poll(cx).is_ready();
        }
        if this.is_late {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "its key was revoked")));
        }
        this.io.as_mut().poll_read(cx, buf)
    }
}

impl AsyncWrite for Kept {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.io.as_mut().poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io.as_mut().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_shutdown(cx)
    }
}
