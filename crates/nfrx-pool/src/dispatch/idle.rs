//! The idle limit: how long a worker may be silent about a request (HTTP contract §7).
//!
//! One timer per request, armed again only when it fires: a chunk costs no timer.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use nfrx_spi::{BoxFuture, Clock, Moment, WorkerRef};

use super::Limits;
use super::once::Upload;
use crate::slot::Slot;
use crate::worker::Worker;

/// Watches one request.
pub(super) struct IdleWatch {
    clock: Arc<dyn Clock>,
    worker: Arc<Worker>,
    limits: Limits,
    /// The request's own body, when it streams in: as long as it moves, nothing is silent.
    upload: Option<Arc<Upload>>,
    /// Since when there was something to wait for. A reader that takes its time is not a
    /// silent worker.
    silent_since: Option<Moment>,
    timer: Option<BoxFuture<'static, ()>>,
}

impl IdleWatch {
    pub(super) fn new(slot: &Slot, limits: Limits, upload: Option<Arc<Upload>>) -> Self {
        let clock = Arc::clone(&slot.pool().config.clock);
        let worker = Arc::clone(slot.worker());
        Self { clock, worker, limits, upload, silent_since: None, timer: None }
    }

    /// The result of `call`, or `None` when the limit is over first.
    pub(super) async fn first<T>(&mut self, mut call: BoxFuture<'static, T>) -> Option<T> {
        poll_fn(|cx| match call.as_mut().poll(cx) {
            Poll::Ready(result) => {
                self.heard();
                Poll::Ready(Some(result))
            }
            Poll::Pending => self.poll_over(cx).map(|()| None),
        })
        .await
    }

    /// Something came.
    pub(super) fn heard(&mut self) {
        self.silent_since = None;
    }

    /// Called when nothing is there; completes when that has been so for too long.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.limits.idle.is_zero() && self.limits.silence.is_zero() {
            return Poll::Pending;
        }
        let mut now = None;
        if self.silent_since.is_none() {
            now = Some(self.clock.now());
            self.silent_since = now;
        }
        loop {
            let timer = match &mut self.timer {
                Some(timer) => timer,
                None => {
                    let left = self.left(now.take().unwrap_or_else(|| self.clock.now()));
                    if left.is_zero() {
                        return Poll::Ready(());
                    }
                    self.timer.insert(self.clock.sleep(left))
                }
            };
            match timer.as_mut().poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) => self.timer = None,
            }
        }
    }

    /// How long to wait on. A worker that showed since that it lives is waited for, up to
    /// the limit of silence.
    fn left(&self, now: Moment) -> Duration {
        let since = self.silent_since.unwrap_or(now);
        let moved = self.upload.as_ref().map_or(since, |upload| upload.moved());
        let silent = now.since(since.max(moved));
        let until = |limit: Duration, passed: Duration| match limit.is_zero() {
            true => Duration::MAX,
            false => limit.saturating_sub(passed),
        };
        let lifeless = now.since(self.worker.last_heartbeat());
        let idle = until(self.limits.idle, silent.min(lifeless));
        idle.min(until(self.limits.silence, silent))
    }
}
