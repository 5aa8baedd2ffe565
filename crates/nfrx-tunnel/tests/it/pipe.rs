//! A duplex pipe in memory that takes its time, and can die without a word.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use nfrx_runtime::Drain;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Small, so that writers have to wait.
const BYTES: usize = 16 * 1024;

/// Pieces under way in one direction.
const UNDER_WAY_MAX: usize = 4096;

/// Two ends with `delay` each way. While `dead` says so nothing arrives, and nothing
/// fails: as on a path whose middle has gone.
pub(crate) fn pipe(
    tasks: &Drain,
    delay: Duration,
    dead: watch::Receiver<bool>,
) -> (DuplexStream, DuplexStream) {
    let ((left, left_inner), (right, right_inner)) = (duplex(BYTES), duplex(BYTES));
    let (left_read, left_write) = split(left_inner);
    let (right_read, right_write) = split(right_inner);
    tasks.spawn("there", carry(left_read, right_write, delay, dead.clone()));
    tasks.spawn("back", carry(right_read, left_write, delay, dead));
    (left, right)
}

async fn carry(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    delay: Duration,
    mut dead: watch::Receiver<bool>,
) {
    let mut under_way: VecDeque<(Instant, Bytes)> = VecDeque::new();
    let mut ended = false;
    while !(ended && under_way.is_empty()) {
        let mut piece = BytesMut::with_capacity(BYTES);
        let arrival = under_way.front().map_or_else(Instant::now, |(arrival, _)| *arrival);
        tokio::select! {
            read = from.read_buf(&mut piece), if !ended && under_way.len() < UNDER_WAY_MAX => match read {
                Ok(1..) => under_way.push_back((Instant::now() + delay, piece.freeze())),
                Ok(0) | Err(_) => ended = true,
            },
            () = sleep_until(arrival), if !under_way.is_empty() => {
                let alive = dead.wait_for(|dead| !dead).await.is_ok();
                let Some((_, piece)) = under_way.pop_front() else { continue };
                if !alive || to.write_all(&piece).await.is_err() {
                    return;
                }
            }
        }
    }
    let _ = to.shutdown().await;
}
