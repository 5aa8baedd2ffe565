//! The description of a server as a protected resource (RFC 9728), at the well-known
//! address with the resource's path inserted. Only with `PUBLIC_URL`: what a request says of
//! our address proves nothing.

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use nfrx_spi::{ApiError, Body, HandlerResult};
use serde_json::{Value, json};

use crate::offer::segment;

/// Where it is served, before the resource's own path.
pub(super) const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// Our public address, if it is known.
#[derive(Debug, Clone)]
pub(super) struct Metadata {
    public_url: Option<String>,
}

impl Metadata {
    /// For a server at this address, which has no slash at its end.
    pub(super) fn new(public_url: Option<String>) -> Self {
        Self { public_url }
    }

    /// Where a server is described.
    pub(super) fn url(&self, id: &str) -> Option<String> {
        self.public_url.as_deref().map(|url| {
            let (origin, path) = split_origin(url);
            format!("{origin}{WELL_KNOWN}{path}/api/mcp/id/{}", segment(id))
        })
    }

    /// What is said of a server. `own` is what the server's provider says of itself, where
    /// callers show it their own tokens: of that only the resource is not true here.
    pub(super) fn describe(&self, id: &str, own: Option<Value>) -> HandlerResult {
        let Some(url) = &self.public_url else { return Err(ApiError::NotFound) };
        let mut document = own.filter(Value::is_object).unwrap_or_else(|| {
            json!({ "resource_name": "MCP server behind a relay", "bearer_methods_supported": ["header"] })
        });
        document["resource"] = format!("{url}/api/mcp/id/{}", segment(id)).into();
        let mut response = Response::new(Body::from(document.to_string()));
        *response.status_mut() = StatusCode::OK;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }
}

/// The scheme and host of a URL, and its path.
fn split_origin(url: &str) -> (&str, &str) {
    let host_at = url.find("://").map_or(0, |at| at + 3);
    let path_at = url[host_at..].find('/').map_or(url.len(), |at| host_at + at);
    url.split_at(path_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(answer: HandlerResult) -> Value {
        let bytes = answer.expect("an answer").body().as_bytes().expect("at hand");
        serde_json::from_slice(&bytes).expect("JSON")
    }

    #[test]
    fn the_well_known_address_has_the_resources_path_behind_it() {
        let at = |url: &str| Metadata::new(Some(url.to_owned())).url("a b").expect("it is known");
        assert_eq!(
            at("https://r.example"),
            "https://r.example/.well-known/oauth-protected-resource/api/mcp/id/a%20b"
        );
        assert_eq!(
            at("https://r.example/x"),
            "https://r.example/.well-known/oauth-protected-resource/x/api/mcp/id/a%20b"
        );
        assert_eq!(Metadata::new(None).url("a"), None);
    }

    #[test]
    fn the_resource_is_the_address_that_clients_use() {
        let metadata = Metadata::new(Some("https://r.example".to_owned()));
        assert_eq!(body(metadata.describe("a", None))["resource"], "https://r.example/api/mcp/id/a");
        let own =
            json!({ "resource": "http://10.0.0.5/mcp", "authorization_servers": ["https://as.example"] });
        let described = body(metadata.describe("a", Some(own)));
        assert_eq!(described["resource"], "https://r.example/api/mcp/id/a");
        assert_eq!(described["authorization_servers"][0], "https://as.example");
        assert!(Metadata::new(None).describe("a", None).is_err());
    }
}
