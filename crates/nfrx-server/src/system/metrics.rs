//! `/metrics`: open to this machine, under a name of its own, and to private networks; with
//! a client's key from elsewhere (decision 19).

use std::sync::Arc;

use http::{Method, Request};
use nfrx_runtime::address::is_private;
use nfrx_runtime::metrics_text::{CONTENT_TYPE, Registry};
use nfrx_spi::{Access, ApiError, Body, Operation, RequestContext, Router};

use super::content;
use super::page::media;
use crate::front::Shared;
use crate::gate::Peer;

/// Scrapers of all ages: any method is answered (HTTP contract §1.2).
const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

pub(super) fn routes(router: &mut Router, registry: &Arc<Registry>, shared: &Arc<Shared>) {
    for method in METHODS {
        let (registry, shared) = (Arc::clone(registry), Arc::clone(shared));
        let text = move |request: Request<Body>, _: RequestContext| {
            let result = judge(&shared, &request).map(|()| content(CONTENT_TYPE, registry.text()));
            async move { result }
        };
        router.handle(method, "/metrics", text).operation(Operation {
            summary: "Gives the metrics, as Prometheus reads them",
            response_type: Some(media(CONTENT_TYPE)),
            ..Operation::default()
        });
    }
}

fn judge(shared: &Shared, request: &Request<Body>) -> Result<(), ApiError> {
    let peer = request.extensions().get::<Peer>().ok_or(ApiError::Internal)?;
    // A stranger's page in a browser here would come with its own name (DNS rebinding).
    let is_rebound = peer.address.ip().to_canonical().is_loopback() && !peer.host_is_private;
    if is_private(peer.client) && !peer.is_relayed && !is_rebound {
        return Ok(());
    }
    shared.gate.judge(Access::Client, "", peer, request.headers()).map(drop)
}
