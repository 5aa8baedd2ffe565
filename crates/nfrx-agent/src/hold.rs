//! Holding an agent: its operator wants nothing new for it, and may change his mind.

use std::sync::Arc;

use http::{Request, Response};
use nfrx_spi::{Body, BoxFuture, CallError};
use nfrx_tunnel::{AgentService, Offer};
use tokio::sync::watch;

use crate::ServiceParts;

/// Whether the agent is held. Dropping it changes nothing.
pub(crate) struct Hold(watch::Sender<bool>);

impl Hold {
    /// Puts a hold around a service: while it holds, the offer is empty and what comes all
    /// the same is refused, so that the relay sends it elsewhere. The future carries the
    /// offers and is to be run; it never ends by itself.
    pub(crate) fn around(parts: ServiceParts) -> (Self, ServiceParts, impl Future<Output = ()> + Send) {
        let (hold, held) = watch::channel(false);
        let (out, offers) = watch::channel(parts.offers.borrow().clone());
        let service = Arc::new(Held { service: parts.service, held: held.clone() });
        let held_parts = ServiceParts { service, offers, legacy: parts.legacy };
        (Self(hold), held_parts, carry(parts.offers, held, out))
    }

    pub(crate) fn set(&self, held: bool) {
        self.0.send_replace(held);
    }

    pub(crate) fn is_set(&self) -> bool {
        *self.0.borrow()
    }
}

async fn carry(
    mut offers: watch::Receiver<Offer>,
    mut held: watch::Receiver<bool>,
    out: watch::Sender<Offer>,
) {
    loop {
        let offer = offers.borrow_and_update().clone();
        let offer = if *held.borrow_and_update() { offer.drained() } else { offer };
        out.send_if_modified(|current| {
            let news = *current != offer;
            if news {
                *current = offer;
            }
            news
        });
        // Whoever offers may end before the tunnel does: the last offer then stands.
        let go_on = tokio::select! {
            changed = offers.changed() => changed.is_ok(),
            changed = held.changed() => changed.is_ok(),
        };
        if !go_on {
            return out.closed().await;
        }
    }
}

/// A service that refuses everything while it is held.
struct Held {
    service: Arc<dyn AgentService>,
    held: watch::Receiver<bool>,
}

impl AgentService for Held {
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        if *self.held.borrow() {
            return Box::pin(async { Err(CallError::Draining) });
        }
        self.service.call(request)
    }
}
