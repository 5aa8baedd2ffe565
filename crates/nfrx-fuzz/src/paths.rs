//! A path: to the server's routes it means what it says segment by segment, behind a guard
//! nothing escapes its judge, and what passes an agent's list means the same to a backend
//! that decodes it. The whole input is also taken for the public id of a server.

use std::sync::LazyLock;

use http::{Method, Request, Uri};
use nfrx_agent::{AllowList, is_plain_path};
use nfrx_mcp::fuzzing::{is_public_id, segment};
use nfrx_server::fuzzing::{Found, Routes};
use nfrx_spi::{ApiError, Body, HandlerResult, RequestContext, Router};
use nfrx_tunnel::worker_target;

/// Patterns as plugins have them; those below `/v1` behind a guard.
const PATTERNS: [&str; 6] = [
    "/api/x",
    "/api/x/{channel}",
    "/api/x/id/{worker}",
    "/api/x/v1/models",
    "/api/x/v1/models/{model}",
    "/api/x/v1/files/{*rest}",
];
const GUARDED: &str = "/api/x/v1/";
const NAMES: [&str; 4] = ["channel", "worker", "model", "rest"];

static ROUTES: LazyLock<Routes> = LazyLock::new(|| {
    let mut router = Router::new("x", "/api/x");
    router.get("", nothing);
    router.get("/{channel}", nothing);
    router.get("/id/{worker}", nothing);
    router.route("/v1", |v1| {
        v1.guard();
        v1.get("/models", nothing);
        v1.get("/models/{model}", nothing);
        v1.get("/files/{*rest}", nothing);
    });
    Routes::new(router).expect("no overlap")
});

async fn nothing(_: Request<Body>, _: RequestContext) -> HandlerResult {
    Err(ApiError::NotFound)
}

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if is_public_id(text) {
        let path = format!("/api/x/id/{}", segment(text));
        let expected = Found::Route(PATTERNS[2].to_owned(), values("worker", text));
        assert_eq!(ROUTES.find(&Method::GET, &path, &NAMES), expected, "an id that can't be reached");
    }
    let Ok(uri) = text.parse::<Uri>() else { return };
    route(uri.path());
    allow(&uri);
    if let Ok(target) = worker_target("/v1/models", &uri) {
        assert_eq!((target.path(), target.query()), ("/v1/models", uri.query()));
    }
}

fn values(name: &str, value: &str) -> Vec<String> {
    NAMES.iter().map(|known| if *known == name { value.to_owned() } else { String::new() }).collect()
}

fn route(path: &str) {
    match ROUTES.find(&Method::GET, path, &NAMES) {
        Found::Route(pattern, found) => {
            assert!(PATTERNS.contains(&&*pattern));
            let mut expected = vec![String::new(); NAMES.len()];
            let mut segments = path.split('/');
            for part in pattern.split('/') {
                let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
                let Some(name) = name else {
                    assert_eq!(segments.next(), Some(part), "{pattern} for {path}");
                    continue;
                };
                let raw = match name.strip_prefix('*') {
                    Some(_) => segments.by_ref().collect::<Vec<_>>().join("/"),
                    None => segments.next().expect("one for each parameter").to_owned(),
                };
                let at = NAMES.iter().position(|known| *known == name.trim_start_matches('*'));
                expected[at.expect("a known name")] = decoded(&raw).expect("text");
            }
            assert_eq!((segments.next(), &found), (None, &expected), "{pattern} for {path}");
            assert!(!found.iter().any(|value| value.chars().any(char::is_control) || is_dots(value)));
        }
        Found::None { judged } => {
            assert!(judged || !path.starts_with(GUARDED), "nobody judges {path}");
        }
    }
}

fn allow(uri: &Uri) {
    let path = uri.path();
    let list = AllowList::new().exact(Method::GET, "/models").below(Method::GET, "/files");
    if list.allows(&Method::GET, uri) {
        assert!(is_plain_path(path));
        assert!(path == "/models" || path.len() > "/files/".len() && path.starts_with("/files/"), "{path}");
    }
    assert!(!list.allows(&Method::POST, uri));
    if !is_plain_path(path) || path == "/" {
        return;
    }
    // As some backend reads it: decoded first, then cut and tidied up.
    let Some(once) = decoded(path) else { return };
    assert_eq!(decoded(&once).as_ref(), Some(&once), "decoded twice it is another");
    assert_eq!(once.matches('/').count(), path.matches('/').count(), "another depth");
    assert!(!once.contains('\\'));
    assert!(once.split('/').skip(1).all(|segment| !segment.is_empty() && !is_dots(segment)), "{once}");
}

fn is_dots(segment: &str) -> bool {
    matches!(segment, "." | "..")
}

/// The text that an encoded one stands for.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let code = behind.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        let code = code.filter(|code| *first == b'%' && code.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8(bytes).ok()
}
