//! Chat, completions, responses and embeddings: what they have in common is a JSON body
//! with a model in it, and an answer that goes back as it comes.

use std::pin::pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{Request, Response};
use http_body_util::BodyExt;
use nfrx_pool::{Admission, Dispatch, DispatchError, Observer, Sent, Work};
use nfrx_spi::{
    ApiError, Body, BodyError, Dialect, HandlerResult, Operation, PartitionJob, RequestContext, Trace,
};
use nfrx_tunnel::worker_target;
use serde_json::json;

use super::embeddings::{self, EmbeddingsJob, EmbeddingsObserver};
use super::queued_answer::QueuedAnswer;
use super::request_head::RequestHead;
use super::usage::UsageObserver;
use super::{Service, headers, prompt};

/// A route that asks a model for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    Chat,
    Completions,
    Responses,
    Embeddings,
}

impl Endpoint {
    pub(super) const ALL: [Self; 4] = [Self::Chat, Self::Completions, Self::Responses, Self::Embeddings];

    /// The path behind `/v1`, here and at the worker.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Chat => "/chat/completions",
            Self::Completions => "/completions",
            Self::Responses => "/responses",
            Self::Embeddings => "/embeddings",
        }
    }

    /// The metric label `job_type` (metrics contract §1).
    fn job_type(self) -> &'static str {
        match self {
            Self::Chat | Self::Completions => "llm.completion",
            Self::Responses => "llm.response",
            Self::Embeddings => "llm.embedding",
        }
    }

    /// Only generation waits in the queue (HTTP contract §4.3).
    fn may_wait(self) -> bool {
        self != Self::Embeddings
    }

    pub(super) fn operation(self) -> Operation {
        let summary = match self {
            Self::Chat => "Answers a conversation",
            Self::Completions => "Continues a text",
            Self::Responses => "Answers in the form of the responses API",
            Self::Embeddings => "Gives the vectors of texts",
        };
        let request = json!({ "type": "object", "required": ["model"], "properties": {
            "model": { "type": "string" }, "stream": { "type": "boolean" },
        } });
        Operation {
            summary,
            request: Some(request),
            response_type: Some("*/*"),
            streams: self.may_wait(),
            passes_errors: true,
            ..Operation::default()
        }
    }
}

impl Service {
    /// Answers one request, from its body to the head of its answer.
    pub(super) async fn generate(
        self: Arc<Self>,
        endpoint: Endpoint,
        request: Request<Body>,
        context: RequestContext,
    ) -> HandlerResult {
        self.target(&context)?;
        let (parts, body) = request.into_parts();
        check_content_type(&parts.headers, context.dialect)?;
        let body = read_whole(body, &parts.headers).await?;
        let head = RequestHead::scan(&body)
            .map_err(|error| ApiError::BadRequest(format!("bad request: {error}")))?;
        if !context.caller.scopes.allows_model(&head.model) {
            return Err(ApiError::Forbidden("this key may not use this model".to_owned()));
        }
        let job = match endpoint {
            Endpoint::Embeddings if head.has_input => EmbeddingsJob::read(&body),
            _ => None,
        };
        let takes_content = parts.extensions.get::<Trace>().is_some_and(Trace::takes_content);
        let notes = if takes_content { prompt::notes(&body) } else { None };
        let mut call = Request::new(Body::from(body));
        *call.method_mut() = parts.method;
        *call.uri_mut() = worker_target(endpoint.path(), &parts.uri)?;
        Trace::hand_on(&parts.extensions, call.extensions_mut());
        notes.map(|notes| call.extensions_mut().insert(notes));
        *call.headers_mut() = headers::for_worker(&parts.headers, &context.id, head.stream);
        let answer = match endpoint {
            // Boxed: work that is split has much to hold, which other requests need not carry.
            Endpoint::Embeddings => Box::pin(self.embed(call, &head, job, &context)).await,
            _ => {
                let observer = Box::<UsageObserver>::default();
                self.dispatch(self.begin(endpoint, call, &head, &context, observer), &head).await
            }
        };
        match answer {
            // HTTP contract §4.4: this one error is JSON where its siblings are text.
            Err(ApiError::NoWorker)
                if endpoint == Endpoint::Embeddings
                    && head.has_input
                    && context.dialect == Dialect::Contract =>
            {
                Ok(ApiError::NoWorker.response(Dialect::Json))
            }
            other => other,
        }
    }

    /// Asks for vectors; many inputs are split over workers.
    async fn embed(
        &self,
        call: Request<Body>,
        head: &RequestHead,
        job: Option<EmbeddingsJob>,
        context: &RequestContext,
    ) -> HandlerResult {
        let inputs = job.as_ref().map_or(usize::from(head.has_input), PartitionJob::size);
        let observer = EmbeddingsObserver { tokens: UsageObserver::default(), inputs };
        let dispatch = self.begin(Endpoint::Embeddings, call, head, context, Box::new(observer));
        let answer = match job {
            Some(job) => {
                let spread = embeddings::spread(self.options.embeddings_parallel_max);
                dispatch.run_split(Box::new(job), spread).await
            }
            None => dispatch.run().await,
        };
        Ok(complete(answer.map_err(note)?))
    }

    fn begin(
        &self,
        endpoint: Endpoint,
        call: Request<Body>,
        head: &RequestHead,
        context: &RequestContext,
        observer: Box<dyn Observer>,
    ) -> Dispatch {
        let mut want = self.pool.want(head.model.as_str());
        let worker = context.params.get("worker_id");
        if !worker.is_empty() {
            want = want.on_worker(worker);
        }
        self.pool.dispatch(Work {
            want,
            request: call,
            job_type: endpoint.job_type(),
            metric_label: None,
            may_wait: endpoint.may_wait(),
            limits: self.limits,
            observer: Some(observer),
        })
    }

    async fn dispatch(self: &Arc<Self>, mut dispatch: Dispatch, head: &RequestHead) -> HandlerResult {
        loop {
            let slot = match dispatch.admit().map_err(ApiError::from)? {
                Admission::Slot(slot) => slot,
                Admission::Queued(queued) if head.stream => {
                    let answer = QueuedAnswer::new(Arc::clone(self), dispatch, queued, &head.model);
                    return Ok(answer.into_response());
                }
                Admission::Queued(queued) => {
                    let slot = queued.await;
                    dispatch.leave_queue(slot).map_err(ApiError::from)?
                }
            };
            if let Sent::Answer(answer) = dispatch.send(slot).await.map_err(note)? {
                return Ok(complete(answer));
            }
        }
    }
}

/// What existing clients match on is the bare text (HTTP contract §4.2).
fn check_content_type(headers: &http::HeaderMap, dialect: Dialect) -> Result<(), ApiError> {
    let json = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    match (json, dialect) {
        (true, _) => Ok(()),
        (false, Dialect::OpenAi) => {
            Err(ApiError::BadRequest("send the body as `Content-Type: application/json`".to_owned()))
        }
        (false, _) => Err(ApiError::BadRequest("bad request".to_owned())),
    }
}

/// Reads a body whole; the route's limit is the server's matter.
async fn read_whole(body: Body, headers: &http::HeaderMap) -> Result<Bytes, ApiError> {
    if let Some(bytes) = body.as_bytes() {
        return Ok(bytes);
    }
    // A hint only: what is announced is not yet there, and may never come.
    let announced = headers.get(CONTENT_LENGTH).and_then(|text| text.to_str().ok()?.parse().ok());
    let mut whole = BytesMut::with_capacity(announced.unwrap_or(0).min(64 * 1024));
    let mut body = pin!(body);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| unreadable(&error))?;
        if let Ok(data) = frame.into_data() {
            if whole.is_empty() && announced == Some(data.len()) {
                return Ok(data);
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole.freeze())
}

fn unreadable(error: &BodyError) -> ApiError {
    match error {
        BodyError::TooLarge { bytes_max } => ApiError::TooLarge { bytes_max: *bytes_max },
        BodyError::IdleTimeout => ApiError::RequestTimeout,
        BodyError::Aborted | BodyError::Upstream | BodyError::ReaderStalled | BodyError::Io(_) => {
            ApiError::BadRequest("bad request".to_owned())
        }
    }
}

/// Logs why a request failed, once, and gives what its client is told.
pub(super) fn note(error: DispatchError) -> ApiError {
    tracing::warn!(%error, "request failed at its worker");
    ApiError::from(error)
}

/// What is said of an answer on its way back; its bytes are left alone.
pub(super) fn complete(mut answer: Response<Body>) -> Response<Body> {
    headers::complete_answer(answer.headers_mut());
    answer
}
