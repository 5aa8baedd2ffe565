//! What a client is told when the relay itself has to answer (decision 25, MCP contract
//! §3.2, KD-134). None of it can be taken for an answer of a server of the modern era.

use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use http::{Response, StatusCode};
use nfrx_spi::{Body, BodyError, CallError};

/// What a caller is asked for whose token an old agent does not know.
const CHALLENGE: HeaderValue = HeaderValue::from_static(
    "Bearer realm=\"nfrx\", error=\"invalid_token\", error_description=\"this MCP server wants its own token (AUTH_TOKEN of its agent)\"",
);

/// Why a server's own answer is not to be had. A variant exists because clients react to it
/// differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// Nobody ever served this id.
    #[error("no MCP server of this id was ever connected here")]
    Unknown,
    /// The server has nothing below its own address.
    #[error("404 page not found")]
    NoPath,
    /// Its agent is away, or takes nothing new.
    #[error("relay offline")]
    Away,
    /// The session belongs to another key.
    #[error("this session belongs to another key")]
    Foreign,
    /// As many calls as may be are with this agent.
    #[error("too many concurrent calls")]
    Busy,
    /// The agent, or its tunnel, was lost before it answered. It may have passed the
    /// request on, so it is not sent again.
    #[error("the agent was lost before it answered")]
    Lost,
    /// The agent can't reach its server, or the server broke off before its answer began.
    #[error("Provider error")]
    Upstream,
    /// Nothing came within the limit.
    #[error("timeout waiting for response")]
    Timeout,
    /// The agent does not let this through.
    #[error("the agent does not allow this")]
    Refused,
    /// The way to the agent carries no request that long.
    #[error("the request is too long for this agent: update it")]
    TooLarge,
    /// The request's own body broke off.
    #[error("the request's body broke off")]
    Body,
    /// An old agent does not know the caller's token.
    #[error("open failed")]
    Unauthorized,
    /// An old agent refused the call otherwise.
    #[error("open failed")]
    NotOpened,
    /// The answer of an old agent is over its limit.
    #[error("the answer is too long")]
    AnswerTooLong,
    /// An old agent carries single requests only.
    #[error(
        "this server's agent is an old release, which carries single JSON-RPC requests only: no streams, no sessions. Update it"
    )]
    NotCarried,
    /// What came is no JSON-RPC request, and nothing else can be carried.
    #[error("invalid request")]
    Schema,
}

/// How a failure is to be written for one request.
#[derive(Debug, Clone, Default)]
pub(super) struct Form {
    /// The message's id as it is written; `null` when it is not known.
    pub(super) id: Option<String>,
    /// Whether the client is of the kind that matches on JSON-RPC errors of the relay.
    pub(super) json_rpc: bool,
    /// The request's id, for the one who reads both sides' logs.
    pub(super) request_id: String,
}

impl Failure {
    /// The failure of a call into the tunnel.
    pub(super) fn of_call(error: CallError) -> Self {
        match error {
            CallError::Lost => Self::Lost,
            CallError::Draining | CallError::Busy => Self::Away,
            CallError::Unreachable | CallError::Upstream => Self::Upstream,
            CallError::Timeout => Self::Timeout,
            CallError::RequestBody => Self::Body,
            CallError::Refused => Self::Refused,
            CallError::TooLarge { .. } => Self::TooLarge,
        }
    }

    /// The status. No wildcard arm: a new variant must choose.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Unknown | Self::NoPath => StatusCode::NOT_FOUND,
            Self::Away => StatusCode::SERVICE_UNAVAILABLE,
            Self::Foreign | Self::Refused => StatusCode::FORBIDDEN,
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            Self::Lost | Self::Upstream => StatusCode::BAD_GATEWAY,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body | Self::Schema => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::NotOpened => StatusCode::SERVICE_UNAVAILABLE,
            Self::AnswerTooLong => StatusCode::BAD_GATEWAY,
            Self::NotCarried => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    /// The text in `data.mcp`, and the error code in metrics.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Unknown | Self::NoPath | Self::Away => "PROVIDER_UNAVAILABLE",
            Self::Foreign | Self::Refused => "MCP_FORBIDDEN",
            Self::Busy => "LIMIT_EXCEEDED",
            Self::Lost | Self::Upstream => "MCP_UPSTREAM_ERROR",
            Self::Timeout => "MCP_TIMEOUT",
            Self::TooLarge | Self::AnswerTooLong => "MCP_LIMIT_EXCEEDED",
            Self::Body | Self::Schema | Self::NotCarried => "MCP_SCHEMA_ERROR",
            Self::Unauthorized => "MCP_UNAUTHORIZED",
            Self::NotOpened => "MCP_PROVIDER_UNAVAILABLE",
        }
    }

    /// When to come back, in seconds, where that may help.
    fn retry_after(self) -> Option<u32> {
        match self {
            Self::Away | Self::NotOpened => Some(5),
            Self::Busy => Some(1),
            _ => None,
        }
    }

    /// The whole answer.
    pub(super) fn response(self, form: &Form) -> Response<Body> {
        let (kind, text) = match form.json_rpc {
            true => ("application/json", self.json_rpc(form)),
            false => ("text/plain; charset=utf-8", format!("{self}\n")),
        };
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(seconds) = self.retry_after() {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        match self {
            Self::NotCarried => drop(headers.insert(ALLOW, HeaderValue::from_static("POST"))),
            Self::Unauthorized => drop(headers.insert(WWW_AUTHENTICATE, CHALLENGE)),
            _ => {}
        }
        response
    }

    /// The members in the order in which they have always been. The id is put in as it was
    /// written: a number would not survive being read.
    fn json_rpc(self, form: &Form) -> String {
        let text = |text: &str| serde_json::Value::from(text).to_string();
        format!(
            r#"{{"error":{{"code":-32000,"data":{{"mcp":{},"req_id":{}}},"message":{}}},"id":{},"jsonrpc":"2.0"}}"#,
            text(self.code()),
            text(&form.request_id),
            text(&self.to_string()),
            form.id.as_deref().unwrap_or("null"),
        ) + "\n"
    }
}

/// The error code in metrics of an answer that broke off.
pub(super) fn broken_code(error: &BodyError) -> &'static str {
    match error {
        BodyError::IdleTimeout => "MCP_TIMEOUT",
        BodyError::ReaderStalled => "canceled",
        BodyError::Aborted | BodyError::Upstream | BodyError::TooLarge { .. } | BodyError::Io(_) => {
            "MCP_UPSTREAM_ERROR"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(failure: Failure, form: &Form) -> String {
        let bytes = failure.response(form).body().as_bytes().expect("an error's body is at hand");
        String::from_utf8(bytes.to_vec()).expect("text")
    }

    #[test]
    fn an_old_client_finds_its_id_and_the_codes_it_knows() {
        let id = Some("12345678901234567890123".to_owned());
        let form = Form { id, json_rpc: true, request_id: "r\"1".to_owned() };
        let expected = r#"{"error":{"code":-32000,"data":{"mcp":"PROVIDER_UNAVAILABLE","req_id":"r\"1"},"message":"relay offline"},"id":12345678901234567890123,"jsonrpc":"2.0"}"#;
        assert_eq!(body(Failure::Away, &form), format!("{expected}\n"));
        let nameless = Form { json_rpc: true, ..Form::default() };
        assert!(body(Failure::Busy, &nameless).contains(r#""id":null"#));
    }

    #[test]
    fn everybody_else_gets_text_and_when_to_come_back() {
        let form = Form::default();
        assert_eq!(body(Failure::Away, &form), "relay offline\n");
        let response = Failure::Away.response(&form);
        assert_eq!(
            (response.status().as_u16(), &response.headers()[RETRY_AFTER]),
            (503, &HeaderValue::from(5))
        );
        assert_eq!(Failure::Unknown.response(&form).status(), 404);
    }
}
