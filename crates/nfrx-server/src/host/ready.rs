//! Whether a plugin's workers would serve a label at this moment: a route for clients that
//! choose, and for monitors that wait until a model is there.

use std::sync::Arc;

use http::{HeaderValue, Request, Response, header};
use nfrx_spi::{
    Access, ApiError, Body, Dialect, HandlerResult, Operation, RequestContext, Router, Scheduler,
    WorkerProvider,
};
use serde_json::json;

/// Adds `GET /ready/{label}` below the plugin's prefix, for clients: 200 where a worker has
/// a free slot for it, 503 with `Retry-After` where all are busy, 404 where none serves it,
/// 403 where the key does not reach it.
pub(super) fn route(router: &mut Router, workers: &dyn WorkerProvider) {
    let scheduler = workers.scheduler();
    router
        .get("/ready/{*label}", move |_: Request<Body>, context: RequestContext| {
            std::future::ready(judge(&scheduler, &context))
        })
        .access(Access::Client)
        .dialect(Dialect::Json)
        .operation(Operation {
            summary: "Says whether a model, or another label, would be served at this moment",
            response: Some(json!({ "type": "object", "required": ["label", "ready"], "properties": {
                "label": { "type": "string" }, "ready": { "const": true },
            } })),
            ..Operation::default()
        });
}

/// Takes a slot as a request would, and gives it back at once: nobody who waits is
/// overtaken, and nothing is sent to the worker.
fn judge(scheduler: &Arc<dyn Scheduler>, context: &RequestContext) -> HandlerResult {
    let label = context.params.get("label");
    let scopes = &context.caller.scopes;
    if !scopes.allows_model(label) || !scopes.workers.is_empty() {
        return Err(ApiError::Forbidden("this key may not use this model on any worker".to_owned()));
    }
    drop(scheduler.pick_worker(label)?);
    let mut response = Response::new(Body::from(json!({ "label": label, "ready": true }).to_string()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
