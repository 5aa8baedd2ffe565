//! The connected agents, by id.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nfrx_spi::{Heartbeat, JoinRefused, Joined, Membership, Newcomer, StatusUpdate, Tunnel, WorkerIntake};

/// Who is there. A newer connection takes the place of an older one with the same id.
#[derive(Default)]
pub struct Agents {
    places: Arc<Mutex<Places>>,
}

#[derive(Default)]
struct Places {
    epoch: u64,
    by_id: BTreeMap<String, (u64, Arc<dyn Tunnel>)>,
}

impl Agents {
    pub(crate) fn find(&self, id: &str) -> Option<Arc<dyn Tunnel>> {
        lock(&self.places).by_id.get(id).map(|(_, tunnel)| Arc::clone(tunnel))
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        lock(&self.places).by_id.keys().cloned().collect()
    }

    pub(crate) fn for_each(&self, act: impl Fn(&dyn Tunnel)) {
        let tunnels: Vec<_> =
            lock(&self.places).by_id.values().map(|(_, tunnel)| Arc::clone(tunnel)).collect();
        tunnels.iter().for_each(|tunnel| act(&**tunnel));
    }
}

fn lock(places: &Mutex<Places>) -> MutexGuard<'_, Places> {
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

impl WorkerIntake for Agents {
    fn join(&self, newcomer: Newcomer) -> Result<Joined, JoinRefused> {
        let worker_id = newcomer.registration.worker_id;
        if !newcomer.caller.scopes.allows_worker(&worker_id) {
            return Err(JoinRefused::IdNotAllowed { worker_id });
        }
        let mut places = lock(&self.places);
        if places.by_id.contains_key(&worker_id) && newcomer.resume.is_none() {
            return Err(JoinRefused::IdInUse { worker_id });
        }
        places.epoch += 1;
        let epoch = places.epoch;
        places.by_id.insert(worker_id.clone(), (epoch, newcomer.tunnel));
        let membership = Place { places: Arc::clone(&self.places), id: worker_id.clone(), epoch };
        // One agent per id and no secret: an example. `nfrx-pool` draws and compares one.
        let resume = format!("epoch-{epoch}");
        Ok(Joined { worker_id, epoch, resume, membership: Box::new(membership) })
    }
}

struct Place {
    places: Arc<Mutex<Places>>,
    id: String,
    epoch: u64,
}

impl Membership for Place {
    fn open(&self) {}

    fn update(&self, _: StatusUpdate) {}

    fn heartbeat(&self, _: Heartbeat) {}
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = lock(&self.places);
        // The end of an old connection must not take its successor out.
        if places.by_id.get(&self.id).is_some_and(|(epoch, _)| *epoch == self.epoch) {
            places.by_id.remove(&self.id);
        }
    }
}
