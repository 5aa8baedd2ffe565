//! Why a request got no answer from a worker, and what its client is told.

use std::time::Duration;

use nfrx_spi::{ApiError, BodyError, CallError, PartitionError};

/// When clients should come back after "busy".
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a request got no answer from a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DispatchError {
    /// No connected worker serves it.
    #[error("no worker serves this")]
    NoWorker,
    /// All workers are busy, and the queue is full or not for this request.
    #[error("every worker is busy and the queue is full")]
    QueueFull,
    /// No slot became free within the limit of waiting (KD-72).
    #[error("no worker became free in time")]
    WaitedTooLong,
    /// The worker failed before its answer, and no other could be tried.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The worker gave no answer within the idle limit.
    #[error("the worker was silent for too long")]
    Timeout,
    /// A worker's answer to a part of a split request is not what was asked.
    #[error(transparent)]
    Part(#[from] PartitionError),
    /// The answers to the parts of a split request are together more than is held.
    #[error("the answers of the workers are larger than this server holds")]
    AnswerTooLarge,
}

impl DispatchError {
    /// The code in metrics (KD-30: a closed set).
    pub fn code(self) -> &'static str {
        match self {
            Self::NoWorker => "no_worker",
            Self::QueueFull | Self::WaitedTooLong => "worker_busy",
            Self::Call(error) => error.code(),
            Self::Timeout => "timeout",
            Self::Part(_) => "upstream_error",
            Self::AnswerTooLarge => "too_large",
        }
    }
}

impl From<DispatchError> for ApiError {
    /// HTTP contract §4.2.
    fn from(error: DispatchError) -> Self {
        match error {
            DispatchError::NoWorker => Self::NoWorker,
            DispatchError::QueueFull
            | DispatchError::WaitedTooLong
            | DispatchError::Call(CallError::Busy) => Self::WorkerBusy { retry_after: RETRY_AFTER },
            DispatchError::Timeout | DispatchError::Call(CallError::Timeout) => Self::Timeout,
            DispatchError::Call(CallError::RequestBody) => {
                Self::BadRequest("the request's body broke off".to_owned())
            }
            DispatchError::Call(CallError::TooLarge { bytes_max }) => Self::TooLarge { bytes_max },
            DispatchError::Part(_)
            | DispatchError::AnswerTooLarge
            | DispatchError::Call(
                CallError::Lost
                | CallError::Draining
                | CallError::Unreachable
                | CallError::Upstream
                | CallError::Refused,
            ) => Self::UpstreamError,
        }
    }
}

/// The code of an answer that broke off; `None` when it was its reader that left.
pub(super) fn body_code(error: &BodyError) -> Option<&'static str> {
    match error {
        BodyError::Aborted | BodyError::Io(_) => Some("closed"),
        BodyError::Upstream => Some("upstream_error"),
        BodyError::IdleTimeout => Some("timeout"),
        BodyError::TooLarge { .. } => Some("too_large"),
        BodyError::ReaderStalled => None,
    }
}

/// The code of an answer that came whole: empty under status 400.
pub(super) fn status_code(status: http::StatusCode) -> &'static str {
    match status.as_u16() {
        ..400 => "",
        400..500 => "http_4xx",
        _ => "http_5xx",
    }
}
