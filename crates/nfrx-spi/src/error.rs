//! What a client is told when a request is refused or fails: one enum, and the
//! forms in which it is written.

use std::time::Duration;

use http::header::{self, HeaderValue};
use http::{Response, StatusCode};

use crate::{Body, PickError};

/// Why a request was refused or failed, as its client sees it.
///
/// A variant exists because clients react to it differently. Its status and code
/// are those of the HTTP contract §1.3, §1.4 and §4.2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// 400: the request can't be read; the text says what to change.
    #[error("{0}")]
    BadRequest(String),
    /// 401: no key, or one that is not known; the text says what to do.
    #[error("{0}")]
    Unauthorized(String),
    /// 403: the key is known but may not do this; the text says what is missing.
    #[error("{0}")]
    Forbidden(String),
    /// 404: nothing is served at this path.
    #[error("404 page not found")]
    NotFound,
    /// 404: no connected worker serves what was asked for.
    #[error("no connected worker serves what was asked for")]
    NoWorker,
    /// 404: no connected worker offers this model (`GET models/{id}`).
    #[error("no connected worker offers this model")]
    ModelNotFound,
    /// 405: the path is there, for other methods.
    #[error("this path takes other methods: see `Allow`")]
    MethodNotAllowed,
    /// 408: the client took too long to send its request.
    #[error("the request did not arrive in time")]
    RequestTimeout,
    /// 413: the body is over its limit.
    #[error("the body is over the limit of {bytes_max} bytes")]
    TooLarge {
        /// The limit, in bytes.
        bytes_max: u64,
    },
    /// 414: the path and query are over their limit.
    #[error("the address is over the limit of {bytes_max} bytes")]
    UriTooLong {
        /// The limit, in bytes.
        bytes_max: u64,
    },
    /// 429: too many refused logins from this address.
    #[error("too many failed logins from this address")]
    TooManyLogins {
        /// When to try again.
        retry_after: Duration,
    },
    /// 429: the key has as many tunnels as it may.
    #[error("this key has {tunnels_max} tunnels, and may not have more")]
    TooManyTunnels {
        /// The bound.
        tunnels_max: usize,
    },
    /// 431: the headers are over their limit.
    #[error("the headers are over their limit")]
    HeadersTooLarge,
    /// 500: a defect of the relay itself.
    #[error("internal error")]
    Internal,
    /// 502: the worker or its backend failed before it answered.
    #[error("the worker failed before it answered")]
    UpstreamError,
    /// 503: workers serve this, but none is free and the queue is full or was
    /// waited in for too long (KD-16, KD-72).
    #[error("all workers are busy")]
    WorkerBusy {
        /// When to try again.
        retry_after: Duration,
    },
    /// 503: this process is about to end and takes nothing new.
    #[error("the server is draining")]
    Draining,
    /// 504: the worker was silent for longer than the idle limit.
    #[error("the worker was silent for too long")]
    Timeout,
}

/// The form in which an [`ApiError`] is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// Each error in the form that existing clients match on: some are text,
    /// some JSON (HTTP contract §1.3).
    #[default]
    Contract,
    /// `Content-Type: text/plain`, the message and a newline.
    Text,
    /// `{"error":"<code>"}`, without a newline.
    Json,
    /// OpenAI's `{"error":{"message","type","param","code"}}`.
    OpenAi,
    /// JSON-RPC's error object with the code −32000, a null id and `data.mcp` (MCP
    /// contract §3.2, KD-134); a 401, a 404 and a draining server stay text.
    JsonRpc,
}

impl ApiError {
    /// The status. No wildcard arm: a new variant must choose.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound | Self::NoWorker | Self::ModelNotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UriTooLong { .. } => StatusCode::URI_TOO_LONG,
            Self::TooManyLogins { .. } | Self::TooManyTunnels { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::UpstreamError => StatusCode::BAD_GATEWAY,
            Self::WorkerBusy { .. } | Self::Draining => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The code that programs match on.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "bad_request",
            Self::Unauthorized(_) => "unauthorized",
            Self::Forbidden(_) => "forbidden",
            Self::NotFound => "not_found",
            Self::NoWorker => "no_worker",
            Self::ModelNotFound => "model_not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::RequestTimeout => "request_timeout",
            Self::TooLarge { .. } => "too_large",
            Self::UriTooLong { .. } => "uri_too_long",
            Self::TooManyLogins { .. } => "too_many_logins",
            Self::TooManyTunnels { .. } => "too_many_tunnels",
            Self::HeadersTooLarge => "headers_too_large",
            Self::Internal => "internal",
            Self::UpstreamError => "upstream_error",
            Self::WorkerBusy { .. } => "worker_busy",
            Self::Draining => "draining",
            Self::Timeout => "timeout",
        }
    }

    /// When the client should come back, for the errors that say so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::WorkerBusy { retry_after } | Self::TooManyLogins { retry_after } => Some(*retry_after),
            Self::Draining => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// The whole answer in `dialect`.
    ///
    /// `Retry-After` is in whole seconds, rounded up; a 401 whose text is not the
    /// bare code carries the text in `WWW-Authenticate`, so that the body stays as
    /// the contract has it and a person still reads what to do.
    pub fn response(&self, dialect: Dialect) -> Response<Body> {
        let mut response = match dialect {
            Dialect::Contract if self.is_text_in_contract() => text(self.text()),
            Dialect::Contract | Dialect::Json => json(self.code_object(dialect)),
            Dialect::Text => text(self.text()),
            Dialect::OpenAi => json(self.open_ai().to_string()),
            Dialect::JsonRpc => match self.rpc_code() {
                Some(code) => json(self.json_rpc(code).to_string()),
                None => text(self.text()),
            },
        };
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        if let Some(after) = self.retry_after() {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if let Self::Unauthorized(hint) = self {
            headers.insert(header::WWW_AUTHENTICATE, challenge(hint));
        }
        response
    }

    /// The bare code in an object. In the contract one alone ends its line (HTTP contract
    /// §4.5).
    fn code_object(&self, dialect: Dialect) -> String {
        let ends_line = dialect == Dialect::Contract && *self == Self::ModelNotFound;
        format!("{{\"error\":\"{}\"}}{}", self.code(), if ends_line { "\n" } else { "" })
    }

    /// The error as OpenAI's SDKs read it, also for an SSE event.
    pub fn open_ai(&self) -> serde_json::Value {
        let kind = match self.status().as_u16() {
            401 | 403 => "authentication_error",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            _ => "server_error",
        };
        serde_json::json!({ "error": {
            "message": self.to_string(), "type": kind, "param": null, "code": self.code(),
        } })
    }

    /// The error as MCP clients of the old relay match on it.
    fn json_rpc(&self, code: &str) -> serde_json::Value {
        serde_json::json!({ "jsonrpc": "2.0", "id": null, "error": {
            "code": -32000, "message": self.to_string(), "data": { "mcp": code },
        } })
    }

    /// The text in `data.mcp`; `None` for the errors that are text. No wildcard arm: a new
    /// variant must choose.
    fn rpc_code(&self) -> Option<&'static str> {
        Some(match self {
            Self::BadRequest(_) => "MCP_SCHEMA_ERROR",
            Self::Forbidden(_) => "MCP_FORBIDDEN",
            Self::NoWorker | Self::ModelNotFound => "PROVIDER_UNAVAILABLE",
            Self::RequestTimeout | Self::Timeout => "MCP_TIMEOUT",
            Self::TooLarge { .. } | Self::UriTooLong { .. } | Self::HeadersTooLarge => "MCP_LIMIT_EXCEEDED",
            Self::TooManyLogins { .. } | Self::TooManyTunnels { .. } | Self::WorkerBusy { .. } => {
                "LIMIT_EXCEEDED"
            }
            Self::Internal => "MCP_INTERNAL",
            Self::UpstreamError => "MCP_UPSTREAM_ERROR",
            Self::Unauthorized(_) | Self::NotFound | Self::MethodNotAllowed | Self::Draining => return None,
        })
    }

    /// HTTP contract §1.2, §4.2: these are sentences, all others are JSON codes.
    fn is_text_in_contract(&self) -> bool {
        matches!(self, Self::BadRequest(_) | Self::NotFound | Self::NoWorker)
    }

    /// The error as text: sentences of the contract where it has one, else what a
    /// person should know, else the code.
    fn text(&self) -> &str {
        match self {
            Self::BadRequest(why) | Self::Unauthorized(why) | Self::Forbidden(why) => why,
            Self::NotFound => "404 page not found",
            Self::NoWorker => "no worker",
            other => other.code(),
        }
    }
}

/// When clients should come back after a pick that found every worker busy.
const BUSY_RETRY_AFTER: Duration = Duration::from_secs(1);

impl From<PickError> for ApiError {
    /// "Busy" must not read as "not found" (KD-16).
    fn from(error: PickError) -> Self {
        match error {
            PickError::UnknownLabel => Self::NoWorker,
            PickError::Busy => Self::WorkerBusy { retry_after: BUSY_RETRY_AFTER },
        }
    }
}

fn text(message: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{message}\n")));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn json(text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// RFC 6750 §3: the hint becomes `error_description`, where only printable ASCII
/// without quotes and backslashes is allowed.
fn challenge(hint: &str) -> HeaderValue {
    let clean: String = hint.chars().filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\')).collect();
    let value = format!("Bearer realm=\"nfrx\", error_description=\"{clean}\"");
    HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static("Bearer realm=\"nfrx\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: &ApiError, dialect: Dialect, status: u16, body: &str) {
        let response = error.response(dialect);
        assert_eq!(response.status().as_u16(), status);
        let bytes = response.body().as_bytes().expect("an error's body is at hand");
        assert_eq!(std::str::from_utf8(&bytes), Ok(body));
    }

    #[test]
    fn the_contract_mixes_text_and_json() {
        check(&ApiError::BadRequest("bad request".into()), Dialect::Contract, 400, "bad request\n");
        check(&ApiError::NoWorker, Dialect::Contract, 404, "no worker\n");
        check(&ApiError::NoWorker, Dialect::Json, 404, r#"{"error":"no_worker"}"#);
        check(&ApiError::ModelNotFound, Dialect::Contract, 404, "{\"error\":\"model_not_found\"}\n");
        check(&ApiError::Draining, Dialect::Contract, 503, r#"{"error":"draining"}"#);
        check(&ApiError::TooLarge { bytes_max: 9 }, Dialect::Contract, 413, r#"{"error":"too_large"}"#);
    }

    #[test]
    fn openai_clients_get_an_object_with_a_null_param() {
        let body = r#"{"error":{"code":"timeout","message":"the worker was silent for too long","param":null,"type":"server_error"}}"#;
        check(&ApiError::Timeout, Dialect::OpenAi, 504, body);
    }

    #[test]
    fn json_rpc_clients_get_an_error_object_without_an_id() {
        let body = r#"{"error":{"code":-32000,"data":{"mcp":"MCP_LIMIT_EXCEEDED"},"message":"the body is over the limit of 9 bytes"},"id":null,"jsonrpc":"2.0"}"#;
        check(&ApiError::TooLarge { bytes_max: 9 }, Dialect::JsonRpc, 413, body);
        check(&ApiError::Draining, Dialect::JsonRpc, 503, "draining\n");
        check(&ApiError::Unauthorized("send a key".into()), Dialect::JsonRpc, 401, "send a key\n");
    }

    #[test]
    fn busy_says_when_to_come_back_in_whole_seconds() {
        let busy = ApiError::WorkerBusy { retry_after: Duration::from_millis(1500) };
        assert_eq!(busy.response(Dialect::Json).headers()[header::RETRY_AFTER], "2");
    }

    #[test]
    fn busy_workers_are_not_taken_for_missing_ones() {
        check(&PickError::UnknownLabel.into(), Dialect::Json, 404, r#"{"error":"no_worker"}"#);
        check(&PickError::Busy.into(), Dialect::Json, 503, r#"{"error":"worker_busy"}"#);
    }

    #[test]
    fn a_hint_cannot_break_out_of_its_header() {
        let hint = ApiError::Unauthorized("a \"key\"\r\nSet-Cookie: x".into());
        let response = hint.response(Dialect::Contract);
        let value = &response.headers()[header::WWW_AUTHENTICATE];
        assert_eq!(value, "Bearer realm=\"nfrx\", error_description=\"a keySet-Cookie: x\"");
    }
}
