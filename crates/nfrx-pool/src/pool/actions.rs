//! What an operator may do with a worker: routes that any plugin with a pool adds in a line.
//!
//! The server lets only holders of the `admin` scope in, judges the page they come from, and
//! writes each action into its audit log.

use http::{Request, Response, header};
use nfrx_spi::{
    Access, ApiError, Body, Dialect, HandlerResult, Operation, RequestContext, Router, WorkerRegistry,
};
use serde_json::json;

use super::Pool;

/// An action, and how it is done.
#[derive(Clone, Copy)]
struct Action {
    name: &'static str,
    summary: &'static str,
    act: fn(&Pool, &str) -> bool,
}

const ACTIONS: [Action; 3] = [
    Action {
        name: "drain",
        summary: "Gives a worker nothing new; what it has goes on",
        act: Pool::drain_worker,
    },
    Action { name: "undrain", summary: "Takes a drain back", act: Pool::undrain_worker },
    Action {
        name: "disconnect",
        summary: "Closes a worker's connection; what it has fails",
        act: Pool::disconnect_worker,
    },
];

impl Action {
    fn operation(self) -> Operation {
        let done = json!({ "type": "object", "required": ["worker_id", "action"], "properties": {
            "worker_id": { "type": "string" }, "action": { "const": self.name },
        } });
        Operation { summary: self.summary, response: Some(done), ..Operation::default() }
    }
}

impl Pool {
    /// Adds `POST /workers/{worker_id}/drain`, `undrain` and `disconnect` below the router's
    /// prefix. An unknown worker is 404, one outside the key's scope 403.
    pub fn register_actions(&self, router: &mut Router) {
        router.route("/workers/{worker_id}", |actions| {
            actions.access(Access::Admin).dialect(Dialect::Json).body_bytes_max(1024);
            for action in ACTIONS {
                let pool = self.clone();
                actions
                    .post(&format!("/{}", action.name), move |_: Request<Body>, context: RequestContext| {
                        std::future::ready(pool.act(action, &context))
                    })
                    .while_draining()
                    .operation(action.operation());
            }
        });
    }

    fn act(&self, action: Action, context: &RequestContext) -> HandlerResult {
        let worker = context.params.get("worker_id");
        if !context.caller.scopes.allows_worker(worker) {
            return Err(ApiError::Forbidden("this key may not act on this worker".to_owned()));
        }
        if !self.has_worker(worker) || !(action.act)(self, worker) {
            return Err(ApiError::NoWorker);
        }
        let done = json!({ "worker_id": worker, "action": action.name });
        let mut response = Response::new(Body::from(done.to_string()));
        let json = header::HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        Ok(response)
    }
}
