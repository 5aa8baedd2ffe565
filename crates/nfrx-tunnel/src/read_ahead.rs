//! Reads from a socket in large pieces, and holds nothing while nothing comes.
//!
//! The WebSocket library keeps a buffer for each connection and fills all of it with zeros
//! before each read. With this beneath it the buffer can be small: what it does not take at
//! once is kept here until it does, and a long message still takes few system calls.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the library's own buffer has then: heartbeats and small answers fit.
pub(crate) const READ_BUFFER_BYTES: usize = 1024;

/// What is read at once. It stands on the stack, so that only what is left over costs memory.
const PIECE_BYTES: usize = 16 * 1024;

/// A socket that is read ahead.
pub(crate) struct ReadAhead<S> {
    io: S,
    ahead: Vec<u8>,
    /// How much of it was taken.
    taken: usize,
    total: u64,
}

impl<S> ReadAhead<S> {
    pub(crate) fn new(io: S) -> Self {
        Self { io, ahead: Vec::new(), taken: 0, total: 0 }
    }

    /// How many bytes have come.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.ahead.is_empty() {
            let rest = &this.ahead[this.taken..];
            let length = rest.len().min(buf.remaining());
            buf.put_slice(&rest[..length]);
            this.taken += length;
            if this.taken == this.ahead.len() {
                (this.ahead, this.taken) = (Vec::new(), 0);
            }
            return Poll::Ready(Ok(()));
        }
        let mut piece = [MaybeUninit::uninit(); PIECE_BYTES];
        let mut piece = ReadBuf::uninit(&mut piece);
        let read = Pin::new(&mut this.io).poll_read(cx, &mut piece);
        let came = piece.filled();
        this.total += came.len() as u64;
        let (now, later) = came.split_at(came.len().min(buf.remaining()));
        buf.put_slice(now);
        this.ahead = later.to_vec();
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, pieces)
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    // Seen to fail: with the rest of a piece dropped.
    #[tokio::test]
    async fn everything_comes_in_order_in_whatever_portions_it_is_read() {
        let sent: Vec<u8> = (0..50_000_u32).map(|nth| (nth % 251) as u8).collect();
        for portion in [1, 7, 1024, PIECE_BYTES - 1, PIECE_BYTES, 60_000] {
            let (ours, mut theirs) = duplex(100_000);
            theirs.write_all(&sent).await.expect("it fits");
            drop(theirs);
            let (mut io, mut read) = (ReadAhead::new(ours), Vec::new());
            let mut buffer = vec![0; portion];
            loop {
                let length = io.read(&mut buffer).await.expect("no error");
                if length == 0 {
                    break;
                }
                read.extend_from_slice(&buffer[..length]);
            }
            assert!(read == sent, "in portions of {portion}");
        }
    }

    // Seen to fail: with the buffer kept for the next burst.
    #[tokio::test]
    async fn nothing_is_held_while_nothing_comes() {
        let (ours, mut theirs) = duplex(100_000);
        let mut io = ReadAhead::new(ours);
        theirs.write_all(&[1; 10_000]).await.expect("it fits");
        let mut buffer = [0; 1000];
        for nth in 1..=10 {
            io.read_exact(&mut buffer).await.expect("they came");
            assert_eq!(io.ahead.is_empty(), nth == 10, "all was read at once");
        }
        assert_eq!(io.ahead.capacity(), 0);
    }
}
