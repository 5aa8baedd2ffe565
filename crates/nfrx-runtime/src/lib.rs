//! What every nfrx process needs: options, drain, backoff, logs, TLS and the text of
//! metrics. Nothing here knows of a kind of service, and of HTTP no more than how its frames
//! are counted.

pub mod address;
pub mod backoff;
mod build;
mod clock;
mod drain;
pub mod frames;
pub mod logs;
pub mod metrics_text;
pub mod options;
pub mod private_file;
mod process;
#[cfg(feature = "signal")]
pub mod signals;
#[cfg(feature = "tls")]
mod tls;
mod when_woken;

pub use build::build_info;
pub use clock::TokioClock;
pub use drain::{Drain, DrainWatch};
pub use process::{ProcessMetrics, file_limit, raise_file_limit};
#[cfg(feature = "tls")]
pub use tls::TlsClient;
pub use when_woken::WhenWoken;
