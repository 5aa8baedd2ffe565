//! One direction of a line.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until};

/// What enters a line at once at most: what a packet of Ethernet carries of TCP.
pub(crate) const PACKET_BYTES: usize = 1_448;

/// What a direction of a line is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    /// From its begin to its end, one way.
    pub(crate) delay: Duration,
    pub(crate) bytes_per_second: u64,
    /// How long what enters may have to wait for its turn. While it would be longer nothing
    /// enters: nothing is lost.
    pub(crate) queue: Duration,
}

/// What is on its way. Nothing overtakes.
struct Transit {
    line: Line,
    /// When the last packet will have left for the other end.
    free: Instant,
    /// When each packet is there.
    packets: VecDeque<(Instant, Bytes)>,
}

impl Transit {
    fn new(line: Line) -> Self {
        Self { line, free: Instant::now(), packets: VecDeque::new() }
    }

    /// When a packet may enter.
    fn room(&self) -> Instant {
        self.free.checked_sub(self.line.queue).unwrap_or(self.free)
    }

    fn enter(&mut self, now: Instant, packet: Bytes) {
        let takes = packet.len() as f64 / self.line.bytes_per_second as f64;
        self.free = self.free.max(now) + Duration::from_secs_f64(takes);
        self.packets.push_back((self.free + self.line.delay, packet));
    }

    /// When the next packet is there.
    fn arrival(&self) -> Option<Instant> {
        self.packets.front().map(|(arrival, _)| *arrival)
    }
}

/// Carries what is read until there is no more, or nobody takes it, and counts it in `entered`.
///
/// While the other end takes nothing, nothing enters either: so no more is held than the line
/// carries in its delay and its queue, and one packet.
pub(super) async fn carry(
    line: Line,
    mut from: impl AsyncRead + Unpin,
    to: &mut (impl AsyncWrite + Unpin),
    entered: &AtomicU64,
) {
    let mut transit = Transit::new(line);
    let mut packet = BytesMut::new();
    let mut ended = false;
    while !ended || transit.arrival().is_some() {
        packet.reserve(PACKET_BYTES);
        let mut free = (&mut packet).limit(PACKET_BYTES);
        let now = Instant::now();
        let (room, arrival) = (transit.room(), transit.arrival());
        tokio::select! {
            biased;
            () = sleep_until(arrival.unwrap_or(now)), if arrival.is_some() => {
                let Some((_, packet)) = transit.packets.pop_front() else { continue };
                if to.write_all(&packet).await.is_err() {
                    return;
                }
            }
            () = sleep_until(room), if !ended && room > now => {}
            read = from.read_buf(&mut free), if !ended && room <= now => match read {
                Ok(length @ 1..) => {
                    entered.fetch_add(length as u64, Ordering::Relaxed);
                    transit.enter(Instant::now(), packet.split().freeze());
                }
                Ok(0) | Err(_) => ended = true,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::{Instant, sleep, sleep_until};

    use super::{Line, PACKET_BYTES, carry};

    const MS: Duration = Duration::from_millis(1);
    /// A packet takes 10 ms.
    const LINE: Line = Line {
        delay: Duration::from_millis(100),
        bytes_per_second: 144_800,
        queue: Duration::from_millis(50),
    };

    /// Lets `sender` write into a line and gives what comes out of it: when, and what.
    async fn sent<F: Future<Output = ()>>(sender: impl FnOnce(DuplexStream) -> F) -> Vec<(u64, Vec<u8>)> {
        let start = Instant::now();
        let ((near, from), (mut to, mut far)) = (duplex(1 << 20), duplex(1 << 20));
        let entered = AtomicU64::new(0);
        let line = async {
            carry(LINE, from, &mut to, &entered).await;
            drop(to);
        };
        let mut seen = Vec::new();
        let reader = async {
            let mut bytes = vec![0; PACKET_BYTES];
            while let Ok(length @ 1..) = far.read(&mut bytes).await {
                seen.push((start.elapsed().as_millis() as u64, bytes[..length].to_vec()));
            }
        };
        tokio::join!(sender(near), line, reader);
        let bytes: usize = seen.iter().map(|(_, bytes)| bytes.len()).sum();
        assert_eq!(entered.load(Ordering::Relaxed), bytes as u64);
        seen
    }

    #[tokio::test(start_paused = true)]
    async fn what_enters_is_there_after_the_delay_and_in_its_order() {
        let seen = sent(async |mut near| {
            for piece in [b"first", b"then ", b"last "] {
                near.write_all(piece).await.unwrap();
                sleep(30 * MS).await;
            }
        });
        let seen = seen.await;
        let pieces: Vec<_> = seen.iter().map(|(_, bytes)| bytes.as_slice()).collect();
        // Seen to fail: with each packet put before the others, and without the delay.
        assert_eq!(pieces, [b"first", b"then ", b"last "]);
        // A fraction of a millisecond is a piece's own, and timers have whole ones.
        assert_eq!(seen.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [101, 131, 161]);
    }

    #[tokio::test(start_paused = true)]
    async fn packets_come_at_the_rate_and_pauses_are_not_made_up_for() {
        let seen = sent(async |mut near| {
            near.write_all(&vec![1; 10 * PACKET_BYTES]).await.unwrap();
            sleep(Duration::from_secs(1)).await;
            near.write_all(&vec![2; 3 * PACKET_BYTES]).await.unwrap();
        });
        let times: Vec<_> = seen.await.iter().map(|(at, _)| *at).collect();
        let expected = [(1..=10).map(|turn| 100 + 10 * turn).collect(), vec![1_110, 1_120, 1_130]].concat();
        // Seen to fail: with `now` instead of the later of `now` and `free`, and with `free` alone.
        assert_eq!(times, expected);
    }

    /// How many packets have entered after so many milliseconds, when more are there than ever
    /// enter, and the other end takes `takes` bytes.
    async fn entered_after(takes: usize, times_ms: &[u64]) -> Vec<u64> {
        let ((mut near, from), (mut to, _far)) = (duplex(1 << 20), duplex(takes));
        near.write_all(&vec![1; 1 << 20]).await.unwrap();
        let (start, entered) = (Instant::now(), AtomicU64::new(0));
        let mut seen = Vec::new();
        let watch = async {
            for ms in times_ms {
                sleep_until(start + MS * u32::try_from(*ms).unwrap()).await;
                seen.push(entered.load(Ordering::Relaxed) / PACKET_BYTES as u64);
            }
        };
        tokio::select! {
            () = carry(LINE, from, &mut to, &entered) => unreachable!("nobody hung up"),
            () = watch => {}
        }
        seen
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_lets_in_what_fits_and_then_as_much_as_leaves() {
        // Five fill the queue; one more enters while the first has not left. Seen to fail: without a
        // queue, and with one that has no end.
        assert_eq!(entered_after(1 << 20, &[5, 105, 305]).await, [6, 16, 36]);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_enters_while_nobody_takes_what_is_there() {
        // The first packet is there after 110 ms; after that nothing moves. Seen to fail: with a
        // queue that has no end.
        assert_eq!(entered_after(1, &[109, 1_000, 60_000]).await, [16, 16, 16]);
    }
}
