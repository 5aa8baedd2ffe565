//! The agent's end against a relay that does not do its part.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use nfrx_runtime::{Drain, DrainWatch};
use nfrx_spi::{Body, BoxFuture, CallError, Heartbeat, Io};
use tokio::io::{DuplexStream, duplex};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::{AgentService, Ended, Identity, Offer, Session, Shared, serve};
use crate::limits;
use crate::link::LinkState;
use crate::ws_io::WsIo;

struct Nothing;

impl AgentService for Nothing {
    fn call(&self, _: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        Box::pin(std::future::pending())
    }
}

fn session(drain: DrainWatch) -> (Session, watch::Sender<Offer>) {
    let (offers, offer) = watch::channel(Offer::default());
    let session = Session {
        identity: Arc::new(Identity::default()),
        offer,
        service: Arc::new(Nothing),
        heartbeat: Arc::new(Heartbeat::default),
        drain,
        state: watch::Sender::new(LinkState::Connecting),
        resume: Shared::default(),
        heard: Shared::default(),
    };
    (session, offers)
}

/// A relay that speaks HTTP/2 and never opens the control stream.
async fn idle_relay(io: DuplexStream) {
    let io: Pin<Box<dyn Io>> = Box::pin(io);
    let io = WsIo::new(io, Role::Server, Box::new(|| {})).await;
    let (_send, connection) = limits::client().handshake::<_, Bytes>(io).await.expect("a handshake");
    let _ = connection.await;
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_never_opens_the_control_stream_is_left() {
    // Seen to fail: without the deadline the agent waits for ever.
    let (ours, theirs) = duplex(4096);
    let (session, _offers) = session(Drain::new().watch());
    let both = async { tokio::join!(serve(Box::pin(ours), &session), idle_relay(theirs)).0 };
    let ended = tokio::time::timeout(Duration::from_secs(60), both).await;
    assert!(matches!(ended, Ok(Ended::Lost(_))), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_drain_does_not_wait_for_a_relay_that_never_opens_the_control_stream() {
    let (ours, theirs) = duplex(4096);
    let drain = Drain::new();
    let (session, _offers) = session(drain.watch());
    drain.begin();
    let both = async { tokio::join!(serve(Box::pin(ours), &session), idle_relay(theirs)).0 };
    let ended = tokio::time::timeout(Duration::from_secs(5), both).await;
    assert_eq!(ended, Ok(Ended::Drained));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_upgrades_and_says_nothing_is_left() {
    let (ours, _theirs) = duplex(4096);
    let (session, _offers) = session(Drain::new().watch());
    let ended = tokio::time::timeout(Duration::from_secs(60), serve(Box::pin(ours), &session)).await;
    assert!(matches!(ended, Ok(Ended::Lost(_))), "{ended:?}");
}
