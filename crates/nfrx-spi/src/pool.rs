//! What the pool of a plugin's workers offers, and the scorer a plugin gives it.

use std::sync::Arc;

use serde::Serialize;

use crate::WorkerRef;

/// Says how well a worker that offers one label suits work that wants another.
///
/// A pure function: the pool calls it under its lock and keeps what it gave per pair
/// (decision 9).
pub trait Scorer: Send + Sync + 'static {
    /// The score; higher is better, under the pool's `min_score` is "not at all".
    fn score(&self, wanted: &str, offered: &str) -> f64;

    /// The score of any worker, whatever it offers, so that labels may be ignored.
    fn score_any(&self, _wanted: &str) -> f64 {
        0.0
    }
}

/// Finds a worker and takes a slot on it, in one step.
pub trait Scheduler: Send + Sync + 'static {
    /// The best worker for `label`, its slot taken, or why there is none. Never waits.
    fn pick_worker(&self, label: &str) -> Result<PickedWorker, PickError>;
}

/// A worker with a slot taken on it; dropping it frees the slot.
pub struct PickedWorker {
    worker: Arc<dyn WorkerRef>,
    _slot: Box<dyn Send>,
}

impl PickedWorker {
    /// Joins a worker and the guard of its slot.
    pub fn new(worker: Arc<dyn WorkerRef>, slot: impl Send + 'static) -> Self {
        Self { worker, _slot: Box::new(slot) }
    }

    /// The worker.
    pub fn worker(&self) -> &Arc<dyn WorkerRef> {
        &self.worker
    }
}

/// Why no worker was picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PickError {
    /// No connected worker serves the label.
    #[error("no worker serves this label")]
    UnknownLabel,
    /// Workers serve it, but none has a free slot.
    #[error("every worker for this label is busy")]
    Busy,
}

/// Implemented by plugins that have workers.
pub trait WorkerProvider: Send + Sync + 'static {
    /// The plugin's scheduler.
    fn scheduler(&self) -> Arc<dyn Scheduler>;
}

/// A model as clients list it (HTTP contract §4.5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelInfo {
    /// The name clients ask for.
    pub id: String,
    /// When this process first saw it, in Unix seconds.
    pub created: u64,
    /// The names of the workers that offer it, sorted.
    pub owners: Vec<String>,
}

/// What is known of a plugin's connected workers.
pub trait WorkerRegistry: Send + Sync + 'static {
    /// The workers that offer this label, by exact name.
    fn workers_for_label(&self, label: &str) -> Vec<Arc<dyn WorkerRef>>;

    /// How many requests are with this worker; 0 when it is not connected.
    fn in_flight(&self, worker_id: &str) -> u32;

    /// All models, sorted by id.
    fn aggregated_models(&self) -> Vec<ModelInfo>;

    /// One model by its exact name.
    fn aggregated_model(&self, id: &str) -> Option<ModelInfo>;

    /// Whether this worker is connected.
    fn has_worker(&self, worker_id: &str) -> bool;

    /// The models of one worker, sorted by id; empty when it is not connected.
    fn worker_models(&self, worker_id: &str) -> Vec<ModelInfo>;
}
