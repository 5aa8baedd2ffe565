//! Embeddings requests with many inputs, as work that the pool may split (HTTP contract
//! §4.4).
//!
//! Inputs and vectors pass as the bytes they came in: a chunk is the client's request with
//! a slice of its inputs, and the merged answer is made of the workers' items, of which
//! only `index` is written anew (KD-10).

mod answer;
mod input;
mod members;

use bytes::Bytes;
use nfrx_pool::{Observer, Spread, Usage};
use nfrx_spi::{PartitionError, PartitionJob};

use super::usage::UsageObserver;
use answer::Merged;
use input::Inputs;

/// Answers to the parts of one request that are held at once, until the last has come.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// How one request spreads over workers.
pub(super) fn spread(parallel_max: usize) -> Spread {
    Spread { parallel_max, answer_bytes_max: ANSWER_BYTES_MAX }
}

/// One embeddings request.
pub(super) struct EmbeddingsJob {
    inputs: Inputs,
    merged: Merged,
}

impl EmbeddingsJob {
    /// The job, if the body holds more than one input.
    pub(super) fn read(body: &Bytes) -> Option<Self> {
        let inputs = Inputs::read(body)?;
        Some(Self { merged: Merged::new(inputs.len()), inputs })
    }
}

impl PartitionJob for EmbeddingsJob {
    fn size(&self) -> usize {
        self.inputs.len()
    }

    fn make_chunk(&self, start: usize, count: usize) -> Bytes {
        self.inputs.chunk(start, count)
    }

    fn append(&mut self, answer: Bytes, start: usize, count: usize) -> Result<(), PartitionError> {
        self.merged.add(&answer, start, count)
    }

    fn result(&mut self) -> Bytes {
        self.merged.take()
    }

    fn path(&self) -> &str {
        "/embeddings"
    }
}

/// Counts the inputs of a request besides its tokens.
pub(super) struct EmbeddingsObserver {
    pub(super) tokens: UsageObserver,
    pub(super) inputs: usize,
}

impl Observer for EmbeddingsObserver {
    fn data(&mut self, bytes: &Bytes) {
        self.tokens.data(bytes);
    }

    fn end(&mut self, error: Option<&'static str>) -> Usage {
        let embeddings = if error == Some("") { self.inputs as u64 } else { 0 };
        Usage { embeddings, ..self.tokens.end(error) }
    }
}
