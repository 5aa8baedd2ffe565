//! Answers as the jobs API gives them: JSON and a line end (jobs contract §9).

use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::StreamBody;
use nfrx_spi::{Body, BodyError};
use serde::Serialize;

use crate::job::Refused;
use crate::json::Invalid;
use crate::spool::SpoolError;
use crate::store::StoreError;

/// An answer of JSON.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    text.push(b'\n');
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An error by its code.
pub(crate) fn refuse(status: StatusCode, code: &str) -> Response<Body> {
    json(status, &serde_json::json!({ "error": code }))
}

/// An answer that is a stream of events.
pub(crate) fn events<S>(events: S) -> Response<Body>
where
    S: Stream<Item = Bytes> + Send + 'static,
{
    use futures_util::StreamExt as _;
    let frames = events.map(|event| Ok::<_, BodyError>(Frame::data(event)));
    let mut response = Response::new(Body::stream(StreamBody::new(frames)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// Why a request of the jobs API gets no good answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// 400 `invalid_request`.
    #[error("the body is not as it has to be")]
    Invalid,
    /// 400, by another code.
    #[error("{0}")]
    Missing(&'static str),
    /// 404 or 409.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// 409, by another code.
    #[error("{0}")]
    Conflict(&'static str),
    /// 503: a bound is reached.
    #[error("{0}")]
    Full(&'static str),
    /// 507: the spool is full.
    #[error("all stored payloads and results together have reached their bound")]
    NoRoom,
    /// 416: the part that was asked for is not there; how long the whole is.
    #[error("the whole has {0} bytes")]
    NoSuchPart(u64),
    /// 503: nothing can be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Invalid> for Failure {
    fn from(_: Invalid) -> Self {
        Self::Invalid
    }
}

impl From<SpoolError> for Failure {
    fn from(error: SpoolError) -> Self {
        match error {
            SpoolError::Full { .. } => Self::NoRoom,
            SpoolError::Io(error) => {
                tracing::error!(%error, "a stored payload or result failed");
                Self::Full("spool_unavailable")
            }
        }
    }
}

impl Failure {
    /// The answer.
    pub(crate) fn response(&self) -> Response<Body> {
        let retry = |mut response: Response<Body>| {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            response
        };
        match self {
            Self::Invalid => refuse(StatusCode::BAD_REQUEST, "invalid_request"),
            Self::Missing(code) => refuse(StatusCode::BAD_REQUEST, code),
            Self::Refused(Refused::NotFound) => refuse(StatusCode::NOT_FOUND, "not_found"),
            Self::Refused(refused) => refuse(StatusCode::CONFLICT, &refused.to_string()),
            Self::Conflict(code) => refuse(StatusCode::CONFLICT, code),
            Self::Full(code) => retry(refuse(StatusCode::SERVICE_UNAVAILABLE, code)),
            Self::NoRoom => refuse(StatusCode::INSUFFICIENT_STORAGE, "spool_full"),
            Self::NoSuchPart(bytes) => {
                let mut response = refuse(StatusCode::RANGE_NOT_SATISFIABLE, "no_such_range");
                if let Ok(range) = HeaderValue::try_from(format!("bytes */{bytes}")) {
                    response.headers_mut().insert(header::CONTENT_RANGE, range);
                }
                response
            }
            Self::Store(error) => {
                tracing::error!(error = %error, "a request met a job store that failed");
                retry(refuse(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable"))
            }
        }
    }
}
