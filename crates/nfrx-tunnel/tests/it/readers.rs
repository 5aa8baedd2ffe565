//! Clients that do not read: they harm nobody but themselves, and not for ever.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream::repeat_with;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use nfrx_spi::{Body, BodyError};
use nfrx_tunnel::TunnelSettings;

use crate::rig::{Plan, Service, get};

/// Streams pieces of 60 bytes, as fast as they are taken.
async fn tokens(_: Request<Body>) -> Result<Response<Body>, nfrx_spi::CallError> {
    let pieces = repeat_with(|| Ok(Frame::data(Bytes::from_static(&[b't'; 60]))));
    // A backend is never ready for ever without a pause.
    let pieces = futures_util::StreamExt::then(pieces, |piece| async {
        tokio::task::yield_now().await;
        piece
    });
    Ok(Response::new(Body::stream(StreamBody::new(pieces))))
}

#[tokio::test(start_paused = true)]
async fn sixty_four_that_never_read_delay_nobody_and_are_cut() {
    // Seen to fail: with h2's own budget for small frames, when streams are read only as
    // fast as their clients read them.
    let settings = TunnelSettings { stall_max: Duration::from_secs(30), ..TunnelSettings::default() };
    let rig = Plan { settings, ..Plan::default() }.start(Service(tokens));
    let tunnel = rig.tunnel().await;
    let answers = join_all((0..64).map(|_| tunnel.call(get("/tokens")))).await;
    let stalled: Vec<_> = answers.into_iter().map(|answer| answer.expect("a head").into_body()).collect();
    let mut healthy = tunnel.call(get("/tokens")).await.expect("a head").into_body();
    let mut bytes = 0;
    while bytes < 4 << 20 {
        let frame = healthy.frame().await.expect("endless").expect("unbroken");
        bytes += frame.into_data().expect("data").len();
    }
    tokio::time::sleep(Duration::from_secs(32)).await;
    assert_eq!(rig.relay.acceptor.counters().readers_stalled.get(), 65, "nobody has read for 32 s");
    drop(healthy);
    for mut body in stalled {
        assert!(matches!(body.frame().await, Some(Err(BodyError::ReaderStalled))));
    }
    rig.assert_alive().await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_a_little_now_and_then_is_not_cut() {
    let rig = Plan::default().start(Service(tokens));
    let mut body = rig.tunnel().await.call(get("/tokens")).await.expect("a head").into_body();
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(matches!(body.frame().await, Some(Ok(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_answer_is_not_taken_for_a_stalled_reader() {
    let (feeder, body) = crate::rig::fed();
    let body = std::sync::Mutex::new(Some(body));
    let rig = Plan::default().start(Service(move |_| {
        let body = body.lock().expect("unpoisoned").take().expect("asked once");
        async { Ok(Response::new(body)) }
    }));
    let mut body = rig.tunnel().await.call(get("/slow")).await.expect("a head").into_body();
    tokio::time::sleep(Duration::from_secs(300)).await;
    feeder.send(Ok("late".into())).await.expect("wanted");
    assert!(matches!(body.frame().await, Some(Ok(_))));
}

#[tokio::test(start_paused = true)]
async fn what_is_unread_in_all_is_bounded() {
    // Seen to fail: when a cut stream keeps its bytes, so that all are cut in turn.
    let settings = TunnelSettings { unread_bytes_max: 2 << 20, ..TunnelSettings::default() };
    let rig = Plan { settings, ..Plan::default() }.start(Service(tokens));
    let tunnel = rig.tunnel().await;
    let answers = join_all((0..8).map(|_| tunnel.call(get("/tokens")))).await;
    let bodies: Vec<_> = answers.into_iter().map(|answer| answer.expect("a head").into_body()).collect();
    // Eight windows of 1 MiB are more than 2 MiB.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let cut = rig.relay.acceptor.counters().over_budget.get();
    assert!((1..=6).contains(&cut), "{cut} were cut");
    drop(bodies);
    rig.assert_alive().await;
}
