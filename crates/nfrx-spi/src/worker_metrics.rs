//! What worker-style plugins count, for whoever wants to count along.

use std::time::Duration;

use crate::WorkerStatus;

/// Which tokens are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// Tokens that a model read.
    In,
    /// Tokens that a model wrote.
    Out,
}

impl TokenKind {
    /// The value of the metric label `kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

/// How one request ended at one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobEnd<'a> {
    /// The worker.
    pub worker_id: &'a str,
    /// The wanted label, if a worker offers it, else `unknown`.
    pub model: &'a str,
    /// From the moment it was sent there.
    pub took: Duration,
    /// Tokens read; 0 when unknown.
    pub tokens_in: u64,
    /// Tokens written; 0 when unknown.
    pub tokens_out: u64,
    /// Inputs embedded.
    pub embeddings: u64,
    /// Whether a whole answer came, with a status below 400.
    pub success: bool,
    /// A code of the closed set of error codes (metrics contract §1); empty for success.
    pub error: &'a str,
}

/// Is told what happens to the workers of a pool.
///
/// Called by whoever gives requests to workers, from the request's task, outside of every
/// lock; must not block. Each method does nothing unless it is written, so that one who
/// counts tokens needs not know of embeddings. `model` is the wanted label where a worker
/// offers it, else `unknown`.
pub trait Metrics: Send + Sync + 'static {
    /// A request goes to this worker.
    fn record_job_start(&self, _worker_id: &str) {}

    /// A request ended at its worker. The narrower methods below are called besides.
    fn record_job_end(&self, _end: &JobEnd<'_>) {}

    /// A worker has this status from now on.
    fn set_worker_status(&self, _worker_id: &str, _status: WorkerStatus) {}

    /// A request took this long at its worker.
    fn observe_request_duration(&self, _worker_id: &str, _model: &str, _took: Duration) {}

    /// A worker was busy for so long with one request.
    fn record_worker_processing_time(&self, _worker_id: &str, _took: Duration) {}

    /// A worker read or wrote tokens; not called for zero.
    fn record_worker_tokens(&self, _worker_id: &str, _kind: TokenKind, _count: u64) {}

    /// Tokens of a model were read or written; not called for zero.
    fn record_model_tokens(&self, _model: &str, _kind: TokenKind, _count: u64) {}

    /// A request for a model ended.
    fn record_model_request(&self, _model: &str, _success: bool) {}

    /// Inputs were embedded by a model; not called for zero.
    fn record_model_embeddings(&self, _model: &str, _count: u64) {}

    /// Inputs were embedded by a worker; not called for zero.
    fn record_worker_embeddings(&self, _worker_id: &str, _count: u64) {}

    /// A worker was busy for so long with embeddings.
    fn record_worker_embedding_processing_time(&self, _worker_id: &str, _took: Duration) {}
}
