//! The audit log: one line for each thing that an operator did or tried.

use std::net::IpAddr;
use std::sync::Arc;

use http::{Method, StatusCode, request};
use nfrx_spi::{Access, RequestContext, RequestId, Route};
use tracing::info;

/// A request of an operator that changes something.
pub(super) struct Action {
    id: RequestId,
    key: Option<Arc<str>>,
    peer: IpAddr,
    method: Method,
    path: String,
    plugin: &'static str,
}

impl Action {
    /// The action that a request is, if it is one.
    pub(super) fn of(route: &Route, parts: &request::Parts, context: &RequestContext) -> Option<Self> {
        let changes = route.access == Access::Admin && parts.method != Method::GET;
        changes.then(|| Self {
            id: context.id.clone(),
            key: context.caller.key.clone(),
            peer: context.caller.ip(),
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            plugin: route.plugin,
        })
    }

    /// Writes its line. A nameless key is the one that the server was started with.
    pub(super) fn note(self, status: StatusCode) {
        let Self { id, key, peer, method, path, plugin } = self;
        let key = key.as_deref().unwrap_or("-");
        let status = status.as_u16();
        info!(target: "audit", request_id = %id, key, %peer, %method, url = path, plugin, status, "action");
    }
}
