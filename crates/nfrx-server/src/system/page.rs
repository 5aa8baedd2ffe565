//! The page `/state`: code without data, so it needs no key; what it shows it asks the
//! state API for, with the key its reader types in.

use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use nfrx_spi::{Body, RequestContext, Router};

use super::content;

/// No script but our own files, and nothing from elsewhere: a worker's name must never
/// become code (KD-29).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const FILES: [(&str, &str, &str); 3] = [
    ("/state", "text/html; charset=utf-8", include_str!("../../assets/state.html")),
    ("/assets/state.js", "text/javascript; charset=utf-8", include_str!("../../assets/state.js")),
    ("/assets/state.css", "text/css; charset=utf-8", include_str!("../../assets/state.css")),
];

pub(super) fn routes(router: &mut Router) {
    for (path, kind, text) in FILES {
        router.get(path, move |_: Request<Body>, _: RequestContext| async move { Ok(file(kind, text)) });
    }
    router.get("/", |_: Request<Body>, _: RequestContext| async {
        let mut response = Response::new(Body::from("The dashboard is at /state, the API at /v1.\n"));
        *response.status_mut() = StatusCode::FOUND;
        response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/state"));
        Ok(response)
    });
}

fn file(kind: &'static str, text: &'static str) -> Response<Body> {
    let mut response = content(kind, text);
    let said: [(HeaderName, &'static str); 3] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    for (name, value) in said {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
