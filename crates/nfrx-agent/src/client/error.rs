//! Why a backend gave no answer.

use std::io;

use nfrx_spi::CallError;

/// Why a backend gave no answer. The texts may name addresses: they are for the agent's
/// own log and status, never for the relay (KD-24).
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection could be made, in TCP or in TLS.
    #[error("can't connect to the backend: {0}")]
    Connect(#[source] io::Error),
    /// The certificates of this machine can't be used.
    #[error("can't prepare TLS: {0}")]
    Tls(String),
    /// Nothing came for longer than the idle limit.
    #[error("the backend was silent for too long")]
    Silent,
    /// The answer is not HTTP, or the connection broke before its head ended.
    #[error("the backend's answer broke: {0}")]
    Http(#[source] hyper::Error),
    /// The answer's framing can't be trusted.
    #[error("the backend's answer breaks the rules of HTTP")]
    Broken,
    /// The request's own body broke off.
    #[error("the request's body broke off")]
    RequestBody,
    /// The request can't be sent as it is.
    #[error("the request is not valid")]
    Request,
}

impl ClientError {
    /// What the relay is told. No wildcard arm: a new variant must choose.
    pub fn call_error(&self) -> CallError {
        match self {
            Self::Connect(_) | Self::Tls(_) => CallError::Unreachable,
            Self::Silent => CallError::Timeout,
            Self::Http(_) | Self::Broken => CallError::Upstream,
            Self::RequestBody => CallError::RequestBody,
            Self::Request => CallError::Refused,
        }
    }
}

impl From<hyper::Error> for ClientError {
    fn from(error: hyper::Error) -> Self {
        // The only parts of a request that can fail are its body's frames.
        if error.is_user() { Self::RequestBody } else { Self::Http(error) }
    }
}
