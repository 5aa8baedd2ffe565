//! Waiting for a slot, as a future.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::pool::Inner;
use crate::slot::Slot;
use crate::state::{State, TakeError, Turn, WaiterId};
use crate::want::Want;
use crate::worker::Worker;

/// Completes with a slot, or with the reason why there will be none. Dropping it leaves
/// the queue; a slot that was granted but not yet taken goes to the next.
pub struct Waiting {
    pool: Arc<Inner>,
    place: Place,
}

enum Place {
    Ready(Result<Slot, TakeError>),
    Queued { id: WaiterId, want: Box<Want> },
    Done,
}

/// What a look at the state gives, before guards are made of it.
type Taken = (crate::state::WorkerKey, Arc<Worker>);

impl Waiting {
    /// Takes a slot at once, else joins the queue.
    pub(crate) fn new(pool: &Arc<Inner>, want: &Want) -> Self {
        let entered = pool.with(|state| enter(state, want, want.is_again()));
        let place = match entered {
            Ok(Entered::Taken((key, worker))) => Place::Ready(Ok(Slot::new(Arc::clone(pool), key, worker))),
            Ok(Entered::Queued(id)) => Place::Queued { id, want: Box::new(want.copy()) },
            Err(error) => Place::Ready(Err(error)),
        };
        Self { pool: Arc::clone(pool), place }
    }

    /// The result, if it is there without waiting.
    pub(crate) fn take_ready(&mut self) -> Option<Result<Slot, TakeError>> {
        if self.is_queued() {
            return None;
        }
        match std::mem::replace(&mut self.place, Place::Done) {
            Place::Ready(result) => Some(result),
            _ => None,
        }
    }

    /// The place among all who wait, from 1; `None` when it does not wait (any more).
    pub fn position(&self) -> Option<usize> {
        match &self.place {
            Place::Queued { id, .. } => self.pool.with(|state| state.position(*id)),
            _ => None,
        }
    }

    /// Whether it had to join the queue and has not yet been answered.
    pub fn is_queued(&self) -> bool {
        matches!(self.place, Place::Queued { .. })
    }
}

enum Entered {
    Taken(Taken),
    Queued(WaiterId),
}

fn enter(state: &mut State, want: &Want, again: bool) -> Result<Entered, TakeError> {
    match state.take(want.wish()) {
        Ok(taken) => Ok(Entered::Taken(taken)),
        Err(TakeError::Busy) => state.enqueue(want.wish(), want.ticket(), again).map(Entered::Queued),
        Err(error) => Err(error),
    }
}

/// Looks at the waiter. A worker that left between granting and taking leaves the waiter
/// without: it queues again under its old ticket, and is not refused for the queue's
/// length, since it was let in before.
fn look(state: &mut State, id: &mut WaiterId, want: &Want, waker: &Waker) -> Poll<Result<Taken, TakeError>> {
    loop {
        match state.poll_waiter(*id, waker) {
            Turn::Waiting => return Poll::Pending,
            Turn::Refused(error) => return Poll::Ready(Err(error)),
            Turn::Granted(key, worker) if state.entry(key).is_some() => {
                return Poll::Ready(Ok((key, worker)));
            }
            Turn::Granted(_, gone) => {
                state.discard(gone);
                match enter(state, want, true) {
                    Ok(Entered::Taken(taken)) => return Poll::Ready(Ok(taken)),
                    Ok(Entered::Queued(again)) => *id = again,
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
        }
    }
}

impl Future for Waiting {
    type Output = Result<Slot, TakeError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let taken = match &mut this.place {
            Place::Queued { id, want } => match this.pool.with(|state| look(state, id, want, cx.waker())) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(taken) => taken,
            },
            Place::Ready(_) | Place::Done => {
                return match std::mem::replace(&mut this.place, Place::Done) {
                    Place::Ready(result) => Poll::Ready(result),
                    // Asked again after its end, which is against the rules of futures.
                    _ => Poll::Ready(Err(TakeError::NoWorker)),
                };
            }
        };
        this.place = Place::Done;
        Poll::Ready(taken.map(|(key, worker)| Slot::new(Arc::clone(&this.pool), key, worker)))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Place::Queued { id, .. } = self.place {
            self.pool.with(|state| state.abandon(id));
        }
    }
}
