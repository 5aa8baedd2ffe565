//! The life of a link: registration, loss, silence, goodbyes, drain.

use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt;
use nfrx_spi::{Body, BodyError, CallError, CloseReason, JoinRefused};
use nfrx_tunnel::{DialError, LinkError, LinkState};
use tokio::time::Instant;

use crate::rig::{Plan, Rig, Service, fed, get, soon};

async fn nothing(_: Request<Body>) -> Result<Response<Body>, CallError> {
    Ok(Response::default())
}

#[tokio::test(start_paused = true)]
async fn an_agent_registers_and_tells_of_changes() {
    let rig = Rig::new(Service(nothing));
    let seen = rig.relay.pool.until(|seen| seen.opened == 1).await;
    let (registration, resume) = &seen.joins[0];
    assert_eq!((registration.worker_name.as_str(), resume), ("den", &None));
    assert_eq!((&registration.models, registration.max_concurrency), (&vec!["phi".to_owned()], 4));
    rig.offer.send_modify(|offer| offer.max_concurrency = 7);
    rig.relay.pool.until(|seen| seen.updates.iter().any(|update| update.max_concurrency == 7)).await;
    rig.relay.pool.until(|seen| seen.heartbeats >= 3).await;
    let tunnel = rig.tunnel().await;
    assert_eq!((tunnel.carrier(), tunnel.round_trip().is_some()), ("nfrx.h2", true));
    assert_eq!(*rig.state.borrow(), LinkState::Connected { worker_id: "w1".to_owned() });
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_dies_midway_breaks_its_answers() {
    let (kept, _feeders) = tokio::sync::mpsc::channel(1);
    let rig = Rig::new(Service(move |request: Request<Body>| {
        let kept = kept.clone();
        async move {
            if request.uri().path() == "/silent" {
                return std::future::pending().await;
            }
            let (feeder, body) = fed();
            feeder.send(Ok("half".into())).await.expect("room");
            kept.send(feeder).await.expect("room");
            Ok(Response::new(body))
        }
    }));
    let tunnel = rig.tunnel().await;
    let silent = tunnel.call(get("/silent"));
    let mut body = tunnel.call(get("/half")).await.expect("a head").into_body();
    assert!(matches!(soon(body.frame()).await, Some(Ok(_))));
    rig.agent.cut();
    assert!(matches!(soon(body.frame()).await, Some(Err(BodyError::Aborted))));
    assert_eq!(soon(silent).await.err(), Some(CallError::Lost));
    rig.relay.pool.until(|seen| seen.left == 1).await;
    assert_eq!(soon(tunnel.call(get("/late"))).await.err(), Some(CallError::Lost));
    assert_eq!(rig.relay.acceptor.counters().open.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_reason_of_a_goodbye_reaches_the_agent() {
    // Seen to fail: when the control stream is dropped before its last line has left.
    use CloseReason::{Disconnected, Expired, Replaced, ServerStopping};
    for reason in [Replaced, Expired, ServerStopping, Disconnected] {
        let rig = Plan { reconnect: false, ..Plan::default() }.start(Service(nothing));
        rig.tunnel().await.close(reason);
        let pool = rig.relay.pool.clone();
        match rig.end().await {
            Err(LinkError::Closed { reason: text }) => assert_eq!(text, reason.as_str()),
            other => panic!("{reason:?} became {other:?}"),
        }
        pool.until(|seen| seen.left == 1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_worker_learns_why() {
    let rig = Plan { reconnect: false, ..Plan::default() }.start(Service(nothing));
    let refusal = JoinRefused::IdInUse { worker_id: "den-1".to_owned() };
    rig.relay.pool.refuse(refusal.clone());
    match rig.end().await {
        Err(LinkError::Closed { reason }) => assert_eq!(reason, refusal.to_string()),
        other => panic!("the refusal became {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_comes_back_is_rejoined_within_two_seconds() {
    let rig = Rig::new(Service(nothing));
    let tunnel = rig.tunnel().await;
    let relay = rig.way.relay.lock().expect("unpoisoned").take();
    tunnel.close(CloseReason::ServerStopping);
    // Gone for a while: a dial fails.
    soon(rig.way.dials.subscribe().wait_for(|dials| *dials >= 2)).await.expect("it dials");
    *rig.way.relay.lock().expect("unpoisoned") = relay;
    let back = Instant::now();
    let seen = rig.relay.pool.until(|seen| seen.opened == 2).await;
    assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
    // It continues its registration: same id, and the token that proves it.
    let (registration, resume) = &seen.joins[1];
    assert_eq!((registration.worker_id.as_str(), resume.as_deref()), ("w1", Some("token")));
}

#[tokio::test(start_paused = true)]
async fn a_replaced_agent_does_not_fight_for_its_place() {
    let rig = Rig::new(Service(nothing));
    rig.tunnel().await.close(CloseReason::Replaced);
    let seen = rig.relay.pool.until(|seen| seen.opened == 2).await;
    assert_eq!(seen.joins[1].1, None, "the token is the other's now");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_key_is_tried_slowly_and_says_what_to_fix() {
    let answer =
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer error_description=\"unknown key\"\r\n\r\n";
    let rig = Plan { answer: Some(answer), ..Plan::default() }.start(Service(nothing));
    let mut state = rig.state.clone();
    let state = soon(state.wait_for(|state| matches!(state, LinkState::Waiting { .. }))).await;
    let LinkState::Waiting { error, reason } = state.expect("the agent lives").clone() else {
        unreachable!()
    };
    assert!(error.contains("set CLIENT_KEY") && error.contains("unknown key"), "{error}");
    assert_eq!(reason, "unauthorized");
    let start = Instant::now();
    soon(rig.way.dials.subscribe().wait_for(|dials| *dials >= 3)).await.expect("it dials");
    assert!(start.elapsed() >= Duration::from_secs(50), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn each_wrong_answer_to_the_dial_has_its_own_error() {
    let good = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n";
    let forged: &'static str = Box::leak(format!("HTTP/1.1 101 x\r\n{good}\r\n").into_boxed_str());
    for (answer, expected) in [
        ("HTTP/1.1 503 x\r\nContent-Length: 9\r\n\r\ndraining\n", "status 503: draining"),
        ("HTTP/1.1 200 x\r\n\r\n<html>", "status 200"),
        (forged, "does not speak `nfrx.h2`"),
        ("SSH-2.0-OpenSSH_9\r\n\r\n", "does not speak `nfrx.h2`"),
        ("", "does not speak `nfrx.h2`"),
    ] {
        let rig = Plan { reconnect: false, answer: Some(answer), ..Plan::default() }.start(Service(nothing));
        match rig.end().await {
            Err(error @ LinkError::Dial(_)) => {
                // Seen to fail: with whatever the server answered taken for none.
                assert!(error.to_string().contains(expected) && error.reason() == "refused", "{error}");
            }
            other => panic!("{answer:?} became {other:?}"),
        }
    }
    let rig = Plan { reconnect: false, ..Plan::default() };
    let rig = rig.start(Service(nothing));
    *rig.way.relay.lock().expect("unpoisoned") = None;
    let error = rig.end().await.expect_err("nobody is there");
    assert!(matches!(&error, LinkError::Dial(DialError::Io { .. })) && error.reason() == "unreachable");
}

#[tokio::test(start_paused = true)]
async fn a_drain_of_the_agent_waits_for_what_runs() {
    // Seen to fail: when the streams are not read once more after the connection's end.
    let (feeder, body) = fed();
    let body = std::sync::Mutex::new(Some(body));
    let rig = Rig::new(Service(move |_| {
        let body = body.lock().expect("unpoisoned").take().expect("asked once");
        async { Ok(Response::new(body)) }
    }));
    let mut answer = rig.tunnel().await.call(get("/long")).await.expect("a head").into_body();
    rig.agent.begin();
    rig.relay
        .pool
        .until(|seen| {
            seen.updates.last().is_some_and(|update| {
                update.max_concurrency == 0 && update.status.as_deref() == Some("draining")
            })
        })
        .await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.relay.pool.seen().left, 0, "it stays while a request runs");
    feeder.send(Ok("last".into())).await.expect("wanted");
    drop(feeder);
    assert_eq!(
        soon(answer.frame()).await.expect("more").expect("unbroken").into_data().expect("data"),
        "last"
    );
    assert!(soon(answer.frame()).await.is_none(), "the answer is whole");
    let pool = rig.relay.pool.clone();
    let counters = rig.relay.acceptor.counters();
    let answered = Instant::now();
    assert!(rig.end().await.is_ok());
    // Seen to fail: with the end of the last request told to nobody.
    assert!(answered.elapsed() < Duration::from_secs(1), "it looks again only at its next heartbeat");
    pool.until(|seen| seen.left == 1).await;
    assert_eq!(counters.closed("agent_left").get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dead_path_is_noticed_at_both_ends() {
    let rig = Plan { mortal: true, reconnect: false, ..Plan::default() }.start(Service(nothing));
    rig.tunnel().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.relay.pool.seen().left, 0, "an idle tunnel is no dead one");
    rig.way.dead.send_replace(true);
    let start = Instant::now();
    rig.relay.pool.until(|seen| seen.left == 1).await;
    assert!(start.elapsed() <= Duration::from_secs(16), "{:?}", start.elapsed());
    match rig.end().await {
        Err(error @ LinkError::Lost(_)) => {
            assert!(error.to_string().contains("nothing came") && error.reason() == "silent", "{error}");
        }
        other => panic!("the silence became {other:?}"),
    }
    assert!(start.elapsed() <= Duration::from_secs(20), "{:?}", start.elapsed());
}
