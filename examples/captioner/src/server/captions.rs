//! Many pictures: a list that is split over the workers of one style, and put together
//! again in its order.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, Uri};
use http_body_util::BodyExt;
use nfrx_pool::{Spread, Work};
use nfrx_spi::{
    ApiError, Body, HandlerResult, Operation, PartitionError, PartitionJob, PartitionObserver, RequestContext,
};
use serde::Deserialize;
use serde_json::json;

use super::caption::{ANSWER_BYTES_MAX, read};
use super::metrics::{CaptionMetrics, End};
use super::{Service, answer};
use crate::wire::{self, Batch, Outcome, Outcomes};

/// Shown by clients that may send several pictures at once, if the server wants that.
const BATCH_KEY: &str = "x-batch-key";

/// What clients send.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaptionsRequest {
    style: Option<String>,
    images: Vec<String>,
}

pub(super) fn operation() -> Operation {
    let outcome = json!({ "type": "object", "properties": {
        "caption": { "type": "string" }, "error": { "type": "string" },
    } });
    Operation {
        summary: "Captions many pictures, each with its caption or its error",
        request: Some(json!({ "type": "object", "required": ["images"], "properties": {
            "style": { "type": "string" }, "images": { "type": "array", "items": { "type": "string" } },
        } })),
        response: Some(json!({ "type": "object", "properties": {
            "style": { "type": "string" }, "captions": { "type": "array", "items": outcome },
        } })),
        ..Operation::default()
    }
}

impl Service {
    /// `POST /v1/captions`: `{"style":…, "images":[base64, …]}`.
    pub(super) async fn captions(
        self: Arc<Self>,
        request: Request<Body>,
        context: RequestContext,
    ) -> HandlerResult {
        let shown = request.headers().get(BATCH_KEY).map_or(&[][..], HeaderValue::as_bytes);
        if !self.options.allows_batch(shown) {
            self.metrics.refused("batch_key");
            return Err(ApiError::Forbidden(
                "several pictures at once need the right X-Batch-Key".to_owned(),
            ));
        }
        let asked = self.asked(request.into_body()).await?;
        let style = self.style(asked.style, &context.caller.scopes)?;
        let outcomes = self.split(&style, asked.images).await?;
        Ok(answer(&json!({ "style": style, "captions": outcomes })))
    }

    /// What the client wants, within its bounds; those of the body are its route's.
    async fn asked(&self, body: Body) -> Result<CaptionsRequest, ApiError> {
        let bad = |why: String| ApiError::BadRequest(why);
        let body = body.collect().await.map_err(|_| bad("the body broke off".to_owned()))?.to_bytes();
        let asked: CaptionsRequest = serde_json::from_slice(&body).map_err(|error| bad(error.to_string()))?;
        let pictures_max = self.options.pictures_max;
        match asked.images.len() {
            0 => Err(bad("there is no picture in `images`".to_owned())),
            over if over > pictures_max => {
                self.metrics.refused("pictures");
                Err(bad(format!("there are {over} pictures in `images`, {pictures_max} at most")))
            }
            _ => Ok(asked),
        }
    }

    /// One outcome for each picture, in order, from whichever workers were free.
    async fn split(&self, style: &str, images: Vec<String>) -> Result<Vec<Outcome>, ApiError> {
        let size = images.len();
        let job = CaptionsJob::new(style, images, Arc::clone(&self.metrics));
        let answer_bytes_max = size.saturating_mul(ANSWER_BYTES_MAX);
        let spread = Spread { parallel_max: self.options.parallel_max, answer_bytes_max };
        let began = self.clock.now();
        let sent = self.pool.dispatch(self.work(style, &job)).run_split(Box::new(job), spread).await;
        let outcomes = match sent {
            Ok(response) => outcomes(response, size, answer_bytes_max).await,
            Err(error) => {
                tracing::warn!(%error, "pictures were not captioned");
                Err(error.into())
            }
        };
        // A style that no worker offers is any text of a client's, and no metric label.
        let label = if self.pool.is_offered(style) { style } else { "unknown" };
        let took = self.clock.now().since(began);
        match &outcomes {
            Ok(outcomes) => self.metrics.many(label, outcomes.iter().map(End::from), took),
            Err(error) => self.metrics.many(label, (0..size).map(|_| End::from(error)), took),
        }
        outcomes
    }

    /// The request as a whole: a worker that likes as many at once gets it like this.
    fn work(&self, style: &str, job: &CaptionsJob) -> Work {
        let mut request = Request::new(Body::from(job.make_chunk(0, job.size())));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static(wire::CAPTIONS);
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Work {
            want: self.pool.want(style),
            request,
            job_type: "captioner.captions",
            metric_label: None,
            may_wait: true,
            limits: self.limits,
            observer: None,
        }
    }
}

/// Reads an answer, be it a worker's own or put together from several: one outcome for
/// each picture, or it is none.
async fn outcomes(response: Response<Body>, size: usize, bytes_max: usize) -> Result<Vec<Outcome>, ApiError> {
    let is_success = response.status().is_success();
    let answered: Option<Outcomes> = read(response.into_body(), bytes_max).await;
    match answered {
        Some(answered) if is_success && answered.captions.len() == size => Ok(answered.captions),
        _ => {
            tracing::warn!("a worker's answer to pictures has not the agreed form");
            Err(ApiError::UpstreamError)
        }
    }
}

/// A list of pictures that the pool may split.
struct CaptionsJob {
    style: String,
    images: Vec<String>,
    outcomes: Vec<Option<Outcome>>,
    metrics: Arc<CaptionMetrics>,
}

impl CaptionsJob {
    fn new(style: &str, images: Vec<String>, metrics: Arc<CaptionMetrics>) -> Self {
        let outcomes = vec![None; images.len()];
        Self { style: style.to_owned(), images, outcomes, metrics }
    }
}

impl PartitionJob for CaptionsJob {
    fn size(&self) -> usize {
        self.images.len()
    }

    fn make_chunk(&self, start: usize, count: usize) -> Bytes {
        let batch = Batch { style: &self.style, images: &self.images[start..start + count] };
        serde_json::to_vec(&batch).unwrap_or_default().into()
    }

    fn append(&mut self, answer: Bytes, start: usize, count: usize) -> Result<(), PartitionError> {
        let answered: Outcomes =
            serde_json::from_slice(&answer).map_err(|_| PartitionError::Form("outcomes of pictures"))?;
        let found = answered.captions.len();
        if found != count {
            return Err(PartitionError::Count { expected: count, found });
        }
        for (place, outcome) in self.outcomes[start..start + count].iter_mut().zip(answered.captions) {
            *place = Some(outcome);
        }
        Ok(())
    }

    fn result(&mut self) -> Bytes {
        let captions = self.outcomes.drain(..).flatten().collect();
        serde_json::to_vec(&Outcomes { captions }).unwrap_or_default().into()
    }

    fn path(&self) -> &str {
        wire::CAPTIONS
    }

    fn observer(&self) -> Option<&dyn PartitionObserver> {
        Some(&*self.metrics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> CaptionsJob {
        CaptionsJob::new("short", ["a", "b", "c"].map(str::to_owned).to_vec(), Arc::default())
    }

    fn answer(captions: &[&str]) -> Bytes {
        let captions = captions.iter().map(|text| Outcome::Caption((*text).to_owned())).collect();
        serde_json::to_vec(&Outcomes { captions }).expect("plain data").into()
    }

    // Seen to fail: when chunks are put together in the order in which they end.
    #[test]
    fn chunks_may_end_in_any_order() {
        let mut job = job();
        assert_eq!(&job.make_chunk(1, 2)[..], br#"{"style":"short","images":["b","c"]}"#);
        job.append(answer(&["of b", "of c"]), 1, 2).expect("as asked");
        job.append(answer(&["of a"]), 0, 1).expect("as asked");
        assert_eq!(job.result(), answer(&["of a", "of b", "of c"]));
    }

    #[test]
    fn a_worker_that_answers_more_or_less_is_not_believed() {
        let mut job = job();
        let count = |expected, found| Err(PartitionError::Count { expected, found });
        assert_eq!(job.append(answer(&["one"]), 0, 2), count(2, 1));
        assert_eq!(job.append(answer(&["one", "two"]), 0, 1), count(1, 2));
        assert!(matches!(job.append("<html>".into(), 0, 1), Err(PartitionError::Form(_))));
        assert!(job.outcomes.iter().all(Option::is_none), "the job is as it was");
    }
}
