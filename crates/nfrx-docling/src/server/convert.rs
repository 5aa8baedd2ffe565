//! A conversion: a body of any kind to any worker, and an answer that goes back as it comes
//! (HTTP contract §5.2).

use std::sync::Arc;

use http::{Request, StatusCode};
use nfrx_pool::{DispatchError, Work};
use nfrx_spi::{ApiError, Body, CallError, HandlerResult, Operation, RequestContext};
use nfrx_tunnel::{mark_request, strip_answer_headers, strip_client_headers, worker_target};
use serde_json::json;

use super::{ID, Service};

/// A route that converts something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conversion {
    File,
    Source,
}

impl Conversion {
    pub(super) const ALL: [Self; 2] = [Self::File, Self::Source];

    /// The path behind `/v1`.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::File => "/convert/file",
            Self::Source => "/convert/source",
        }
    }

    /// The path at the worker, whose address has no `/v1`.
    fn worker_path(self) -> &'static str {
        match self {
            Self::File => "/v1/convert/file",
            Self::Source => "/v1/convert/source",
        }
    }

    pub(super) fn operation(self) -> Operation {
        let summary = match self {
            Self::File => "Converts uploaded documents",
            Self::Source => "Converts documents from where the request says they are",
        };
        let (request, request_type) = match self {
            Self::File => (json!({ "type": "object" }), Some("multipart/form-data")),
            Self::Source => (json!({ "type": "object" }), None),
        };
        Operation {
            summary,
            request: Some(request),
            request_type,
            response_type: Some("*/*"),
            passes_errors: true,
            ..Operation::default()
        }
    }
}

impl Service {
    /// Answers one request, from its body to the head of its answer.
    pub(super) async fn convert(
        self: Arc<Self>,
        conversion: Conversion,
        request: Request<Body>,
        context: RequestContext,
    ) -> HandlerResult {
        if !context.caller.scopes.workers.is_empty() {
            let text = "this key reaches only the workers it names, and conversions name none";
            return Err(ApiError::Forbidden(text.to_owned()));
        }
        let (mut head, body) = request.into_parts();
        head.uri = worker_target(conversion.worker_path(), &head.uri)?;
        strip_client_headers(&mut head.headers);
        mark_request(&mut head.headers, &context.id);
        let work = Work {
            want: self.pool.want(ID),
            request: Request::from_parts(head, body),
            job_type: "docling.convert",
            metric_label: Some(ID),
            may_wait: false,
            limits: self.limits,
            observer: None,
        };
        match self.pool.dispatch(work).run().await {
            Ok(mut answer) => {
                strip_answer_headers(answer.headers_mut());
                Ok(answer)
            }
            // Not 404: the service is known, it is away.
            Err(DispatchError::NoWorker) => {
                let mut answer = ApiError::NoWorker.response(context.dialect);
                *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                Ok(answer)
            }
            Err(DispatchError::Call(CallError::RequestBody)) => {
                Err(ApiError::BadRequest("bad request".to_owned()))
            }
            Err(error) => {
                tracing::warn!(%error, "conversion failed at its worker");
                Err(error.into())
            }
        }
    }
}
