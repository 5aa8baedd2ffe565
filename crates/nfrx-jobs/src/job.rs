//! A job: what is kept of it, and what may happen to it.
//!
//! Everything that can become of a job is a [`Change`], and [`Job::apply`] alone decides
//! whether it may. It is a pure function: the store calls it inside a transaction, tests
//! call it without one.

mod change;
mod view;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::json::Json;
use crate::spool::Object;
use crate::time::Millis;

pub(crate) use change::{Change, Outcome, Proof, Refused};
pub(crate) use view::{ChannelView, JobView, ObjectView, Shown};

/// The states of a job (jobs contract §2.3, KD-88).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// It waits for a worker.
    Queued,
    /// A worker has it.
    Claimed,
    /// The worker asked for a channel to read from.
    AwaitingPayload,
    /// The worker says that it works.
    Running,
    /// The worker asked for a channel to write to.
    AwaitingResult,
    /// Done.
    Completed,
    /// Not done, and not tried again.
    Failed,
    /// Given up by its client.
    Canceled,
}

impl Status {
    /// All of them.
    pub(crate) const ALL: [Self; 8] = [
        Self::Queued,
        Self::Claimed,
        Self::AwaitingPayload,
        Self::Running,
        Self::AwaitingResult,
        Self::Completed,
        Self::Failed,
        Self::Canceled,
    ];

    /// As it is written.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Claimed => "claimed",
            Self::AwaitingPayload => "awaiting_payload",
            Self::Running => "running",
            Self::AwaitingResult => "awaiting_result",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }

    /// Reads it; nothing but the eight texts is a status.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// Whether nothing leads out of it.
    pub(crate) fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Canceled)
    }

    /// Whether a worker has the job.
    pub(crate) fn is_held(self) -> bool {
        self != Self::Queued && !self.is_terminal()
    }
}

/// Why a job failed or was canceled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JobError {
    pub(crate) code: String,
    pub(crate) message: String,
}

impl JobError {
    pub(crate) fn new(code: &str, message: &str) -> Self {
        Self { code: code.to_owned(), message: message.to_owned() }
    }
}

/// Which way a channel leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// From the client to the worker.
    Payload,
    /// From the worker to the client.
    Result,
}

impl Side {
    /// The name of its event, its default key and the end of its route.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Payload => "payload",
            Self::Result => "result",
        }
    }
}

/// A channel that a worker asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct JobChannel {
    pub(crate) id: String,
    pub(crate) expires_at: Millis,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) properties: Option<Json>,
    /// Its other end is the spool: nothing is left to do for the client.
    #[serde(default)]
    pub(crate) spooled: bool,
    /// The revision of the job that brought it.
    pub(crate) revision: u64,
}

/// The claim under which a worker has a job, or last had it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    pub(crate) worker_id: String,
    pub(crate) worker_group: String,
    /// The right to say something about the job.
    pub(crate) token: String,
    /// Once it was used, calls without it are a stranger's (decision 29).
    pub(crate) token_used: bool,
    /// How long it holds after each sign of life.
    pub(crate) lease: Millis,
    pub(crate) until: Millis,
    pub(crate) since: Millis,
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Order {
    /// As sent, not trimmed.
    pub(crate) kind: String,
    pub(crate) metadata: Option<Json>,
    /// The worker it is for; empty for any.
    pub(crate) worker_id: String,
    /// The group of workers it is for; empty for any.
    pub(crate) worker_group: String,
    /// What the worker's machine has to have.
    pub(crate) labels: Vec<String>,
    pub(crate) tags: Vec<String>,
    /// Higher goes first.
    pub(crate) priority: i64,
    pub(crate) not_before: Option<Millis>,
    pub(crate) expires_at: Option<Millis>,
    /// How often it is tried at most.
    pub(crate) max_attempts: u32,
    /// Set where a `failed` is tried again, after this time, then twice that, and so on.
    pub(crate) retry_delay: Option<Millis>,
    /// Kept although nobody watches it, results and all (decision 30).
    pub(crate) keep: bool,
    /// It is given to no worker before these payloads are stored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) payload_keys: Vec<String>,
    /// The named key that made it.
    pub(crate) owner: Option<String>,
}

/// A job as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) status: Status,
    pub(crate) order: Order,
    /// Grows with each change; the id of its events.
    pub(crate) revision: u64,
    /// The number of the try that runs, or runs next; the first is 1.
    pub(crate) attempt: u32,
    pub(crate) claim: Option<Claim>,
    pub(crate) progress: Option<Json>,
    pub(crate) error: Option<JobError>,
    pub(crate) payloads: BTreeMap<String, JobChannel>,
    pub(crate) results: BTreeMap<String, JobChannel>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) stored_payloads: BTreeMap<String, Object>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) stored_results: BTreeMap<String, Object>,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
    pub(crate) finished_at: Option<Millis>,
    /// Not given to workers before.
    pub(crate) ready_at: Option<Millis>,
}

/// The longest wait between two tries.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(60 * 60);

impl Job {
    /// A new one, queued.
    pub(crate) fn new(id: String, order: Order, now: Millis) -> Self {
        let ready_at = order.not_before.filter(|moment| *moment > now);
        Self {
            id,
            status: Status::Queued,
            order,
            revision: 1,
            attempt: 1,
            claim: None,
            progress: None,
            error: None,
            payloads: BTreeMap::new(),
            results: BTreeMap::new(),
            stored_payloads: BTreeMap::new(),
            stored_results: BTreeMap::new(),
            created_at: now,
            updated_at: now,
            finished_at: None,
            ready_at,
        }
    }

    /// The channels of a side, by key.
    pub(crate) fn channels(&self, side: Side) -> &BTreeMap<String, JobChannel> {
        match side {
            Side::Payload => &self.payloads,
            Side::Result => &self.results,
        }
    }

    /// What is stored of a side, by key.
    pub(crate) fn stored(&self, side: Side) -> &BTreeMap<String, Object> {
        match side {
            Side::Payload => &self.stored_payloads,
            Side::Result => &self.stored_results,
        }
    }

    /// Whether a worker may take it now: it waits, its time has come, and what has to be
    /// stored before is there.
    pub(crate) fn is_ready(&self) -> bool {
        self.status == Status::Queued
            && self.ready_at.is_none()
            && self.order.payload_keys.iter().all(|key| self.stored_payloads.contains_key(key))
    }

    /// When its lease ends, while a worker has it.
    pub(crate) fn lease_until(&self) -> Option<Millis> {
        self.claim.as_ref().filter(|_| self.status.is_held()).map(|claim| claim.until)
    }

    /// The wait before the next try.
    fn retry_after(&self, delay: Millis) -> Duration {
        let doublings = self.attempt.saturating_sub(1).min(20);
        Duration::from_millis(delay.0.saturating_mul(1 << doublings)).min(RETRY_DELAY_MAX)
    }
}

#[cfg(test)]
pub(crate) mod tests;
