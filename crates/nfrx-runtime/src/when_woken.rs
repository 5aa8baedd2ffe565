//! A wait beside something busy.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::stream::{FuturesUnordered, StreamExt as _};

/// A future that is polled only when something has woken it, however often its task is.
///
/// For timers and channels beside a connection, of which nearly all wakes are the
/// connection's: to ask them each time touches memory that the work has no use for, some of
/// it shared by all tasks.
pub struct WhenWoken<F>(FuturesUnordered<Pin<Box<F>>>);

impl<F: Future> WhenWoken<F> {
    /// Polls it once to begin with.
    pub fn new(future: F) -> Self {
        Self(std::iter::once(Box::pin(future)).collect())
    }
}

/// Pending for ever once it was ready.
impl<F: Future> Future for WhenWoken<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match ready!(self.0.poll_next_unpin(cx)) {
            Some(output) => Poll::Ready(output),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::sync::oneshot;

    use super::*;

    // Seen to fail: with the future polled whenever its task is.
    #[tokio::test]
    async fn it_is_polled_at_first_and_when_it_was_woken() {
        let (end, ended) = oneshot::channel();
        let (mut polls, mut ended) = (0, std::pin::pin!(ended));
        let mut waits = std::pin::pin!(WhenWoken::new(poll_fn(|cx| {
            polls += 1;
            ended.as_mut().poll(cx).map(|said| (said, polls))
        })));
        for _ in 0..10 {
            let polled = poll_fn(|cx| Poll::Ready(waits.as_mut().poll(cx))).await;
            assert!(polled.is_pending());
        }
        end.send("so").expect("it is waited for");
        assert_eq!(waits.as_mut().await, (Ok("so"), 2));
        let again = poll_fn(|cx| Poll::Ready(waits.as_mut().poll(cx))).await;
        assert!(again.is_pending());
    }
}
