//! Work that may be split over workers, such as an embeddings request with many inputs.
//!
//! A plugin says how its work is cut and joined ([`PartitionJob`]); the pool says which
//! worker gets which piece. It cuts by what each worker likes at once and by the slots
//! that are free, lets idle workers take what is left, tries a failed chunk elsewhere, and
//! gives all up at the first failure that is final.

use std::time::Duration;

use bytes::Bytes;

use crate::WorkerRef;

/// One piece of work that may be cut into chunks of neighbouring elements.
///
/// Made by a plugin for one request and given to the pool's `Dispatch::run_split`. Owned by
/// the request's own task, which calls every method: nothing here needs a lock, and nothing
/// may block. When the client leaves, the job is dropped where it is.
///
/// Work that its first worker likes as a whole is not cut: it goes there as the client's
/// request, of this job only [`size`](Self::size) and
/// [`desired_chunk_size`](Self::desired_chunk_size) are asked, and the answer passes as the
/// worker wrote it. An answer with a status from 400 to 499, other than 429, to any chunk
/// becomes the answer to all: what may be wrong with one element belongs into an answer.
pub trait PartitionJob: Send + 'static {
    /// How many elements there are; the same at each call.
    fn size(&self) -> usize;

    /// The request's body for `count` elements from `start` on. The pool never asks beyond
    /// [`size`](Self::size), and asks again for the same elements when a worker failed.
    fn make_chunk(&self, start: usize, count: usize) -> Bytes;

    /// Merges the answer to the chunk of `count` elements from `start` on. Called once for
    /// each element of the job, in the order in which chunks end. An error says that the
    /// worker did not answer what it was asked, and the chunk is tried elsewhere; the job
    /// must be as it was before.
    fn append(&mut self, answer: Bytes, start: usize, count: usize) -> Result<(), PartitionError>;

    /// The whole answer's body, once every element was appended.
    fn result(&mut self) -> Bytes;

    /// The worker's path that takes chunks, such as `/embeddings`; the request's query is
    /// appended.
    fn path(&self) -> &str;

    /// How many elements this worker should be sent at once; 0 for what the worker itself
    /// prefers.
    fn desired_chunk_size(&self, _worker: &dyn WorkerRef) -> usize {
        0
    }

    /// Is told how chunks and the job end; `None` for nobody.
    fn observer(&self) -> Option<&dyn PartitionObserver> {
        None
    }
}

/// Why an answer could not be merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PartitionError {
    /// It is not of the form that this kind of work has.
    #[error("the worker's answer has not the expected form: {0}")]
    Form(&'static str),
    /// It answers more or fewer elements than were asked.
    #[error("the worker answered {found} of {expected} elements")]
    Count {
        /// The elements that were asked.
        expected: usize,
        /// The elements that came.
        found: usize,
    },
}

/// Is told how partitioned work goes, for metrics. Must not block.
///
/// Called from the request's task. Only of work that was cut: a request that went to one
/// worker as a whole is told by neither method. `model` is the wanted label, `took` counts
/// from the moment the chunk was sent, or the work was cut.
pub trait PartitionObserver {
    /// A chunk ended, well or not; once for each time it was sent.
    fn on_chunk_result(&self, worker_id: &str, model: &str, took: Duration, elements: usize, success: bool);

    /// The job ended: after its last chunk, or at the failure that was final. Not called
    /// when the client left.
    fn on_job_result(&self, model: &str, took: Duration, elements: usize, success: bool);
}
