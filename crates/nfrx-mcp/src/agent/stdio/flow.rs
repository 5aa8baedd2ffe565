//! What a shared child says to one request: read by its client as it comes, or not at all.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

/// A client that lets so many bytes lie is cut: others wait for the same child.
pub(super) const UNREAD_MAX: usize = 4 * 1024 * 1024;

/// One message to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// The message.
    pub(super) text: Bytes,
    /// Nothing follows it: it is the answer. With the code of an error.
    pub(super) answer: Option<Option<i64>>,
}

/// The messages of one request. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Flow(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    queue: VecDeque<Item>,
    bytes: usize,
    ended: bool,
    overrun: bool,
    waker: Option<Waker>,
}

/// The client was too slow; it can't be told what it has missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Overrun;

impl Flow {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a message. One is taken whatever its length, if nothing else lies there.
    pub(super) fn push(&self, item: Item) -> Result<(), Overrun> {
        let mut state = self.lock();
        if !state.queue.is_empty() && state.bytes + item.text.len() > UNREAD_MAX {
            (state.queue, state.bytes, state.overrun) = (VecDeque::new(), 0, true);
        } else if !state.overrun {
            state.bytes += item.text.len();
            state.queue.push_back(item);
        }
        state.wake();
        if state.overrun { Err(Overrun) } else { Ok(()) }
    }

    /// Nothing more comes.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        state.wake();
    }

    /// The next message; `None` at the end.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Item, Overrun>>> {
        let mut state = self.lock();
        if let Some(item) = state.queue.pop_front() {
            state.bytes -= item.text.len();
            return Poll::Ready(Some(Ok(item)));
        }
        if state.overrun {
            state.ended = true;
            return Poll::Ready(Some(Err(Overrun)));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The same as a future.
    pub(super) async fn next(&self) -> Option<Result<Item, Overrun>> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(length: usize) -> Item {
        Item { text: vec![b'x'; length].into(), answer: None }
    }

    #[tokio::test]
    async fn a_slow_client_is_told_that_it_missed_something() {
        let flow = Flow::default();
        assert_eq!(flow.push(item(UNREAD_MAX + 1)), Ok(()), "one is always taken");
        assert_eq!(flow.next().await, Some(Ok(item(UNREAD_MAX + 1))));
        assert_eq!(flow.push(item(UNREAD_MAX)), Ok(()));
        assert_eq!(flow.push(item(1)), Err(Overrun));
        assert_eq!(flow.push(item(1)), Err(Overrun));
        assert_eq!(flow.next().await, Some(Err(Overrun)));
        let flow = Flow::default();
        assert_eq!(flow.push(item(1)), Ok(()));
        flow.end();
        assert_eq!((flow.next().await, flow.next().await), (Some(Ok(item(1))), None));
    }
}
