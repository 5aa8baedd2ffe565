//! Transfer channels: a writer's body becomes a reader's answer, and nothing is kept
//! (transfer contract).
//!
//! The bytes travel through a queue that belongs to the channel and holds one piece: a
//! reader who is slow slows its own writer, nobody else, and memory stays what it is.
//! Either side's leaving ends the other: a cut transfer never looks whole (KD-100).

mod channel;
mod handlers;
mod pass;
mod spooled;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nfrx_spi::Clock;
use serde::Serialize;

use crate::ids;
use crate::metrics::{Bound, JobsMetrics};
use crate::time::Millis;
pub(crate) use channel::Channel;

/// How long a channel waits for both its sides (transfer contract §2).
pub(crate) const LIFETIME: Duration = Duration::from_secs(60);
/// How long it is remembered what became of a channel (KD-109).
const REMEMBERED: Duration = Duration::from_secs(300);
/// The most ended channels that are remembered.
const ENDED_MAX: usize = 10_000;

/// How a channel is (KD-113).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ChannelState {
    /// It waits for one side or both.
    Open,
    /// Bytes flow.
    Joined,
    /// All bytes were passed on.
    Done,
    /// A side left midway.
    Failed,
    /// A side did not come in time.
    Expired,
    /// Its job has ended, or asked for another.
    Closed,
}

impl ChannelState {
    /// Whether nothing can come of it any more.
    pub(crate) fn is_over(self) -> bool {
        !matches!(self, Self::Open | Self::Joined)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Joined => "joined",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Closed => "closed",
        }
    }
}

/// Told of what flows through the channels of jobs, so that leases are renewed.
pub(crate) trait Traffic: Send + Sync + 'static {
    /// Bytes of this job flowed; told once a second at most.
    fn flowed(&self, job: &str);
}

#[derive(Default)]
struct Table {
    by_id: HashMap<String, Arc<Channel>>,
    by_job: HashMap<String, Vec<String>>,
}

impl Table {
    fn of_job(&self, job: &str) -> impl Iterator<Item = &Arc<Channel>> {
        self.by_job.get(job).into_iter().flatten().filter_map(|id| self.by_id.get(id))
    }
}

/// All channels.
#[derive(Clone)]
pub(crate) struct Transfers {
    shared: Arc<Shared>,
}

struct Shared {
    table: Mutex<Table>,
    /// Channels that are not over.
    open: Arc<AtomicUsize>,
    clock: Arc<dyn Clock>,
    metrics: Arc<JobsMetrics>,
    channels_max: usize,
    idle_max: Option<Duration>,
    traffic: Mutex<Option<Arc<dyn Traffic>>>,
}

impl Transfers {
    pub(crate) fn new(
        clock: Arc<dyn Clock>,
        metrics: Arc<JobsMetrics>,
        channels_max: usize,
        idle_max: Option<Duration>,
    ) -> Self {
        let shared = Shared {
            table: Mutex::default(),
            open: Arc::default(),
            clock,
            metrics,
            channels_max,
            idle_max,
            traffic: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Says who is told of traffic.
    pub(crate) fn tell(&self, traffic: Arc<dyn Traffic>) {
        *self.shared.traffic.lock().unwrap_or_else(PoisonError::into_inner) = Some(traffic);
    }

    /// Makes a channel, for a key's holder or a job; `None` if there are too many.
    pub(crate) fn open(&self, owner: Option<String>, job: Option<String>) -> Option<(String, Millis)> {
        let shared = &*self.shared;
        if shared.open.load(Ordering::Relaxed) >= shared.channels_max {
            shared.metrics.refuse(Bound::Channels);
            return None;
        }
        let id = ids::uuid();
        let expires = shared.clock.now() + LIFETIME;
        let channel = Channel::new(owner, job, expires, Arc::clone(&shared.open));
        let mut table = self.lock();
        if let Some(job) = channel.job() {
            table.by_job.entry(job.to_owned()).or_default().push(id.clone());
        }
        table.by_id.insert(id.clone(), Arc::new(channel));
        Some((id, Millis::of(self.shared.clock.wall()) + LIFETIME))
    }

    /// How a channel is; `None` for one that is not remembered.
    pub(crate) fn state(&self, id: &str) -> Option<ChannelState> {
        self.lock().by_id.get(id).map(|channel| channel.state())
    }

    /// Whether a client may still take its side of a channel.
    pub(crate) fn is_untaken(&self, id: &str, writer: bool) -> bool {
        let channel = self.lock().by_id.get(id).cloned();
        channel.is_some_and(|channel| channel.is_untaken(writer))
    }

    /// Whether bytes of a job flow at this moment.
    pub(crate) fn flows(&self, job: &str) -> bool {
        self.lock().of_job(job).any(|channel| channel.state() == ChannelState::Joined)
    }

    /// Closes a channel that nobody has joined yet.
    pub(crate) fn close(&self, id: &str) {
        let channel = self.lock().by_id.get(id).cloned();
        if let Some(channel) = channel
            && channel.state() == ChannelState::Open
        {
            channel.end(ChannelState::Closed);
        }
    }

    /// Closes the channels of a job; those where bytes flow only if `cut` (KD-91).
    pub(crate) fn close_of_job(&self, job: &str, cut: bool) {
        let of_job: Vec<_> = self.lock().of_job(job).cloned().collect();
        for channel in of_job {
            if cut || channel.state() == ChannelState::Open {
                channel.end(ChannelState::Closed);
            }
        }
    }

    /// Ends what has waited too long, and forgets what ended long ago.
    pub(crate) fn sweep(&self) {
        let now = self.shared.clock.now();
        let mut table = self.lock();
        let Table { by_id, by_job } = &mut *table;
        by_id.values().for_each(|channel| channel.expire(now));
        let crowded = by_id.len().saturating_sub(self.shared.open.load(Ordering::Relaxed)) > ENDED_MAX;
        by_id.retain(|_, channel| match channel.ended_at(now) {
            None => true,
            Some(since) => !crowded && now.since(since) < REMEMBERED,
        });
        by_job.retain(|_, ids| {
            ids.retain(|id| by_id.contains_key(id));
            !ids.is_empty()
        });
        let open = self.shared.open.load(Ordering::Relaxed);
        self.shared.metrics.channels.with([]).set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// Completes when no bytes flow, for the end of the process.
    pub(crate) async fn quiet(&self) {
        while self.lock().by_id.values().any(|channel| channel.state() == ChannelState::Joined) {
            self.shared.clock.sleep(Duration::from_millis(50)).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.shared.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flowed(&self, job: &str) {
        let traffic = self.shared.traffic.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(traffic) = traffic {
            traffic.flowed(job);
        }
    }
}
