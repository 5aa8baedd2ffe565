//! A connection that goes wrong at a byte that was drawn: it breaks, stands still, falls
//! silent, or goes on in crumbs.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::{Dice, Tally};

/// What is read at once.
const READ_BYTES: usize = 16 * 1024;

/// How a connection goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamFault {
    /// It breaks, for both directions.
    Cut,
    /// Nothing passes for so long, then it goes on.
    Stall(Duration),
    /// Nothing passes any more, and nobody is told.
    Dead,
    /// From here on at most so many bytes pass at once.
    Crumbs(usize),
}

impl StreamFault {
    /// Any of them, in the share of one dead connection to five cut ones.
    pub fn draw(dice: &mut Dice) -> Self {
        match dice.within(0..12) {
            0..5 => Self::Cut,
            5..9 => Self::Stall(dice.millis(10..2_000)),
            9 => Self::Dead,
            _ => Self::Crumbs(dice.within(1..64) as usize),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Cut => "connection cut",
            Self::Stall(_) => "connection stalled",
            Self::Dead => "connection dead",
            Self::Crumbs(_) => "connection in crumbs",
        }
    }
}

/// A stream with a fault ahead.
pub struct FaultyStream<T> {
    io: T,
    fault: Option<StreamFault>,
    /// Bytes that still pass before it happens, in both directions together.
    bytes_left: u64,
    state: State,
    tally: Tally,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

enum State {
    Sound,
    Crumbs(usize),
    Stalled { until: Instant, reader: Option<Pin<Box<Sleep>>>, writer: Option<Pin<Box<Sleep>>> },
    Dead,
    Cut,
}

impl<T> FaultyStream<T> {
    /// `fault` happens once `after` bytes have passed.
    pub fn new(io: T, fault: Option<StreamFault>, after: u64, tally: Tally) -> Self {
        let (state, reader, writer) = (State::Sound, None, None);
        Self { io, fault, bytes_left: after, state, tally, reader, writer }
    }

    /// Lets the fault happen when its byte has come.
    fn check(&mut self) {
        if self.bytes_left > 0 {
            return;
        }
        let Some(fault) = self.fault.take() else { return };
        self.tally.add(fault.name());
        self.state = match fault {
            StreamFault::Cut => State::Cut,
            StreamFault::Dead => State::Dead,
            StreamFault::Crumbs(bytes) => State::Crumbs(bytes.max(1)),
            StreamFault::Stall(span) => {
                State::Stalled { until: Instant::now() + span, reader: None, writer: None }
            }
        };
        self.wake();
    }

    /// Both directions look again.
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }

    /// `Ready` with the number of bytes that may pass now.
    fn poll_room(&mut self, cx: &mut Context<'_>, reads: bool) -> Poll<io::Result<usize>> {
        self.check();
        let noted = if reads { &mut self.reader } else { &mut self.writer };
        *noted = Some(cx.waker().clone());
        if let State::Stalled { until, reader, writer } = &mut self.state {
            let sleep = if reads { reader } else { writer };
            let sleep = sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(*until)));
            ready!(sleep.as_mut().poll(cx));
            self.state = State::Sound;
            self.wake();
        }
        match self.state {
            State::Cut => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            State::Dead | State::Stalled { .. } => Poll::Pending,
            State::Crumbs(bytes) => Poll::Ready(Ok(bytes)),
            State::Sound if self.fault.is_none() => Poll::Ready(Ok(usize::MAX)),
            State::Sound => Poll::Ready(Ok(usize::try_from(self.bytes_left).unwrap_or(usize::MAX))),
        }
    }

    fn passed(&mut self, bytes: usize) {
        self.bytes_left = self.bytes_left.saturating_sub(bytes as u64);
        self.check();
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for FaultyStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = ready!(self.poll_room(cx, true))?.min(buf.remaining()).min(READ_BYTES);
        let mut bytes = [0; READ_BYTES];
        let mut part = ReadBuf::new(&mut bytes[..room]);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut part))?;
        buf.put_slice(part.filled());
        self.passed(part.filled().len());
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for FaultyStream<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let room = ready!(self.poll_room(cx, false))?.min(buf.len());
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, &buf[..room]))?;
        self.passed(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.state {
            // Nobody is told.
            State::Dead | State::Cut => Poll::Ready(Ok(())),
            _ => Pin::new(&mut self.io).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn faulty(
        fault: StreamFault,
        after: u64,
    ) -> (FaultyStream<tokio::io::DuplexStream>, tokio::io::DuplexStream) {
        let (near, far) = duplex(1024);
        (FaultyStream::new(near, Some(fault), after, Tally::default()), far)
    }

    // Seen to fail: when the room is not bounded by the bytes that are left.
    #[tokio::test(start_paused = true)]
    async fn a_connection_is_cut_at_its_very_byte_in_whatever_direction() {
        let (mut near, mut far) = faulty(StreamFault::Cut, 7);
        far.write_all(b"abc").await.expect("it stands");
        let mut read = [0; 3];
        near.read_exact(&mut read).await.expect("it stands");
        assert!(near.write_all(b"defghi").await.is_err());
        assert!(near.read(&mut read).await.is_err());
        assert_eq!(near.tally.counts()["connection cut"], 1);
        drop(near);
        let mut came = Vec::new();
        far.read_to_end(&mut came).await.expect("an end");
        assert_eq!(came, b"defg");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_ends_and_loses_nothing() {
        let (mut near, mut far) = faulty(StreamFault::Stall(Duration::from_secs(3)), 2);
        let start = Instant::now();
        near.write_all(b"late").await.expect("it goes on");
        let mut read = [0; 4];
        far.read_exact(&mut read).await.expect("it goes on");
        assert_eq!((&read, start.elapsed().as_secs()), (b"late", 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_waits_learns_of_a_cut_that_a_writer_met() {
        let (near, _far) = faulty(StreamFault::Cut, 2);
        let (mut reads, mut writes) = tokio::io::split(near);
        let mut byte = [0; 1];
        // Seen to fail: without the wake.
        let (read, written) = tokio::join!(reads.read(&mut byte), writes.write_all(b"abc"));
        assert!(read.is_err() && written.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_connection_says_nothing() {
        let (mut near, _far) = faulty(StreamFault::Dead, 0);
        let read = tokio::time::timeout(Duration::from_secs(60), near.read_u8()).await;
        assert!(read.is_err(), "nothing comes, and no error either");
    }
}
