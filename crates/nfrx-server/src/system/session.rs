//! Signing in: the page shows a key once and keeps a cookie that no script can read
//! (decision 34).

use std::sync::Arc;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use nfrx_spi::{Access, ApiError, Body, Dialect, Operation, RequestContext, Router};
use serde::Deserialize;
use serde_json::json;

use super::object;
use crate::front::Shared;
use crate::gate::{COOKIE_NAME, LIFETIME, Peer, Rights};
use crate::telemetry::Bound;

const PATH: &str = "/api/state/session";

/// What the page posts. A `Debug` would print the key.
#[derive(Deserialize)]
struct SignIn {
    key: String,
}

/// `GET` tells what whoever asks may do, `POST {"key"}` begins a session, `DELETE` ends it.
pub(super) fn routes(router: &mut Router, shared: &Arc<Shared>) {
    router.access(Access::Open).dialect(Dialect::Json);
    let of = Arc::clone(shared);
    let shown = move |request: Request<Body>, _: RequestContext| {
        let result = peer(&request).map(|peer| rights(&of.gate.rights(&peer, request.headers())));
        async move { result }
    };
    router.get(PATH, shown).operation(Operation {
        summary: "Tells what whoever asks may do",
        response: Some(object(json!({
            "may_read": { "type": "boolean" },
            "may_act": { "type": "boolean" },
            "signed_in": { "type": "boolean" },
            "key": { "type": ["string", "null"] },
        }))),
        ..Operation::default()
    });
    let of = Arc::clone(shared);
    let begin = move |request: Request<Body>, _: RequestContext| sign_in(Arc::clone(&of), request);
    router.post(PATH, begin).operation(Operation {
        summary: "Begins a session with a key",
        request: Some(object(json!({ "key": { "type": "string" } }))),
        may_be_empty: true,
        ..Operation::default()
    });
    let of = Arc::clone(shared);
    let end = move |request: Request<Body>, _: RequestContext| {
        of.gate.sign_out(request.headers());
        of.telemetry.sessions(of.gate.session_count());
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let result = set_cookie(&mut response, "", 0, is_secure(&request)).map(|()| response);
        async move { result }
    };
    router.handle(Method::DELETE, PATH, end).operation(Operation {
        summary: "Ends the session",
        may_be_empty: true,
        ..Operation::default()
    });
}

async fn sign_in(shared: Arc<Shared>, request: Request<Body>) -> Result<Response<Body>, ApiError> {
    let peer = peer(&request)?;
    let secure = is_secure(&request);
    let unread = |_| ApiError::BadRequest("the body broke off".to_owned());
    let body = request.into_body().collect().await.map_err(unread)?.to_bytes();
    let unfit = |_| ApiError::BadRequest("the body must be {\"key\":\"…\"}".to_owned());
    let SignIn { key } = serde_json::from_slice(&body).map_err(unfit)?;
    let session = shared.gate.sign_in(&peer, &key)?;
    if session.displaced {
        shared.telemetry.refuse(Bound::Sessions);
    }
    shared.telemetry.sessions(shared.gate.session_count());
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    set_cookie(&mut response, session.token.reveal(), LIFETIME.as_secs(), secure)?;
    Ok(response)
}

fn rights(rights: &Rights) -> Response<Body> {
    let key = rights.caller.as_ref().and_then(|caller| caller.key.as_deref());
    let rights = json!({
        "may_read": rights.caller.is_some(),
        "may_act": rights.may_act,
        "signed_in": rights.has_session,
        "key": key,
    });
    let mut response = super::json(&rights, true);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The cookie goes back to this origin only, to no script, and with no request that
/// another site's page makes.
fn set_cookie(
    response: &mut Response<Body>,
    value: &str,
    seconds: u64,
    secure: bool,
) -> Result<(), ApiError> {
    let secure = if secure { "; Secure" } else { "" };
    let cookie =
        format!("{COOKIE_NAME}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    let mut value = HeaderValue::from_str(&cookie).map_err(|_| ApiError::Internal)?;
    value.set_sensitive(true);
    response.headers_mut().insert(header::SET_COOKIE, value);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(())
}

/// Whether the page is on https: the browser says so itself, whatever proxies are between.
fn is_secure(request: &Request<Body>) -> bool {
    request.headers().get(header::ORIGIN).is_some_and(|origin| origin.as_bytes().starts_with(b"https://"))
}

fn peer(request: &Request<Body>) -> Result<Peer, ApiError> {
    request.extensions().get::<Peer>().copied().ok_or(ApiError::Internal)
}
