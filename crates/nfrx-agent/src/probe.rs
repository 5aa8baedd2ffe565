//! The probe loop: whether the backend is there, and what it offers.
//!
//! It never ends by itself (KD-47). What it finds becomes the agent's offer, of which
//! only the newest counts (KD-18): a backend that is away offers nothing, its models
//! included (KD-48), and a draining agent offers no slot whatever a probe says (KD-46).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use nfrx_runtime::DrainWatch;
use nfrx_runtime::backoff::{Backoff, RECONNECT};
use nfrx_spi::{BoxFuture, WorkerStatus};
use nfrx_tunnel::Offer;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::StatusBoard;

#[cfg(test)]
mod tests;

/// A label longer than that names no model.
const LABEL_BYTES_MAX: usize = 256;

/// Labels of one offer; together with the rest they fit a line of the control stream.
const LABELS_BYTES_MAX: usize = 48 * 1024;

/// How an agent of one kind asks its backend.
pub trait Backend: Send + Sync + 'static {
    /// Asks the backend once. The probe loop calls it, one call at a time, and drops
    /// the future when its time is over.
    fn probe(&self) -> BoxFuture<'_, Result<Found, ProbeError>>;
}

/// What a backend offers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Its labels, in its order; for LLMs model names.
    pub models: Vec<String>,
    /// Facts about it (worker protocol §3.4).
    pub agent_config: BTreeMap<String, String>,
}

/// Why a backend is not ready. The text may name addresses: it is for the agent's own
/// log and status, never for the relay (KD-24).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ProbeError(pub String);

/// What the probe loop works with.
pub struct Prober {
    /// Asks the backend.
    pub backend: Arc<dyn Backend>,
    /// The time between a good probe and the next.
    pub interval: Duration,
    /// The time that a probe may take.
    pub timeout: Duration,
    /// What to offer while the backend is ready.
    pub max_concurrency: u32,
    /// Facts about the host, part of each offer.
    pub host_facts: BTreeMap<String, String>,
    /// Where the offer goes.
    pub offer: watch::Sender<Offer>,
    /// Where the backend's state is noted.
    pub status: StatusBoard,
    /// Ends the probing.
    pub drain: DrainWatch,
}

impl Prober {
    /// Asks once and offers what was found. Returns whether the backend is ready.
    pub async fn once(&self) -> bool {
        let asked = tokio::time::timeout(self.timeout, self.backend.probe()).await;
        let found = asked.unwrap_or_else(|_late| {
            Err(ProbeError(format!("the probe got no answer within {:?}", self.timeout)))
        });
        let ready = found.is_ok();
        match found {
            Ok(found) => self.ready(found),
            Err(error) => self.not_ready(&error),
        }
        ready
    }

    /// Asks again and again until the drain begins; the last offer is then to be given
    /// nothing more. `ready` is what the probe before said.
    pub async fn run(self, mut ready: bool) {
        let mut backoff = Backoff::new(RECONNECT);
        loop {
            let wait = if ready { self.interval } else { backoff.next_wait() };
            tokio::select! {
                () = self.drain.draining() => break,
                () = tokio::time::sleep(wait) => {}
            }
            tokio::select! {
                () = self.drain.draining() => break,
                now = self.once() => ready = now,
            }
            if ready {
                backoff.reset();
            }
        }
        self.drained();
    }

    fn ready(&self, found: Found) {
        let mut agent_config = self.host_facts.clone();
        agent_config.extend(found.agent_config);
        let models = labels_that_fit(found.models);
        let was_ready = self.status.watch().borrow().connected_to_backend;
        let count = models.len();
        self.status.update(|status| {
            status.connected_to_backend = true;
            status.last_error.clear();
        });
        let offer =
            Offer { models, max_concurrency: self.max_concurrency, status: WorkerStatus::Idle, agent_config };
        if self.publish(offer) || !was_ready {
            info!(models = count, "backend is ready");
        }
    }

    fn not_ready(&self, error: &ProbeError) {
        let status = self.status.watch();
        let told = {
            let status = status.borrow();
            !status.connected_to_backend && status.last_error == error.0
        };
        if told {
            debug!(error = %error, "backend is still not ready");
        } else {
            warn!(error = %error, "backend is not ready, offering nothing");
        }
        self.status.update(|status| {
            status.connected_to_backend = false;
            status.last_error.clone_from(&error.0);
        });
        let agent_config = self.offer.borrow().agent_config.clone();
        self.publish(Offer {
            models: Vec::new(),
            max_concurrency: 0,
            status: WorkerStatus::NotReady,
            agent_config,
        });
    }

    fn drained(&self) {
        let offer =
            Offer { max_concurrency: 0, status: WorkerStatus::Draining, ..self.offer.borrow().clone() };
        self.publish(offer);
    }

    /// Offers it if it is news.
    fn publish(&self, offer: Offer) -> bool {
        self.status.update(|status| {
            status.max_concurrency = offer.max_concurrency;
            status.labels.clone_from(&offer.models);
            status.agent_config.clone_from(&offer.agent_config);
        });
        self.offer.send_if_modified(|current| {
            let news = *current != offer;
            if news {
                *current = offer;
            }
            news
        })
    }
}

/// Each label once, in the backend's order, as many as a control message holds.
fn labels_that_fit(models: Vec<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut bytes = 0;
    let all = models.len();
    let fitting: Vec<String> = models
        .into_iter()
        .filter(|label| !label.is_empty() && label.len() <= LABEL_BYTES_MAX && seen.insert(label.clone()))
        .take_while(|label| {
            bytes += label.len() + 4; // Quotes, comma, an escape.
            bytes <= LABELS_BYTES_MAX
        })
        .collect();
    if fitting.len() < seen.len() {
        warn!(offered = fitting.len(), found = all, "the backend has more models than an offer holds");
    }
    fitting
}
