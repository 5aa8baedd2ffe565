//! Clients that leave: felt by the agent in every phase, and never the tunnel's end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response};
use http_body_util::BodyExt;
use nfrx_spi::{Body, CallError};
use tokio::sync::watch;

use crate::rig::{Plan, Rig, Service, fed, get, post, soon};

/// How many requests the agent has begun, and how many of them are over.
#[derive(Clone, Default)]
struct Ledger(Arc<watch::Sender<(usize, usize)>>);

impl Ledger {
    fn entry(&self) -> Entry {
        self.0.send_modify(|(begun, _)| *begun += 1);
        Entry(self.clone())
    }

    async fn until(&self, condition: impl FnMut(&(usize, usize)) -> bool) {
        let mut ledger = self.0.subscribe();
        soon(ledger.wait_for(condition)).await.expect("the ledger lives");
    }
}

struct Entry(Ledger);

impl Drop for Entry {
    fn drop(&mut self) {
        self.0.0.send_modify(|(_, over)| *over += 1);
    }
}

/// Never answers `/silent`; streams for ever at `/tokens`, a small piece every 20 ms; takes
/// nothing of the body at `/upload`.
fn endless(ledger: &Ledger) -> Service<impl Fn(Request<Body>) -> Answer + Send + Sync + 'static + use<>> {
    let ledger = ledger.clone();
    Service(move |request: Request<Body>| {
        let entry = ledger.entry();
        let answer: Answer = Box::pin(async move {
            if request.uri().path() != "/tokens" {
                let _held = (entry, request);
                return std::future::pending().await;
            }
            let body = futures_util::stream::unfold(entry, |entry| async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Some((Ok(http_body::Frame::data(Bytes::from_static(&[b't'; 60]))), entry))
            });
            Ok(Response::new(Body::stream(http_body_util::StreamBody::new(body))))
        });
        answer
    })
}

type Answer = nfrx_spi::BoxFuture<'static, Result<Response<Body>, CallError>>;

#[tokio::test(start_paused = true)]
async fn a_call_dropped_before_its_head_drops_the_agents_work() {
    // Seen to fail: without watching for the reset before the head the service runs on.
    let ledger = Ledger::default();
    let rig = Rig::new(endless(&ledger));
    let mut call = rig.tunnel().await.call(get("/silent"));
    tokio::select! {
        _ = &mut call => unreachable!("it is never answered"),
        () = ledger.until(|(begun, _)| *begun == 1) => {}
    }
    drop(call);
    ledger.until(|(_, over)| *over == 1).await;
    rig.assert_alive().await;
}

#[tokio::test(start_paused = true)]
async fn a_body_dropped_midway_drops_the_agents_body() {
    let ledger = Ledger::default();
    let rig = Rig::new(endless(&ledger));
    let mut body = rig.tunnel().await.call(get("/tokens")).await.expect("a head").into_body();
    assert!(soon(body.frame()).await.is_some());
    drop(body);
    ledger.until(|(_, over)| *over == 1).await;
    assert_eq!(rig.relay.acceptor.counters().resets.get(), 1);
    rig.assert_alive().await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_answer_dropped_midway_drops_the_agents_body() {
    // Seen to fail: without waking the pump when the body is dropped.
    let (feeder, body) = fed();
    let body = std::sync::Mutex::new(Some(body));
    let rig = Rig::new(Service(move |_| {
        let body = body.lock().expect("unpoisoned").take().expect("asked once");
        async { Ok(Response::new(body)) }
    }));
    let answer = rig.tunnel().await.call(get("/quiet")).await.expect("a head");
    drop(answer);
    soon(feeder.closed()).await;
    rig.assert_alive().await;
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_is_stuck_ends_with_its_call() {
    let ledger = Ledger::default();
    let rig = Rig::new(endless(&ledger));
    let (feeder, body) = fed();
    let mut call = rig.tunnel().await.call(post("/upload", body));
    let full = async {
        // Until nobody takes any more: the window is used up.
        while tokio::time::timeout(Duration::from_secs(1), feeder.send(Ok(vec![7; 65_536].into())))
            .await
            .is_ok()
        {}
    };
    tokio::select! {
        _ = &mut call => unreachable!("it is never answered"),
        () = full => {}
    }
    drop(call);
    soon(feeder.closed()).await;
    ledger.until(|(_, over)| *over == 1).await;
    rig.assert_alive().await;
}

#[tokio::test(start_paused = true)]
async fn two_hundred_that_leave_together_end_nothing_but_themselves() {
    let ledger = Ledger::default();
    let rig = Rig::new(endless(&ledger));
    let tunnel = rig.tunnel().await;
    let mut begun = 0;
    for path in ["/silent", "/tokens", "/upload"] {
        begun += 200;
        let calls: Vec<_> = (0..200).map(|_| tunnel.call(post(path, vec![1; 1000]))).collect();
        if path == "/tokens" {
            let answers = join_all(calls).await;
            assert!(answers.iter().all(Result::is_ok));
        } else {
            tokio::select! {
                _ = join_all(calls) => unreachable!("none is answered"),
                () = ledger.until(|(so_far, _)| *so_far == begun) => {}
            }
        }
        ledger.until(|(_, over)| *over == begun).await;
    }
    // Those that leave before the tunnel's task has looked at them.
    drop((0..200).map(|_| tunnel.call(get("/silent"))).collect::<Vec<_>>());
    rig.assert_alive().await;
}

#[tokio::test(start_paused = true)]
async fn sixty_that_leave_together_a_hundred_times_over_a_slow_path_end_no_tunnel() {
    // Reliability: h2 counts frames that come for streams it has forgotten, for the life of
    // a connection. Seen to fail: with h2's own limit of such resets (1,024).
    let ledger = Ledger::default();
    let plan = Plan { delay: Duration::from_millis(25), ..Plan::default() };
    let rig = plan.start(endless(&ledger));
    let tunnel = rig.tunnel().await;
    for round in 1..=100 {
        let answers = join_all((0..60).map(|_| tunnel.call(get("/tokens")))).await;
        let mut bodies: Vec<_> =
            answers.into_iter().map(|answer| answer.expect("a head").into_body()).collect();
        let pieces = join_all(bodies.iter_mut().map(|body| body.frame())).await;
        assert!(pieces.iter().all(|piece| matches!(piece, Some(Ok(_)))), "round {round}");
    }
    ledger.until(|counts| *counts == (6000, 6000)).await;
    rig.assert_alive().await;
}

#[tokio::test(start_paused = true)]
async fn unread_bytes_of_those_who_left_are_given_back_to_the_connection() {
    // More than the connection's window, so that a leak would stop it.
    let rig = Rig::new(Service(|_| async { Ok(Response::new(vec![1; 256 * 1024].into())) }));
    let tunnel = rig.tunnel().await;
    for round in 0..10 {
        let answers = join_all((0..60).map(|_| tunnel.call(get("/big")))).await;
        assert!(answers.iter().all(Result::is_ok), "round {round}");
        // Until nothing moves any more: all of it has come.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(rig.relay.acceptor.counters().bytes_in.get(), 600 * 256 * 1024);
    let answer = soon(tunnel.call(get("/big"))).await.expect("a head");
    assert_eq!(soon(answer.into_body().collect()).await.expect("whole").to_bytes().len(), 256 * 1024);
}
