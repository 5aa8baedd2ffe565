//! An agent's upgrade request: judged, answered, handed to a task.

use std::pin::Pin;
use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use nfrx_spi::{ApiError, Body, Caller, CloseReason, HandlerResult, Io, RequestContext, Revocation, Upgrade};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tracing::debug;

use super::{KeyWatch, Parts, close_name, owner};
use crate::counters::Counted;
use crate::{SUBPROTOCOL, v1};

pub(super) fn upgrade(
    parts: &Arc<Parts>,
    mut request: Request<Body>,
    context: RequestContext,
) -> HandlerResult {
    if let Some(refusal) = refusal(&request) {
        return refusal;
    }
    let (Some(upgrade), Some(nonce)) =
        (request.extensions_mut().remove::<Upgrade>(), request.headers().get(header::SEC_WEBSOCKET_KEY))
    else {
        return Err(ApiError::Internal);
    };
    let accept = derive_accept_key(nonce.as_bytes());
    let shared = Arc::clone(parts);
    let caller = context.caller;
    let key = KeyWatch::new(request.extensions_mut().remove::<Revocation>());
    // An agent that asks for nothing speaks v1, and whoever asks for what we don't have may
    // try it, too (decision 4 of the design).
    let is_h2 = holds(request.headers(), header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL);
    parts.spawner.spawn(
        "tunnel",
        Box::pin(async move {
            match upgrade.stream().await {
                // Boxed: the upgrade is over, and only one of them is spoken.
                Ok(io) if is_h2 => Box::pin(owner::run(shared, io, caller, key)).await,
                Ok(io) => Box::pin(old(shared, io, caller, key)).await,
                Err(error) => debug!(%error, "an agent left before its upgrade was done"),
            }
        }),
    );
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if is_h2 {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    headers.insert(
        header::SEC_WEBSOCKET_ACCEPT,
        HeaderValue::from_str(&accept).map_err(|_| ApiError::Internal)?,
    );
    Ok(response)
}

/// Serves an agent that speaks what the plugin's old agents speak.
async fn old(parts: Arc<Parts>, io: Pin<Box<dyn Io>>, caller: Caller, key: KeyWatch) {
    let Some(legacy) = parts.legacy.clone() else { return v1::relay::run(parts, io, caller, key).await };
    let _open = Counted::new(&parts.counters, |counters| &counters.open);
    // A protocol of the plugin's own knows of no keys: its connection just ends.
    let reason = tokio::select! {
        reason = legacy.serve(io, caller) => reason,
        () = key.revoked() => close_name(CloseReason::Unauthorized),
    };
    parts.counters.closed(reason).inc();
}

/// The table of worker protocol §1. The login and the drain were judged before.
fn refusal(request: &Request<Body>) -> Option<HandlerResult> {
    let headers = request.headers();
    let is_upgrade = holds(headers, header::CONNECTION, "upgrade")
        && holds(headers, header::UPGRADE, "websocket")
        && request.version() == Version::HTTP_11;
    if !is_upgrade {
        let text = "this address takes WebSocket upgrades of agents over HTTP/1.1 only\n";
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        return Some(Ok(response));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        let mut response = ApiError::BadRequest("only WebSocket version 13 is spoken here".to_owned())
            .response(nfrx_spi::Dialect::Text);
        response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return Some(Ok(response));
    }
    let mut keys = headers.get_all(header::SEC_WEBSOCKET_KEY).iter();
    if !matches!((keys.next(), keys.next()), (Some(key), None) if key.len() == 24) {
        return Some(Err(ApiError::BadRequest(
            "`Sec-WebSocket-Key` must be there once, 24 characters".to_owned(),
        )));
    }
    if headers.get(header::ORIGIN).is_some_and(|origin| !is_own(origin, headers.get(header::HOST))) {
        return Some(Err(ApiError::Forbidden("pages of other origins may not open tunnels".to_owned())));
    }
    None
}

/// Whether an `Origin` names the host that was asked. Agents send none; a browser always
/// does, and its user's network may reach an open server that the page's author can't.
fn is_own(origin: &HeaderValue, host: Option<&HeaderValue>) -> bool {
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    let host = host.and_then(|host| host.to_str().ok());
    matches!((origin, host), (Some((_, origin)), Some(host)) if origin.eq_ignore_ascii_case(host))
}

/// Whether a list of words in headers of that name holds `word`, in any case.
fn holds(headers: &HeaderMap, name: header::HeaderName, word: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(word))
}
