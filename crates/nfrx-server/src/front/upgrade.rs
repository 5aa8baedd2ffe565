//! Connections that a handler takes over: the raw stream, without HTTP in between.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade::downcast;
use nfrx_spi::{Io, Upgrade};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::door::{Guarded, Permit};

/// Takes the right to a connection out of its request.
pub(crate) type TakeUpgrade<B> = fn(&mut Request<B>) -> Upgrade;

/// [`TakeUpgrade`] for connections that run on a `T`.
pub(crate) fn take_upgrade<T>(request: &mut Request<Incoming>) -> Upgrade
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let upgraded = hyper::upgrade::on(request);
    Upgrade::new(Box::pin(async move {
        let upgraded = upgraded.await.map_err(io::Error::other)?;
        let stream: Pin<Box<dyn Io>> = match downcast::<TokioIo<Guarded<T>>>(upgraded) {
            Ok(parts) => {
                let (io, permit) = parts.io.into_inner().into_parts();
                // A copy: the buffer that it is a part of has 16 KiB, even where nothing is left.
                let ahead = Bytes::copy_from_slice(&parts.read_buf);
                Box::pin(Raw { io, ahead, _permit: permit })
            }
            Err(upgraded) => Box::pin(TokioIo::new(upgraded)),
        };
        Ok(stream)
    }))
}

/// A stream with the bytes that were read ahead of the upgrade. It still counts as one
/// of the server's connections.
struct Raw<T> {
    io: T,
    ahead: Bytes,
    _permit: Permit,
}

impl<T: AsyncRead + Unpin> AsyncRead for Raw<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let length = self.ahead.len().min(buf.remaining());
        buf.put_slice(&self.ahead[..length]);
        self.ahead.advance(length);
        if self.ahead.is_empty() {
            // The buffer it came from can go.
            self.ahead = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Raw<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
