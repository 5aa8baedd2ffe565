//! Which endpoint a request is for.

use http::Method;
use percent_encoding::percent_decode_str;

use crate::refusal::Refusal;

/// An endpoint. All are served with and without the `/v1` prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    Models,
    Model(String),
    Props,
    ApiVersion,
    Health,
    Work(Work),
}

/// An endpoint that answers something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Chat,
    Completions,
    Responses,
    Embeddings,
    Transcriptions,
    Conversion,
}

impl Route {
    pub(crate) fn find(method: &Method, path: &str) -> Result<Self, Refusal> {
        let path = path.strip_prefix("/v1/").or_else(|| path.strip_prefix('/')).unwrap_or(path);
        let (route, expected) = match path {
            "models" => (Self::Models, Method::GET),
            "props" => (Self::Props, Method::GET),
            "api/version" => (Self::ApiVersion, Method::GET),
            "health" => (Self::Health, Method::GET),
            "chat/completions" => (Self::Work(Work::Chat), Method::POST),
            "completions" => (Self::Work(Work::Completions), Method::POST),
            "responses" => (Self::Work(Work::Responses), Method::POST),
            "embeddings" => (Self::Work(Work::Embeddings), Method::POST),
            "audio/transcriptions" => (Self::Work(Work::Transcriptions), Method::POST),
            "convert/file" | "convert/source" => (Self::Work(Work::Conversion), Method::POST),
            other => {
                // Model names hold slashes, encoded or not.
                let id = other.strip_prefix("models/").ok_or(Refusal::UnknownPath)?;
                (Self::Model(percent_decode_str(id).decode_utf8_lossy().into_owned()), Method::GET)
            }
        };
        if *method == expected { Ok(route) } else { Err(Refusal::WrongMethod) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &str, path: &str, expected: &str) {
        let found = match Route::find(&method.parse().unwrap(), path) {
            Ok(route) => format!("{route:?}"),
            Err(refusal) => refusal.status().as_u16().to_string(),
        };
        assert_eq!(found, expected, "request was `{method} {path}`");
    }

    #[test]
    fn endpoints_are_found_with_and_without_prefix() {
        check("GET", "/v1/models", "Models");
        check("GET", "/models", "Models");
        check("POST", "/v1/chat/completions", "Work(Chat)");
        check("POST", "/chat/completions", "Work(Chat)");
        check("GET", "/props", "Props");
        check("POST", "/v1/convert/file", "Work(Conversion)");
        check("GET", "/v1/models/org/name%2Fx:y", r#"Model("org/name/x:y")"#);
    }

    #[test]
    fn other_paths_and_methods_are_refused() {
        check("GET", "/", "404");
        check("GET", "/v2/models", "404");
        check("GET", "/v1/chat/completions", "405");
        check("POST", "/models", "405");
    }
}
