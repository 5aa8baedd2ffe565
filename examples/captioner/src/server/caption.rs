//! One picture: streamed to a worker that was picked by its style.
//!
//! This is the SPI's own way to a worker: take one with its slot, call it, give the slot
//! back by dropping it. A picture that streams is not kept, so there is no second try; for
//! that, and for waiting in a queue, see `captions`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Uri};
use http_body_util::{BodyExt, Limited};
use nfrx_pool::DispatchError;
use nfrx_spi::{ApiError, Body, CallError, HandlerResult, RequestContext, RequestId, Scheduler, WorkerRef};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::Deserialize;
use serde_json::json;

use super::metrics::End;
use super::{Service, answer};
use crate::wire::{self, Outcome};

/// A worker's answer to one picture may have this many bytes; a caption is a sentence.
pub(super) const ANSWER_BYTES_MAX: usize = 4096;

impl Service {
    /// `POST /v1/caption?style=…`: the body is the picture.
    pub(super) async fn caption(
        self: Arc<Self>,
        scheduler: Arc<dyn Scheduler>,
        request: Request<Body>,
        context: RequestContext,
    ) -> HandlerResult {
        let style = self.style(asked_style(request.uri())?, &context.caller.scopes)?;
        let picked = scheduler.pick_worker(&style).inspect_err(|_| self.metrics.no_worker())?;
        let began = self.clock.now();
        let asking = ask(&**picked.worker(), &style, request.into_body(), &context.id);
        let outcome = tokio::select! {
            outcome = asking => outcome,
            () = self.too_late() => Err(ApiError::Timeout),
        };
        // The worker is free before the client reads, however slowly it does.
        drop(picked);
        self.metrics.one(&style, End::of(&outcome), self.clock.now().since(began));
        match outcome? {
            Outcome::Caption(caption) => Ok(answer(&json!({ "style": style, "caption": caption }))),
            Outcome::Error(why) => Err(ApiError::BadRequest(why)),
        }
    }

    /// Completes when a worker has had its time.
    async fn too_late(&self) {
        match self.options.caption_time_max {
            Duration::ZERO => std::future::pending().await,
            limit => self.clock.sleep(limit).await,
        }
    }
}

/// Sends the picture and reads the answer, which must be of the agreed form.
async fn ask(
    worker: &dyn WorkerRef,
    style: &str,
    picture: Body,
    id: &RequestId,
) -> Result<Outcome, ApiError> {
    let style = utf8_percent_encode(style, NON_ALPHANUMERIC);
    let mut call = Request::post(format!("{}?style={style}", wire::CAPTION))
        .body(picture)
        .map_err(|_| ApiError::BadRequest("the style can't be sent".to_owned()))?;
    call.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("image/x-portable-pixmap"));
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        call.headers_mut().insert("x-request-id", id);
    }
    let response = worker.call(call).await.map_err(|error| failed(worker, error))?;
    if !response.status().is_success() {
        return Err(failed(worker, CallError::Upstream));
    }
    let outcome = read(response.into_body(), ANSWER_BYTES_MAX).await;
    outcome.ok_or_else(|| failed(worker, CallError::Upstream))
}

/// What a worker says, if it is whole, within its bound and of the expected form.
pub(super) async fn read<T: for<'a> Deserialize<'a>>(body: Body, bytes_max: usize) -> Option<T> {
    let whole: Bytes = Limited::new(body, bytes_max).collect().await.ok()?.to_bytes();
    serde_json::from_slice(&whole).ok()
}

fn failed(worker: &dyn WorkerRef, error: CallError) -> ApiError {
    tracing::warn!(worker = worker.id(), %error, "a picture was not captioned");
    DispatchError::from(error).into()
}

/// The style that the query names, if it does.
fn asked_style(uri: &Uri) -> Result<Option<String>, ApiError> {
    let pairs = uri.query().unwrap_or_default().split('&');
    let Some(style) = pairs.filter_map(|pair| pair.strip_prefix("style=")).next() else { return Ok(None) };
    let style = percent_decode_str(style).decode_utf8();
    style
        .map(|style| Some(style.into_owned()))
        .map_err(|_| ApiError::BadRequest("the style is not UTF-8".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_style_is_found_in_the_query() {
        for (uri, style) in [
            ("/caption", None),
            ("/caption?x=1", None),
            ("/caption?style=long", Some("long")),
            ("/caption?x=1&style=a%20b&style=c", Some("a b")),
        ] {
            let found = asked_style(&Uri::from_static(uri)).expect("readable");
            assert_eq!(found.as_deref(), style, "{uri}");
        }
        assert!(asked_style(&Uri::from_static("/caption?style=%ff")).is_err());
    }
}
