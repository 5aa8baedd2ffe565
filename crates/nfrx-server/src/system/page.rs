//! The page `/state`: code without data, so it needs no key; what it shows it asks the
//! state API for, with the cookie that its reader's key was exchanged for. Plain modules
//! without a build step, embedded in the binary.

use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use nfrx_spi::{Body, Operation, RequestContext, Router};

use super::content;

/// No script but our own files, and nothing from elsewhere: a worker's name must never
/// become code (KD-29).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file of the page: its name below `/assets/`, its type, what is in it.
type Asset = (&'static str, &'static str, &'static str);

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

const PAGE: &str = include_str!("../../assets/state.html");

const ASSETS: &[Asset] = &[
    ("icon.svg", "image/svg+xml", include_str!("../../assets/icon.svg")),
    ("state.css", CSS, include_str!("../../assets/state.css")),
    ("actions.js", JS, include_str!("../../assets/actions.js")),
    ("dom.js", JS, include_str!("../../assets/dom.js")),
    ("fleet.js", JS, include_str!("../../assets/fleet.js")),
    ("format.js", JS, include_str!("../../assets/format.js")),
    ("jobs.js", JS, include_str!("../../assets/jobs.js")),
    ("mcp.js", JS, include_str!("../../assets/mcp.js")),
    ("models.js", JS, include_str!("../../assets/models.js")),
    ("options.js", JS, include_str!("../../assets/options.js")),
    ("others.js", JS, include_str!("../../assets/others.js")),
    ("session.js", JS, include_str!("../../assets/session.js")),
    ("state.js", JS, include_str!("../../assets/state.js")),
    ("store.js", JS, include_str!("../../assets/store.js")),
    ("stream.js", JS, include_str!("../../assets/stream.js")),
    ("table.js", JS, include_str!("../../assets/table.js")),
    ("totals.js", JS, include_str!("../../assets/totals.js")),
    ("workers.js", JS, include_str!("../../assets/workers.js")),
];

pub(super) fn routes(router: &mut Router) {
    let mut serve = |path: &str, kind, text| {
        router
            .get(path, move |_: Request<Body>, _: RequestContext| async move { Ok(file(kind, text)) })
            .operation(Operation { response_type: Some(media(kind)), ..Operation::default() });
    };
    serve("/state", "text/html; charset=utf-8", PAGE);
    for (name, kind, text) in ASSETS.iter().copied() {
        serve(&format!("/assets/{name}"), kind, text);
    }
    router.get("/", |_: Request<Body>, _: RequestContext| async {
        let mut response = Response::new(Body::from("The dashboard is at /state, the API at /v1.\n"));
        *response.status_mut() = StatusCode::FOUND;
        response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/state"));
        Ok(response)
    });
}

/// A content type without its parameters.
pub(super) fn media(kind: &'static str) -> &'static str {
    kind.split_once(';').map_or(kind, |(media, _)| media)
}

/// A file for browsers, which may load nothing from elsewhere.
pub(super) fn file(kind: &'static str, text: &'static str) -> Response<Body> {
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
