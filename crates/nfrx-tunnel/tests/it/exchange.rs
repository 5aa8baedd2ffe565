//! Requests and answers that cross whole, and failures that never look like it.

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use nfrx_spi::{Body, BodyError, CallError};

use crate::rig::{Rig, Service, fed, get, post, soon};

/// Bytes in which any loss, doubling or change of order shows.
fn pattern(length: usize) -> Bytes {
    (0..length).map(|at| (at / 256 + at) as u8).collect::<Vec<_>>().into()
}

#[tokio::test(start_paused = true)]
async fn a_request_and_its_answer_cross_with_what_belongs_to_them() {
    let rig = Rig::new(Service(|request: http::Request<Body>| async move {
        let mut shown = format!("{} {} ", request.method(), request.uri().path_and_query().expect("valid"));
        let mut names: Vec<_> = request.headers().keys().map(ToString::to_string).collect();
        names.sort();
        shown.push_str(&names.join(","));
        let mut response = Response::new(Body::from(shown));
        *response.status_mut() = StatusCode::IM_A_TEAPOT;
        response.headers_mut().insert("x-kept", "1".parse().expect("valid"));
        response.headers_mut().insert("connection", "x-hop".parse().expect("valid"));
        response.headers_mut().insert("x-hop", "1".parse().expect("valid"));
        response.headers_mut().insert("nfrx-forged", "1".parse().expect("valid"));
        Ok(response)
    }));
    let mut request = post("/v1/chat?a=b%20c", "hello");
    for (name, value) in [("x-kept", "1"), ("nfrx-role", "admin"), ("te", "trailers"), ("host", "outside")] {
        request.headers_mut().insert(name, value.parse().expect("valid"));
    }
    let answer = rig.tunnel().await.call(request).await.expect("answered");
    let mut names: Vec<_> = answer.headers().keys().map(|name| name.as_str().to_owned()).collect();
    names.sort();
    assert_eq!((answer.status(), names), (StatusCode::IM_A_TEAPOT, vec!["x-kept".to_owned()]));
    let body = answer.into_body().collect().await.expect("whole").to_bytes();
    assert_eq!(body, "POST /v1/chat?a=b%20c content-length,x-kept");
}

#[tokio::test(start_paused = true)]
async fn four_mebibytes_at_hand_or_streamed_come_back_unchanged() {
    let rig =
        Rig::new(Service(|request: http::Request<Body>| async { Ok(Response::new(request.into_body())) }));
    let tunnel = rig.tunnel().await;
    let sent = pattern(4 << 20);
    let answer = tunnel.call(post("/echo", sent.clone())).await.expect("answered");
    assert!(answer.into_body().collect().await.expect("whole").to_bytes() == sent);

    let (feeder, body) = fed();
    let pieces = sent.clone();
    rig.relay.tasks.spawn("feeder", async move {
        let mut rest = pieces;
        let mut length = 1;
        while !rest.is_empty() {
            let piece = rest.split_to(length.min(rest.len()));
            let _ = feeder.send(Ok(piece)).await;
            length = length * 3 % 100_003;
        }
    });
    let answer = tunnel.call(post("/echo", body)).await.expect("answered");
    assert!(answer.into_body().collect().await.expect("whole").to_bytes() == sent);
}

#[tokio::test(start_paused = true)]
async fn each_piece_arrives_before_the_next_is_sent() {
    let (feeder, body) = fed();
    let body = std::sync::Mutex::new(Some(body));
    let rig = Rig::new(Service(move |_| {
        let body = body.lock().expect("unpoisoned").take().expect("asked once");
        async { Ok(Response::new(body)) }
    }));
    let mut answer = rig.tunnel().await.call(get("/tokens")).await.expect("the head comes first").into_body();
    for token in ["one", "two", "three"] {
        feeder.send(Ok(token.into())).await.expect("wanted");
        let frame = soon(answer.frame()).await.expect("more").expect("unbroken");
        assert_eq!(frame.into_data().expect("data"), token);
    }
    drop(feeder);
    assert!(soon(answer.frame()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_failure_before_the_head_keeps_its_kind() {
    use CallError::{Busy, Draining, Refused, Timeout, Unreachable, Upstream};
    let kinds = [Busy, Draining, Refused, Timeout, Unreachable, Upstream];
    let rig = Rig::new(Service(move |request: http::Request<Body>| {
        let at: usize = request.uri().path()[1..].parse().expect("valid");
        async move { Err(kinds[at]) }
    }));
    for (at, kind) in kinds.into_iter().enumerate() {
        let answer = rig.tunnel().await.call(get(&format!("/{at}"))).await;
        assert_eq!(answer.err(), Some(kind));
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_answer_never_looks_whole() {
    // Seen to fail: with an ordinary end of the stream in place of the trailer.
    let rig = Rig::new(Service(|request: http::Request<Body>| async move {
        let (feeder, body) = fed();
        let error = match request.uri().path() {
            "/silent" => BodyError::IdleTimeout,
            _ => BodyError::Io(std::io::ErrorKind::ConnectionReset.into()),
        };
        feeder.send(Ok("half".into())).await.expect("room");
        feeder.send(Err(error)).await.expect("room");
        Ok(Response::new(body))
    }));
    for (path, silent) in [("/silent", true), ("/broken", false)] {
        let mut body = rig.tunnel().await.call(get(path)).await.expect("a head").into_body();
        let half = soon(body.frame()).await.expect("more").expect("unbroken");
        assert_eq!(half.into_data().expect("data"), "half");
        match soon(body.frame()).await {
            Some(Err(BodyError::IdleTimeout)) => assert!(silent),
            Some(Err(BodyError::Upstream)) => assert!(!silent),
            other => panic!("{path} ended with {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_breaks_off_fails_the_call_and_the_agents_body() {
    let (told, mut tell) = tokio::sync::mpsc::channel(1);
    let rig = Rig::new(Service(move |request: http::Request<Body>| {
        let told = told.clone();
        async move {
            let whole = request.into_body().collect().await.is_ok();
            let _ = told.send(whole).await;
            Ok(Response::default())
        }
    }));
    let (feeder, body) = fed();
    feeder.send(Ok("half".into())).await.expect("room");
    feeder.send(Err(BodyError::Aborted)).await.expect("room");
    let answer = rig.tunnel().await.call(post("/upload", body)).await;
    assert_eq!(answer.err(), Some(CallError::RequestBody));
    // The reset may also have dropped the service; whole it never was.
    drop(feeder);
    rig.agent.cut();
    assert_ne!(soon(tell.recv()).await, Some(true));
}

#[tokio::test(start_paused = true)]
async fn the_tunnels_own_paths_can_not_be_asked_for() {
    let rig = Rig::new(Service(|_| async { Ok(Response::default()) }));
    for path in ["/.nfrx/control", "/.nfrx", "/.nfrx/other?x=1"] {
        let answer = rig.tunnel().await.call(post(path, "{}")).await;
        assert_eq!(answer.err(), Some(CallError::Refused), "{path}");
    }
    rig.assert_alive().await;
}
