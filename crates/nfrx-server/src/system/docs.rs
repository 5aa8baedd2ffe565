//! `/api/client/`: the API's document and a page that shows it (KD-35, KD-36). The page is
//! our own and loads nothing from elsewhere.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderValue, Request, header};
use nfrx_spi::{Access, Body, Operation, RequestContext, Route, Router};

use super::page::{file, media};
use super::{content, openapi};

/// Where everything of the document is.
const ROOT: &str = "/api/client";

const PAGE: &str = include_str!("../../assets/api.html");

/// Whatever else is asked for below it is the page, as ever (HTTP contract §2).
const FILES: [(&str, &str, &str); 5] = [
    ("", "text/html; charset=utf-8", PAGE),
    ("/", "text/html; charset=utf-8", PAGE),
    ("/{*rest}", "text/html; charset=utf-8", PAGE),
    ("/api.js", "text/javascript; charset=utf-8", include_str!("../../assets/api.js")),
    ("/api.css", "text/css; charset=utf-8", include_str!("../../assets/api.css")),
];

/// The routes of document and page; `served` are all others.
pub(super) fn routes(served: &[Route], version: &str, url: Option<&str>) -> Vec<Route> {
    // The document names its own route, which must be there first.
    let text = Arc::new(OnceLock::<Bytes>::new());
    let mut router = Router::new("", ROOT);
    router.access(Access::Open);
    let shown = Arc::clone(&text);
    let document = move |_: Request<Body>, _: RequestContext| {
        let mut response = content("application/json", shown.get().cloned().unwrap_or_default());
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        async move { Ok(response) }
    };
    let operation = Operation {
        summary: "Describes the API as OpenAPI 3.1",
        response: Some(serde_json::json!({ "type": "object" })),
        ..Operation::default()
    };
    router.get("/openapi.json", document).operation(operation);
    for (path, kind, text) in FILES {
        router
            .get(path, move |_: Request<Body>, _: RequestContext| async move { Ok(file(kind, text)) })
            .operation(Operation { response_type: Some(media(kind)), ..Operation::default() });
    }
    let routes = router.into_parts().0;
    let all: Vec<_> = served.iter().chain(&routes).cloned().collect();
    let document = openapi::document(&all, version, url);
    let _ = text.set(document.to_string().into());
    routes
}
