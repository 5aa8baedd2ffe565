//! How workers come in, change and leave.

use std::sync::Arc;

use nfrx_spi::{
    CloseReason, Heartbeat, JoinRefused, Joined, Membership, Newcomer, Registration, StatusUpdate, Tunnel,
    WorkerIntake, WorkerRef, WorkerStatus,
};
use subtle::ConstantTimeEq;

use super::{Inner, Pool};
use crate::config::Takeover;
use crate::state::{Change, Entry, State};
use crate::worker::{Facts, Worker, cut, cut_labels};

impl WorkerIntake for Pool {
    fn join(&self, newcomer: Newcomer) -> Result<Joined, JoinRefused> {
        let id = self.id_for(&newcomer)?;
        if self.inner.is_draining() {
            return Err(JoinRefused::Draining);
        }
        let now = self.inner.unix_now();
        let scopes = Arc::clone(&newcomer.caller.scopes);
        let labels = cut_labels(&newcomer.registration.models, |model| scopes.allows_model(model));
        let (worker, replaced) = self.inner.with(|state| self.admit(state, newcomer, id, &labels, now))?;
        if let Some(old) = replaced {
            old.close(CloseReason::Replaced);
        }
        self.inner.publish();
        Ok(Joined {
            worker_id: worker.id().to_owned(),
            epoch: worker.key().epoch,
            resume: worker.facts.resume.clone(),
            membership: Box::new(Member { inner: Arc::clone(&self.inner), scopes, worker }),
        })
    }
}

type Admitted = (Arc<Worker>, Option<Arc<dyn Tunnel>>);

impl Pool {
    /// The id that the newcomer gets, if its key may have it.
    fn id_for(&self, newcomer: &Newcomer) -> Result<Arc<str>, JoinRefused> {
        let id = match cut(&newcomer.registration.worker_id) {
            "" => format!("{:032x}", fastrand::u128(..)),
            id => id.to_owned(),
        };
        if newcomer.caller.scopes.allows_worker(&id) {
            Ok(Arc::from(id))
        } else {
            Err(JoinRefused::IdNotAllowed { worker_id: id })
        }
    }

    /// Decides and takes the worker in, under the lock. Gives the tunnel of the
    /// connection that it replaces.
    fn admit(
        &self,
        state: &mut State,
        newcomer: Newcomer,
        id: Arc<str>,
        labels: &[Arc<str>],
        now: u64,
    ) -> Result<Admitted, JoinRefused> {
        let mut held = false;
        let mut connected_at = self.inner.config.clock.wall();
        let mut replaced = None;
        if let Some(old) = state.entry_by_id(&id) {
            if self.inner.config.takeover == Takeover::Refuse || !may_take_over(old, &newcomer) {
                return Err(JoinRefused::IdInUse { worker_id: id.to_string() });
            }
            held = old.held;
            connected_at = old.worker.facts.connected_at;
            replaced = Some(Arc::clone(old.worker.tunnel()));
        } else if state.worker_count() >= self.inner.config.workers_max {
            return Err(JoinRefused::Full { workers_max: self.inner.config.workers_max });
        }
        let Newcomer { mut registration, tunnel, caller, .. } = newcomer;
        if cut(&registration.worker_id).is_empty() && cut(&registration.worker_name).is_empty() {
            // Worker protocol §3.1: who says nothing of itself is called by its address, which
            // means more to a person than an id that we have made up.
            registration.worker_name = caller.ip().to_string();
        }
        let facts = facts(&registration, connected_at, caller.key);
        let worker = state.join(labels, registration.max_concurrency, now, |key| {
            Arc::new(Worker::new(key, id, registration, tunnel, facts))
        });
        if held {
            state.change(worker.key(), Change { held: Some(true), ..Change::default() });
        }
        Ok((worker, replaced))
    }
}

/// Decision 7: an agent often redials before we notice that its old socket is dead, so the
/// newer connection wins, if it can show that it is the same agent. Where v1 has no token
/// the key must do; it does not take over a connection that has a token.
fn may_take_over(old: &Entry, newcomer: &Newcomer) -> bool {
    let token = &old.worker.facts.resume;
    if let Some(shown) = &newcomer.resume {
        return !token.is_empty() && bool::from(shown.as_bytes().ct_eq(token.as_bytes()));
    }
    let both_v1 = [&newcomer.tunnel, old.worker.tunnel()].iter().all(|tunnel| tunnel.carrier() == "v1");
    both_v1 && newcomer.caller.key == old.worker.facts.key_name
}

fn facts(
    registration: &Registration,
    connected_at: std::time::SystemTime,
    key_name: Option<Arc<str>>,
) -> Facts {
    Facts {
        version: cut(&registration.version).to_owned(),
        build_sha: cut(&registration.build_sha).to_owned(),
        build_date: cut(&registration.build_date).to_owned(),
        connected_at,
        key_name,
        resume: resume_token(),
    }
}

/// 128 random bits. Without the system's randomness nobody may take over, which costs a
/// reconnecting agent some seconds; a token that can be guessed would cost its work.
fn resume_token() -> String {
    let mut bits = [0; 16];
    match getrandom::fill(&mut bits) {
        Ok(()) => format!("{:032x}", u128::from_ne_bytes(bits)),
        Err(_) => String::new(),
    }
}

/// See [`Membership`].
struct Member {
    inner: Arc<Inner>,
    scopes: Arc<nfrx_spi::Scopes>,
    worker: Arc<Worker>,
}

impl Membership for Member {
    fn open(&self) {
        self.inner.change(self.worker.key(), Change { open: Some(true), ..Change::default() });
    }

    fn update(&self, update: StatusUpdate) {
        if let Some(config) = &update.agent_config {
            self.worker.merge_config(config);
        }
        let labels = update.models.map(|models| {
            (cut_labels(&models, |model| self.scopes.allows_model(model)), self.inner.unix_now())
        });
        let change = Change {
            draining: Some(update.status.as_deref() == Some("draining")),
            lost: Some(false),
            capacity: Some(update.max_concurrency),
            labels,
            ..Change::default()
        };
        self.inner.change(self.worker.key(), change);
    }

    fn heartbeat(&self, heartbeat: Heartbeat) {
        self.worker.note_heartbeat(heartbeat);
        if self.inner.read(|state| state.entry(self.worker.key()).is_some_and(|entry| entry.lost)) {
            self.inner.change(self.worker.key(), Change { lost: Some(false), ..Change::default() });
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let left = self.inner.with(|state| state.leave(self.worker.key()));
        if left {
            self.inner.tell(|observer| observer.set_worker_status(self.worker.id(), WorkerStatus::Gone));
        }
        self.inner.publish();
    }
}
