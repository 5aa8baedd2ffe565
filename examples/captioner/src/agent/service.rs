//! The work itself: pictures in, captions out.
//!
//! The agent trusts the relay as little as the relay trusts the agent: two paths, its own
//! bound on requests at once and on their bytes, and nothing in a request names an address
//! or a file.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use nfrx_spi::{Body, BoxFuture, CallError};
use nfrx_tunnel::AgentService;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Decoder, PpmError, Style};
use crate::wire::{self, Batch, Outcome, Outcomes};

/// A request for several pictures is held whole up to this many bytes, which is more than
/// a server lets a client send.
const BATCH_BYTES_MAX: usize = 24 * 1024 * 1024;

/// The relay may count a slot as free a moment before we do; that moment is worth a wait.
const SLOT_WAIT_MAX: Duration = Duration::from_secs(1);

/// Captions what comes through the tunnel.
#[derive(Clone)]
pub struct CaptionService {
    styles: Arc<[Style]>,
    slots: Arc<Semaphore>,
    silence_max: Option<Duration>,
}

impl CaptionService {
    /// In these styles, `max_concurrency` requests at once. A request whose body is silent
    /// for longer than `silence_max` is given up; `None` waits for ever.
    pub fn new(styles: &[Style], max_concurrency: u32, silence_max: Option<Duration>) -> Self {
        let slots = Arc::new(Semaphore::new(max_concurrency as usize));
        Self { styles: styles.into(), slots, silence_max }
    }

    async fn answer(self, request: Request<Body>) -> Result<Response<Body>, CallError> {
        let _slot = self.slot().await?;
        let (parts, body) = request.into_parts();
        match (&parts.method, parts.uri.path()) {
            (&Method::POST, wire::CAPTION) => {
                let style = parts.uri.query().and_then(|query| query.strip_prefix("style="));
                let style = self.style(style.unwrap_or_default())?;
                json(&self.one(style, body).await?)
            }
            (&Method::POST, wire::CAPTIONS) => {
                let batch = self.whole(body).await?;
                let batch: Batch<String, Vec<String>> =
                    serde_json::from_slice(&batch).map_err(|_| CallError::Refused)?;
                json(&many(self.style(&batch.style)?, &batch.images).await)
            }
            _ => Err(CallError::Refused),
        }
    }

    /// Captions a picture as it comes; of its bytes none are kept.
    async fn one(&self, style: Style, mut body: Body) -> Result<Outcome, CallError> {
        let mut decoder = Decoder::default();
        while let Some(piece) = self.piece(&mut body).await? {
            if let Err(error) = decoder.feed(&piece) {
                return Ok(refused(error));
            }
        }
        Ok(outcome(style, decoder))
    }

    async fn whole(&self, mut body: Body) -> Result<BytesMut, CallError> {
        let mut whole = BytesMut::new();
        while let Some(piece) = self.piece(&mut body).await? {
            if piece.len() > BATCH_BYTES_MAX - whole.len() {
                return Err(CallError::Refused);
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    }

    /// The next bytes of a body; `None` at its end.
    async fn piece(&self, body: &mut Body) -> Result<Option<Bytes>, CallError> {
        loop {
            let frame = match self.silence_max {
                Some(limit) => {
                    tokio::time::timeout(limit, body.frame()).await.map_err(|_| CallError::Timeout)?
                }
                None => body.frame().await,
            };
            let Some(frame) = frame else { return Ok(None) };
            if let Ok(bytes) = frame.map_err(|_| CallError::RequestBody)?.into_data() {
                return Ok(Some(bytes));
            }
        }
    }

    async fn slot(&self) -> Result<OwnedSemaphorePermit, CallError> {
        let slot = Arc::clone(&self.slots).acquire_owned();
        tokio::time::timeout(SLOT_WAIT_MAX, slot).await.ok().and_then(Result::ok).ok_or(CallError::Busy)
    }

    /// Only what was offered: a relay that asks for more has not listened.
    fn style(&self, label: &str) -> Result<Style, CallError> {
        Style::from_label(label).filter(|style| self.styles.contains(style)).ok_or(CallError::Refused)
    }
}

impl AgentService for CaptionService {
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        Box::pin(self.clone().answer(request))
    }
}

async fn many(style: Style, images: &[String]) -> Outcomes {
    let mut captions = Vec::with_capacity(images.len());
    for image in images {
        let mut decoder = Decoder::default();
        captions.push(match BASE64_STANDARD.decode(image) {
            Err(_) => Outcome::Error("not base64".to_owned()),
            Ok(bytes) => match decoder.feed(&bytes) {
                Err(error) => refused(error),
                Ok(()) => outcome(style, decoder),
            },
        });
        // A large picture takes milliseconds, in which nobody else on this thread gets on.
        tokio::task::yield_now().await;
    }
    Outcomes { captions }
}

fn outcome(style: Style, decoder: Decoder) -> Outcome {
    decoder.finish().map_or_else(refused, |measures| Outcome::Caption(style.caption(&measures)))
}

fn refused(error: PpmError) -> Outcome {
    Outcome::Error(error.to_string())
}

fn json(answer: &impl Serialize) -> Result<Response<Body>, CallError> {
    let text = serde_json::to_vec(answer).map_err(|_| CallError::Upstream)?;
    let mut response = Response::new(Body::from(Bytes::from(text)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http_body::Frame;
    use nfrx_spi::BodyError;
    use serde_json::{Value, json};

    use super::*;
    use crate::draw::Drawing;

    async fn ask(service: &CaptionService, path: &str, body: impl Into<Body>) -> Result<Value, CallError> {
        let request = Request::post(path).body(body.into()).expect("a valid request");
        let body = service.call(request).await?.into_body().collect().await.expect("at hand").to_bytes();
        Ok(serde_json::from_slice(&body).expect("JSON"))
    }

    fn service() -> CaptionService {
        CaptionService::new(&[Style::Short], 1, Some(Duration::from_secs(5)))
    }

    #[tokio::test]
    async fn only_what_was_offered_is_answered() {
        let picture = || Drawing::plain(4, 4, [255, 0, 0]).to_ppm();
        let caption = json!({ "caption": "a square, all red picture" });
        assert_eq!(ask(&service(), "/caption?style=short", picture()).await, Ok(caption));
        for path in ["/caption?style=long", "/caption", "/captions/..", "/", "/caption?style=short&x=1"] {
            assert_eq!(ask(&service(), path, picture()).await, Err(CallError::Refused), "{path}");
        }
        assert_eq!(ask(&service(), "/captions", "[]").await, Err(CallError::Refused));
    }

    #[tokio::test]
    async fn a_picture_that_cannot_be_read_spoils_no_other() {
        let good = BASE64_STANDARD.encode(Drawing::plain(4, 4, [255, 0, 0]).to_ppm());
        let body = json!({ "style": "short", "images": ["?", good, "aGVsbG8="] }).to_string();
        let expected = json!({ "captions": [
            { "error": "not base64" },
            { "caption": "a square, all red picture" },
            { "error": "not a PPM picture of the form P6" },
        ] });
        assert_eq!(ask(&service(), "/captions", body).await, Ok(expected));
    }

    // Seen to fail: without the semaphore.
    #[tokio::test(start_paused = true)]
    async fn more_than_was_offered_is_busy() {
        let service = service();
        let _slot = service.slot().await.expect("free");
        assert_eq!(ask(&service, "/caption?style=short", "").await, Err(CallError::Busy));
    }

    #[tokio::test]
    async fn a_batch_over_its_bound_is_refused() {
        let body = vec![b' '; BATCH_BYTES_MAX + 1];
        assert_eq!(ask(&service(), "/captions", body).await, Err(CallError::Refused));
    }

    /// A body of which nothing ever comes.
    struct Silent;

    impl http_body::Body for Silent {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            Poll::Pending
        }
    }

    // Seen to fail: without the limit.
    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_silent_for_too_long_is_given_up() {
        let service = service();
        for path in ["/caption?style=short", "/captions"] {
            let asking = ask(&service, path, Body::stream(Silent));
            let patience = Duration::from_secs(60);
            let asked = tokio::time::timeout(patience, asking).await;
            assert_eq!(asked.expect("not for ever"), Err(CallError::Timeout), "{path}");
        }
    }
}
