//! The pool as the SPI's registry and scheduler.

use std::sync::Arc;

use nfrx_spi::{ModelInfo, PickError, PickedWorker, Scheduler, WorkerRef, WorkerRegistry};

use super::Pool;
use crate::slot::Slot;
use crate::state::{State, TakeError, Wish};
use crate::worker::Worker;

impl Scheduler for Pool {
    fn pick_worker(&self, label: &str) -> Result<PickedWorker, PickError> {
        let wish = Wish { label, worker: None, exclude: &[] };
        let (key, worker) = self.inner.with(|state| state.take(wish)).map_err(|error| match error {
            TakeError::NoWorker => PickError::UnknownLabel,
            TakeError::Busy => PickError::Busy,
        })?;
        let slot = Slot::new(Arc::clone(&self.inner), key, Arc::clone(&worker));
        Ok(PickedWorker::new(worker, slot))
    }
}

impl WorkerRegistry for Pool {
    fn workers_for_label(&self, label: &str) -> Vec<Arc<dyn WorkerRef>> {
        let offering = self.inner.read(|state| state.offering(label));
        let workers = offering.map_or(Vec::new(), |(_, workers)| workers);
        workers.into_iter().map(|worker| worker as Arc<dyn WorkerRef>).collect()
    }

    fn in_flight(&self, worker_id: &str) -> u32 {
        self.inner.read(|state| state.entry_by_id(worker_id).map_or(0, |entry| entry.in_flight))
    }

    fn aggregated_models(&self) -> Vec<ModelInfo> {
        let labels = self.inner.read(State::all_labels);
        let models = labels.into_iter().map(|(name, created, workers)| model(&name, created, &workers));
        sorted(models.collect())
    }

    fn aggregated_model(&self, id: &str) -> Option<ModelInfo> {
        let (created, workers) = self.inner.read(|state| state.offering(id))?;
        Some(model(id, created, &workers))
    }

    fn has_worker(&self, worker_id: &str) -> bool {
        self.inner.read(|state| state.entry_by_id(worker_id).is_some())
    }

    fn worker_models(&self, worker_id: &str) -> Vec<ModelInfo> {
        let found = self.inner.read(|state| {
            let entry = state.entry_by_id(worker_id)?;
            Some((entry.worker.shared_name(), state.labels_of(entry)))
        });
        let Some((owner, labels)) = found else { return Vec::new() };
        let info = |(name, created): (Arc<str>, u64)| ModelInfo {
            id: name.to_string(),
            created,
            owners: vec![owner.to_string()],
        };
        sorted(labels.into_iter().map(info).collect())
    }
}

fn model(id: &str, created: u64, workers: &[Arc<Worker>]) -> ModelInfo {
    let mut owners: Vec<String> = workers.iter().map(|worker| worker.name().to_owned()).collect();
    owners.sort_unstable();
    ModelInfo { id: id.to_owned(), created, owners }
}

fn sorted(mut models: Vec<ModelInfo>) -> Vec<ModelInfo> {
    models.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    models
}
