//! What every nfrx process needs: options, drain, backoff, logs and the text of
//! metrics. Nothing here knows of HTTP or of a kind of service.

pub mod backoff;
mod clock;
mod drain;

pub use clock::TokioClock;
pub use drain::{Drain, DrainWatch};
