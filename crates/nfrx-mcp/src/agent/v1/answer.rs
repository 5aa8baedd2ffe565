//! What a server answers, as the one JSON value that an old relay takes (MCP contract §4.3).

use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Limited};
use nfrx_spi::Body;
use nfrx_tunnel::AgentService;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::agent::service::McpService;
use crate::agent::talk;
use crate::message::Glance;
use crate::offer::tunnel_path;

/// A longer answer is not held.
const ANSWER_BYTES_MAX: usize = 10 * 1024 * 1024;

/// Of an answer that is no success, so much is repeated.
const BODY_SHOWN: usize = 64 * 1024;

/// Asks the server `id` and gives what the relay is told: there is always something (KD-125).
pub(super) async fn to(service: &McpService, id: &str, payload: &str) -> Box<RawValue> {
    let glance = Glance::at(payload.as_bytes(), true);
    let message_id = glance.id.as_deref().unwrap_or("null");
    let mut request = Request::new(Body::from(payload.to_owned()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::try_from(tunnel_path(id)).unwrap_or_default();
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    match service.call(request).await {
        Ok(answer) => of_answer(answer, message_id).await,
        Err(_) => failure(message_id, None),
    }
}

async fn of_answer(answer: Response<Body>, id: &str) -> Box<RawValue> {
    let (head, body) = answer.into_parts();
    if head.status != StatusCode::OK {
        let body = Limited::new(body, BODY_SHOWN).collect().await.map(|body| body.to_bytes());
        let text = String::from_utf8_lossy(&body.unwrap_or_default()).into_owned();
        return failure(id, Some((head.status, text)));
    }
    let message = match talk::is_events(&head.headers) {
        true => answer_in(body, id).await,
        false => whole(body).await,
    };
    message.unwrap_or_else(|| failure(id, None))
}

async fn whole(body: Body) -> Option<Box<RawValue>> {
    let whole = Limited::new(body, ANSWER_BYTES_MAX).collect().await.ok()?.to_bytes();
    serde_json::from_slice(&whole).ok()
}

/// The answer among what a stream says: what comes before it can't be carried (KD-122).
async fn answer_in(body: Body, id: &str) -> Option<Box<RawValue>> {
    let id: Value = serde_json::from_str(id).ok()?;
    let found = talk::pick(body, ANSWER_BYTES_MAX, |data| {
        let message: Value = serde_json::from_slice(data).ok()?;
        let is_answer = message.get("method").is_none() && message.get("id") == Some(&id);
        is_answer.then(|| serde_json::from_slice(data).ok()).flatten()
    });
    found.await.ok()?
}

/// The error that old callers know, with the id of their own message (KD-135).
fn failure(id: &str, answer: Option<(StatusCode, String)>) -> Box<RawValue> {
    let mut data = serde_json::json!({ "mcp": "MCP_UPSTREAM_ERROR" });
    if let Some((status, body)) = answer {
        data["status"] = status.as_u16().into();
        if !body.is_empty() {
            data["body"] = body.into();
        }
    }
    let text = format!(
        r#"{{"error":{{"code":-32000,"data":{data},"message":"Provider error"}},"id":{id},"jsonrpc":"2.0"}}"#
    );
    // The id is JSON: it was read out of JSON.
    RawValue::from_string(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn of(status: u16, kind: &str, body: &str) -> String {
        let answer = Response::builder().status(status).header("content-type", kind);
        let answer = answer.body(Body::from(body.to_owned())).expect("valid");
        of_answer(answer, "12345678901234567890123").await.get().to_owned()
    }

    // Seen to fail: with the first event taken for the answer.
    #[tokio::test]
    async fn an_old_relay_gets_the_answer_and_nothing_else() {
        let answer = r#"{"id":12345678901234567890123,"result":{"n":1.0}}"#;
        assert_eq!(of(200, "application/json", answer).await, answer);
        let stream =
            format!("data: {{\"method\":\"notifications/progress\"}}\n\nevent: message\ndata: {answer}\n\n");
        assert_eq!(of(200, "text/event-stream", &stream).await, answer);
    }

    #[tokio::test]
    async fn whatever_goes_wrong_there_is_an_answer_with_the_callers_id() {
        for (status, kind, body) in [
            (200, "text/html", "<html>"),
            (200, "application/json", ""),
            (200, "text/event-stream", "data: 1\n\n"),
        ] {
            let expected = r#"{"error":{"code":-32000,"data":{"mcp":"MCP_UPSTREAM_ERROR"},"message":"Provider error"},"id":12345678901234567890123,"jsonrpc":"2.0"}"#;
            assert_eq!(of(status, kind, body).await, expected, "{kind}");
        }
        let said = of(400, "text/plain", "no session").await;
        assert!(said.contains(r#""status":400"#) && said.contains(r#""body":"no session""#), "{said}");
    }
}
