//! When things happened to one request, for a relay that traces it.

use http::HeaderMap;
use nfrx_spi::{AgentTimings, TIMINGS};
use tokio::time::Instant;

/// Takes the time of one request.
pub(super) struct Timing {
    begun: Instant,
    so_far: AgentTimings,
}

impl Timing {
    /// The request is here.
    pub(super) fn start() -> Self {
        Self { begun: Instant::now(), so_far: AgentTimings::default() }
    }

    /// It goes to the backend.
    pub(super) fn asked(&mut self) {
        self.so_far.asked = self.begun.elapsed();
    }

    /// The head of the backend's answer is here.
    pub(super) fn answered(&mut self) {
        self.so_far.answered = self.begun.elapsed();
    }

    /// The answer is over: what there is to say.
    pub(super) fn trailers(mut self) -> HeaderMap {
        self.so_far.ended = self.begun.elapsed();
        HeaderMap::from_iter([(TIMINGS, self.so_far.to_value())])
    }
}
