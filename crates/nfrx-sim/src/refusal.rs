//! Why a request gets an error, and the error's OpenAI form.

use http::StatusCode;

use crate::service::BODY_BYTES_MAX;

/// An error answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("no such path")]
    UnknownPath,
    #[error("method not allowed here")]
    WrongMethod,
    #[error("the model `{0}` does not exist")]
    UnknownModel(String),
    #[error("invalid request body: {0}")]
    BadJson(#[from] serde_json::Error),
    #[error("missing or invalid parameter: '{name}'{hint}")]
    BadParameter { name: &'static str, hint: &'static str },
    #[error("request body over {BODY_BYTES_MAX} bytes")]
    BodyTooLarge,
    #[error("simulated backend is at its concurrency limit")]
    Busy,
    #[error("simulated failure")]
    Injected,
    #[error("simulated status {0}")]
    Asked(StatusCode),
}

impl Refusal {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::UnknownPath | Self::UnknownModel(_) => StatusCode::NOT_FOUND,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::BadJson(_) | Self::BadParameter { .. } => StatusCode::BAD_REQUEST,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            Self::Injected => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Asked(status) => *status,
        }
    }

    /// `{"error":{"message","type","param","code"}}`.
    pub(crate) fn body(&self) -> String {
        let status = self.status();
        let kind = match status {
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        let (param, code) = match self {
            Self::UnknownModel(_) => (Some("model"), Some("model_not_found")),
            Self::BadParameter { name, .. } => (Some(*name), None),
            Self::Busy => (None, Some("rate_limit_exceeded")),
            Self::UnknownPath
            | Self::WrongMethod
            | Self::BadJson(_)
            | Self::BodyTooLarge
            | Self::Injected
            | Self::Asked(_) => (None, None),
        };
        let message = self.to_string();
        serde_json::json!({"error": {"message": message, "type": kind, "param": param, "code": code}})
            .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(refusal: &Refusal, status: u16, kind: &str, param: Option<&str>, code: Option<&str>) {
        let body: serde_json::Value = serde_json::from_str(&refusal.body()).unwrap();
        let error = &body["error"];
        assert_eq!(refusal.status().as_u16(), status);
        assert_eq!(error["type"], kind);
        assert_eq!((error["param"].as_str(), error["code"].as_str()), (param, code));
        assert_eq!(error["message"], refusal.to_string());
    }

    #[test]
    fn an_error_names_its_kind_and_the_parameter_at_fault() {
        let unknown = Refusal::UnknownModel("a\"b".to_owned());
        check(&unknown, 404, "invalid_request_error", Some("model"), Some("model_not_found"));
        check(&Refusal::Busy, 429, "rate_limit_error", None, Some("rate_limit_exceeded"));
        check(&Refusal::Injected, 500, "server_error", None, None);
        let bad = Refusal::BadParameter { name: "input", hint: "" };
        check(&bad, 400, "invalid_request_error", Some("input"), None);
    }
}
