//! A server of which not every tool is open: judges what goes in, shortens what comes out.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use nfrx_spi::{Body, BodyError, BoxFuture, CallError};
use tracing::info;

use super::judge::{Call, calls};
use super::{Rules, ToolPolicy, answer};
use crate::agent::talk;
use crate::agent::upstream::Upstream;
use crate::offer::CALLER_HEADER;

/// A longer request can't be judged.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The server behind its rules. Clones share them.
#[derive(Clone)]
pub(in crate::agent) struct Guard {
    inner: Arc<dyn Upstream>,
    rules: Arc<Rules>,
}

impl Guard {
    /// The server itself, if everything may pass; else behind its rules.
    pub(in crate::agent) fn around(inner: Arc<dyn Upstream>, policy: ToolPolicy) -> Arc<dyn Upstream> {
        match policy.is_open() {
            true => inner,
            false => Arc::new(Self { inner, rules: Arc::new(Rules::new(policy)) }),
        }
    }

    async fn serve(self, request: Request<Body>) -> Result<Response<Body>, CallError> {
        let (mut head, body) = request.into_parts();
        let key = head.headers.get(CALLER_HEADER).and_then(|key| key.to_str().ok()).map(str::to_owned);
        // What is coded could not be shortened.
        head.headers.remove(ACCEPT_ENCODING);
        let body = match head.method {
            Method::POST => {
                let body = whole(body).await?;
                if let Some(refusal) = self.refusal(&body, key.as_deref()).await {
                    return Ok(refusal);
                }
                head.headers.remove(CONTENT_LENGTH);
                Body::from(body)
            }
            _ => body,
        };
        let answer = self.inner.handle(Request::from_parts(head, body)).await?;
        answer::filtered(answer, self.rules, key).await
    }

    /// The answer to what may not pass.
    async fn refusal(&self, body: &Bytes, key: Option<&str>) -> Option<Response<Body>> {
        let found = std::str::from_utf8(body).ok().and_then(|text| calls(text).ok());
        let Some(found) = found else {
            let text = "this server's tools are not all open, and this is no JSON-RPC message that every reader reads alike\n";
            return Some(refused(StatusCode::BAD_REQUEST, "text/plain; charset=utf-8", text.to_owned()));
        };
        let closed = |call: &&Call| !self.rules.allow(key, &call.tool);
        if self.rules.policy.read_only && found.iter().any(|call| closed(&call)) && self.rules.may_ask() {
            self.look().await;
        }
        let closed = found.iter().find(closed)?;
        info!(
            key = key.unwrap_or_default(),
            tool = closed.tool,
            "a call was refused by the server's list of tools"
        );
        Some(match found.as_slice() {
            [Call { id, tool }] => refused(StatusCode::OK, "application/json", unknown_tool(id, tool)),
            _ => {
                let text = format!("the batch calls `{}`, which is not offered here\n", closed.tool);
                refused(StatusCode::FORBIDDEN, "text/plain; charset=utf-8", text)
            }
        })
    }

    /// Asks the server for its tools, to learn which of them change nothing.
    async fn look(&self) {
        let tools = talk::tools(&self.inner).await.unwrap_or_default();
        for tool in tools {
            self.rules.learn(&tool.name, tool.read_only);
        }
    }
}

impl Upstream for Guard {
    fn handle(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        Box::pin(self.clone().serve(request))
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), String>> {
        self.inner.probe()
    }

    fn last_words(&self) -> Option<Vec<String>> {
        self.inner.last_words()
    }
}

async fn whole(body: Body) -> Result<Bytes, CallError> {
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<BodyError>() => Err(CallError::RequestBody),
        Err(_) => Err(CallError::TooLarge { bytes_max: BODY_BYTES_MAX as u64 }),
    }
}

/// What servers say of a tool that they don't have. The id is put in as it was written.
fn unknown_tool(id: &str, tool: &str) -> String {
    let message = serde_json::Value::from(format!("Unknown tool: {tool}"));
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32602,"message":{message}}}}}"#)
}

fn refused(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
