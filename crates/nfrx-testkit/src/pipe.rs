//! A duplex byte pipe in memory with the faults of a network: delay, a slow link, a
//! stall, a cut. Its time is tokio's, so a paused clock pauses it.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// What a pipe is like, in each direction.
#[derive(Debug, Clone, Copy)]
pub struct PipeOptions {
    /// How long each byte is under way.
    pub delay: Duration,
    /// How many bytes pass in a second; `None` for no limit.
    pub bytes_per_second: Option<u64>,
    /// How many bytes may be under way or unread before a writer waits.
    pub capacity: usize,
}

impl Default for PipeOptions {
    fn default() -> Self {
        Self { delay: Duration::ZERO, bytes_per_second: None, capacity: 64 * 1024 }
    }
}

/// One end of a pipe. Dropping it ends both directions, as closing a socket does.
#[derive(Debug)]
pub struct PipeEnd {
    incoming: Arc<Lane>,
    outgoing: Arc<Lane>,
    arrival: Option<Pin<Box<Sleep>>>,
}

/// Breaks a pipe from outside.
#[derive(Debug, Clone)]
pub struct PipeControl {
    lanes: [Arc<Lane>; 2],
}

#[derive(Debug)]
struct Lane(Mutex<LaneState>);

#[derive(Debug)]
struct LaneState {
    options: PipeOptions,
    /// Bytes with the moment at which they arrive.
    under_way: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    /// Bytes written since the pipe was made.
    written: u64,
    /// When the link has sent what it was given.
    link_free: Instant,
    closed: bool,
    /// The reader gets an error.
    cut_reader: bool,
    /// The writer gets an error.
    cut_writer: bool,
    /// What is written vanishes.
    swallows: bool,
    stalled: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Makes a pipe; must be called inside a tokio runtime.
pub fn pipe(options: PipeOptions) -> (PipeEnd, PipeEnd, PipeControl) {
    let lane = || {
        Arc::new(Lane(Mutex::new(LaneState {
            options,
            under_way: VecDeque::new(),
            bytes: 0,
            written: 0,
            link_free: Instant::now(),
            closed: false,
            cut_reader: false,
            cut_writer: false,
            swallows: false,
            stalled: false,
            reader: None,
            writer: None,
        })))
    };
    let (there, back) = (lane(), lane());
    let left = PipeEnd { incoming: Arc::clone(&back), outgoing: Arc::clone(&there), arrival: None };
    let right = PipeEnd { incoming: Arc::clone(&there), outgoing: Arc::clone(&back), arrival: None };
    (left, right, PipeControl { lanes: [there, back] })
}

impl PipeControl {
    /// Breaks the pipe: both ends get an error, what is under way is lost.
    pub fn cut(&self) {
        self.change(|lane| {
            (lane.cut_reader, lane.cut_writer) = (true, true);
            lane.under_way.clear();
        });
    }

    /// The left end breaks and the right end learns nothing of it: nothing arrives there
    /// any more, and what it writes vanishes. As when a machine gets another address.
    pub fn lose_left(&self) {
        let [to_right, to_left] = &self.lanes;
        let mut lane = to_right.lock();
        (lane.cut_writer, lane.stalled) = (true, true);
        lane.wake_both();
        drop(lane);
        let mut lane = to_left.lock();
        (lane.cut_reader, lane.swallows) = (true, true);
        lane.wake_both();
    }

    /// Swallows time: nothing arrives any more, nothing fails. As a dead path does.
    pub fn stall(&self) {
        self.change(|lane| lane.stalled = true);
    }

    /// Ends a stall; what was under way arrives.
    pub fn resume(&self) {
        self.change(|lane| lane.stalled = false);
    }

    /// Bytes written so far at the left end.
    pub fn written_left(&self) -> u64 {
        self.lanes[0].lock().written
    }

    /// Bytes written so far at the right end.
    pub fn written_right(&self) -> u64 {
        self.lanes[1].lock().written
    }

    fn change(&self, change: impl Fn(&mut LaneState)) {
        for lane in &self.lanes {
            let mut lane = lane.lock();
            change(&mut lane);
            lane.wake_both();
        }
    }
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, LaneState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        let mut lane = self.lock();
        lane.closed = true;
        lane.wake_both();
    }
}

impl LaneState {
    fn wake_both(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }

    /// When bytes written now will arrive.
    fn arrival_of(&mut self, length: usize) -> Instant {
        let start = self.link_free.max(Instant::now());
        let sending = match self.options.bytes_per_second {
            Some(rate) => Duration::from_secs_f64(length as f64 / rate as f64),
            None => Duration::ZERO,
        };
        self.link_free = start + sending;
        self.link_free + self.options.delay
    }
}

impl AsyncRead for PipeEnd {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let incoming = Arc::clone(&self.incoming);
        let mut lane = incoming.lock();
        if lane.cut_reader {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        lane.reader = Some(cx.waker().clone());
        if lane.stalled {
            return Poll::Pending;
        }
        let mut now = Instant::now();
        let Some(arrival) = lane.under_way.front().map(|(arrival, _)| *arrival) else {
            return if lane.closed { Poll::Ready(Ok(())) } else { Poll::Pending };
        };
        if arrival > now {
            let sleep = self.arrival.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(arrival)));
            sleep.as_mut().reset(arrival);
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            now = arrival;
        }
        while buf.remaining() > 0 {
            let Some((_, bytes)) = lane.under_way.front_mut().filter(|(arrival, _)| *arrival <= now) else {
                break;
            };
            let length = bytes.len().min(buf.remaining());
            buf.put_slice(&bytes[..length]);
            bytes.advance(length);
            if bytes.is_empty() {
                lane.under_way.pop_front();
            }
            lane.bytes -= length;
        }
        if let Some(writer) = lane.writer.take() {
            writer.wake();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for PipeEnd {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut lane = self.outgoing.lock();
        if lane.swallows {
            return Poll::Ready(Ok(buf.len()));
        }
        if lane.cut_writer || lane.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = lane.options.capacity.saturating_sub(lane.bytes);
        if room == 0 {
            lane.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let length = buf.len().min(room);
        let arrival = lane.arrival_of(length);
        lane.under_way.push_back((arrival, Bytes::copy_from_slice(&buf[..length])));
        lane.bytes += length;
        lane.written += length as u64;
        if let Some(reader) = lane.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.close();
        Poll::Ready(Ok(()))
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        self.outgoing.close();
        self.incoming.close();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_arrive_after_the_delay_and_no_sooner() {
        let options = PipeOptions { delay: Duration::from_millis(25), ..PipeOptions::default() };
        let (mut left, mut right, _) = pipe(options);
        let start = Instant::now();
        left.write_all(b"hello").await.expect("the pipe stands");
        let mut read = [0; 5];
        right.read_exact(&mut read).await.expect("the pipe stands");
        assert_eq!((&read, start.elapsed().as_millis()), (b"hello", 25));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_link_takes_its_time() {
        let options = PipeOptions { bytes_per_second: Some(1000), ..PipeOptions::default() };
        let (mut left, mut right, _) = pipe(options);
        let start = Instant::now();
        left.write_all(&[7; 2000]).await.expect("the pipe stands");
        right.read_exact(&mut [0; 2000]).await.expect("the pipe stands");
        assert_eq!(start.elapsed().as_millis(), 2000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_pipe_holds_its_writer_until_somebody_reads() {
        let (mut left, mut right, _) = pipe(PipeOptions { capacity: 4, ..PipeOptions::default() });
        let (written, read) = tokio::join!(left.write_all(&[1; 64]), async {
            right.read_exact(&mut [0; 64]).await.map(|_| ())
        });
        assert!(written.is_ok() && read.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_cut_fails_both_ends_and_a_drop_ends_the_other() {
        let (mut left, mut right, control) = pipe(PipeOptions::default());
        control.cut();
        assert!(left.write_all(b"x").await.is_err());
        assert!(right.read(&mut [0; 1]).await.is_err());
        let (left, mut right, _) = pipe(PipeOptions::default());
        drop(left);
        assert_eq!(right.read(&mut [0; 1]).await.expect("a clean end"), 0);
    }

    // Seen to fail: without the look at `swallows`.
    #[tokio::test(start_paused = true)]
    async fn a_lost_left_end_is_no_news_at_the_right() {
        let (mut left, mut right, control) = pipe(PipeOptions { capacity: 4, ..PipeOptions::default() });
        control.lose_left();
        assert!(left.write_all(b"x").await.is_err());
        drop(left);
        right.write_all(&[1; 64]).await.expect("nobody told");
        let silent = tokio::time::timeout(Duration::from_secs(60), right.read(&mut [0; 1])).await;
        assert!(silent.is_err(), "nothing arrives");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_loses_nothing() {
        let (mut left, mut right, control) = pipe(PipeOptions::default());
        control.stall();
        left.write_all(b"late").await.expect("a dead path takes bytes");
        let mut read = [0; 4];
        let silent = tokio::time::timeout(Duration::from_secs(60), right.read_exact(&mut read)).await;
        assert!(silent.is_err(), "nothing arrives during a stall");
        control.resume();
        right.read_exact(&mut read).await.expect("the pipe stands");
        assert_eq!(&read, b"late");
    }
}
