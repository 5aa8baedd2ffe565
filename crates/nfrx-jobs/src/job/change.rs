//! What may happen to a job, in which state.

use std::time::Duration;

use super::{Claim, Job, JobChannel, JobError, Side, Status};
use crate::json::Json;
use crate::spool::Object;
use crate::time::Millis;

/// One thing that happens to a job.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// A worker takes it.
    Claim { worker_id: String, worker_group: String, token: String, lease: Millis },
    /// Its worker says how it is.
    Report { state: Status, progress: Option<Json>, error: Option<JobError> },
    /// Its worker asks for a channel.
    Open { side: Side, key: String, channel: JobChannel, keys_max: usize },
    /// Bytes of it are on the disk; `channel` is what brought them, if one did.
    Store { side: Side, key: String, object: Object, channel: Option<String>, keys_max: usize },
    /// What is stored in this file has been kept for long enough.
    Outdate { file: String },
    /// Its worker lives: the lease begins again, longer or shorter where asked.
    Renew { lease: Option<Millis> },
    /// The claim's answer never reached the worker.
    Undelivered { token: String },
    /// Its client gives it up.
    Cancel,
    /// Nobody wants it any more, as far as one can see.
    ClientGone,
    /// Time has passed: a lease may be over, or the job's own life.
    Tick,
    /// The process ends and nothing is kept.
    Shutdown,
}

/// By which right a worker speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof<'a> {
    /// Whoever speaks needs none: clients, who are judged before, and the server itself.
    None,
    /// A worker, with the token of its claim if it sent one.
    Worker(Option<&'a str>),
}

/// What came of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The job is another: it has a new revision and watchers are told.
    Changed,
    /// Only the lease moved.
    Renewed,
    /// It is as it was.
    Unchanged,
}

/// A change that may not be, with its status and code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// 404.
    #[error("not_found")]
    NotFound,
    /// 409: the job's state does not allow it.
    #[error("invalid_state")]
    InvalidState,
    /// 409: the claim is another's by now.
    #[error("claim_lost")]
    ClaimLost,
    /// 409: more keys than a job may have.
    #[error("too_many_keys")]
    TooManyKeys,
}

impl Job {
    /// Does it, or says why not; a refused job is as before.
    pub(crate) fn apply(
        &mut self,
        change: Change,
        proof: Proof<'_>,
        now: Millis,
    ) -> Result<Outcome, Refused> {
        self.check(proof)?;
        let mut next = self.clone();
        let outcome = next.step(change, now)?;
        if let Proof::Worker(token) = proof {
            next.renew(token.is_some(), now);
        }
        if outcome == Outcome::Changed {
            next.let_go();
            next.revision += 1;
            next.updated_at = now;
            if next.status.is_terminal() && next.finished_at.is_none() {
                next.finished_at = Some(now);
            }
        }
        *self = next;
        Ok(outcome)
    }

    /// Whether a worker may speak at all (decision 29).
    fn check(&self, proof: Proof<'_>) -> Result<(), Refused> {
        let Proof::Worker(token) = proof else { return Ok(()) };
        let lost = match (token, &self.claim) {
            (Some(token), Some(claim)) => !same(token, &claim.token),
            (Some(_), None) => true,
            (None, claim) => claim.as_ref().is_some_and(|claim| claim.token_used && self.status.is_held()),
        };
        if lost { Err(Refused::ClaimLost) } else { Ok(()) }
    }

    fn renew(&mut self, with_token: bool, now: Millis) {
        let held = self.status.is_held();
        if let Some(claim) = self.claim.as_mut().filter(|_| held) {
            claim.until = now + span(claim.lease);
            claim.token_used |= with_token;
        }
    }

    fn step(&mut self, change: Change, now: Millis) -> Result<Outcome, Refused> {
        match change {
            Change::Claim { worker_id, worker_group, token, lease } => {
                self.need(self.is_ready())?;
                let until = now + span(lease);
                let claim =
                    Claim { worker_id, worker_group, token, token_used: false, lease, until, since: now };
                (self.claim, self.status) = (Some(claim), Status::Claimed);
            }
            Change::Report { state, progress, error } => {
                self.need(self.status.is_held())?;
                self.report(state, progress, error, now);
            }
            Change::Open { side, key, mut channel, keys_max } => {
                self.need(self.status.is_held())?;
                self.has_room(side, &key, keys_max)?;
                channel.revision = self.revision + 1;
                channel.spooled = match side {
                    Side::Payload => self.stored_payloads.contains_key(&key),
                    Side::Result => self.order.keep,
                };
                match side {
                    Side::Payload => self.payloads.insert(key, channel),
                    Side::Result => self.results.insert(key, channel),
                };
                self.status = match side {
                    Side::Payload => Status::AwaitingPayload,
                    Side::Result => Status::AwaitingResult,
                };
            }
            Change::Store { side, key, object, channel, keys_max } => {
                self.need(!self.status.is_terminal())?;
                if channel.is_some() {
                    // Of another attempt, or replaced by another channel.
                    let current = self.channels(side).get(&key).map(|channel| &channel.id);
                    self.need(self.status.is_held() && current == channel.as_ref())?;
                }
                self.has_room(side, &key, keys_max)?;
                match side {
                    Side::Payload => self.stored_payloads.insert(key, object),
                    Side::Result => self.stored_results.insert(key, object),
                };
            }
            Change::Outdate { file } => return Ok(self.outdate(&file)),
            // Its worker learns of the cancel, and has nothing to renew.
            Change::Renew { .. } if self.status == Status::Canceled => return Ok(Outcome::Renewed),
            Change::Renew { lease } => {
                self.need(self.status.is_held())?;
                if let (Some(lease), Some(claim)) = (lease, &mut self.claim) {
                    claim.lease = lease;
                }
                return Ok(Outcome::Renewed);
            }
            Change::Undelivered { token } => {
                let is_it = self.claim.as_ref().is_some_and(|claim| claim.token == token);
                self.need(self.status == Status::Claimed && is_it)?;
                self.requeue();
            }
            Change::Cancel if self.status.is_terminal() => return Ok(Outcome::Unchanged),
            Change::Cancel => self.status = Status::Canceled,
            Change::ClientGone => {
                self.need(!self.status.is_terminal())?;
                self.end(Status::Canceled, "client_inactive", "client inactive");
            }
            Change::Tick => return Ok(self.tick(now)),
            Change::Shutdown => {
                self.need(!self.status.is_terminal())?;
                self.end(Status::Failed, "server_shutdown", "the server ended and keeps no jobs");
            }
        }
        Ok(Outcome::Changed)
    }

    fn need(&self, allowed: bool) -> Result<(), Refused> {
        if allowed { Ok(()) } else { Err(Refused::InvalidState) }
    }

    /// Whether this key is one of its keys, or may become one.
    fn has_room(&self, side: Side, key: &str, keys_max: usize) -> Result<(), Refused> {
        let keys = |side: Side| {
            let stored = self.stored(side).keys().filter(|key| !self.channels(side).contains_key(*key));
            self.channels(side).len() + stored.count()
        };
        let is_known = self.channels(side).contains_key(key) || self.stored(side).contains_key(key);
        if !is_known && keys(Side::Payload) + keys(Side::Result) >= keys_max {
            return Err(Refused::TooManyKeys);
        }
        Ok(())
    }

    /// Nobody reads the payloads of a job that has ended, or the results of one that was
    /// given up.
    fn let_go(&mut self) {
        if self.status.is_terminal() {
            self.stored_payloads.clear();
        }
        if self.status == Status::Canceled {
            self.stored_results.clear();
        }
    }

    /// A worker that has the job may need it still.
    fn outdate(&mut self, file: &str) -> Outcome {
        if self.status.is_held() {
            return Outcome::Unchanged;
        }
        let before = (self.stored_payloads.len(), self.stored_results.len());
        self.stored_payloads.retain(|_, object| object.file != file);
        self.stored_results.retain(|_, object| object.file != file);
        let after = (self.stored_payloads.len(), self.stored_results.len());
        if after.0 < before.0 && !self.status.is_terminal() {
            self.end(Status::Failed, "payload_expired", "its stored payload was kept for long enough");
        }
        if before == after { Outcome::Unchanged } else { Outcome::Changed }
    }

    fn report(&mut self, state: Status, progress: Option<Json>, error: Option<JobError>, now: Millis) {
        if let Some(progress) = progress {
            self.progress = Some(progress).filter(|progress| !progress.is_empty_object());
        }
        match (error, state) {
            (Some(error), _) => self.error = Some(error),
            // KD-115: a job that is done has no old failure in its view.
            (None, Status::Completed) => self.error = None,
            (None, _) => {}
        }
        match (state, self.order.retry_delay) {
            (Status::Queued, _) => self.requeue(),
            (Status::Failed, Some(delay)) if self.attempt < self.order.max_attempts => {
                let ready_at = now + self.retry_after(delay);
                self.try_again();
                self.ready_at = Some(ready_at);
            }
            (state, _) => self.status = state,
        }
    }

    /// Back to its place in the queue, as it was before the claim.
    fn requeue(&mut self) {
        (self.status, self.claim, self.ready_at) = (Status::Queued, None, None);
        self.payloads.clear();
        self.results.clear();
        // Of a try that came to nothing.
        self.stored_results.clear();
    }

    fn try_again(&mut self) {
        self.requeue();
        self.attempt += 1;
    }

    fn tick(&mut self, now: Millis) -> Outcome {
        if self.status.is_terminal() {
            return Outcome::Unchanged;
        }
        if self.order.expires_at.is_some_and(|moment| moment <= now) {
            self.end(Status::Failed, "expired", "it was not done before its expires_at");
        } else if self.lease_until().is_some_and(|until| until <= now) {
            if self.attempt < self.order.max_attempts {
                self.try_again();
            } else {
                self.end(Status::Failed, "lease_expired", "its workers left it, at its last attempt");
            }
        } else if self.ready_at.is_some_and(|moment| moment <= now) {
            // Nothing that a client sees: it is only looked at from now on.
            self.ready_at = None;
            return Outcome::Renewed;
        } else {
            return Outcome::Unchanged;
        }
        Outcome::Changed
    }

    fn end(&mut self, status: Status, code: &str, message: &str) {
        (self.status, self.error) = (status, Some(JobError::new(code, message)));
    }
}

fn span(millis: Millis) -> Duration {
    Duration::from_millis(millis.0)
}

/// Compares in constant time: a token is a right.
fn same(given: &str, kept: &str) -> bool {
    let unequal = given.bytes().zip(kept.bytes()).fold(0, |seen, (a, b)| seen | (a ^ b));
    given.len() == kept.len() && unequal == 0
}
