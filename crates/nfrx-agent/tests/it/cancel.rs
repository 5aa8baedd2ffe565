//! A cancel reaches the backend in every phase, on real sockets.

use http::Request;
use nfrx_spi::Body;

use crate::backend::{accept, chunk, patiently, socketed};
use crate::limits::Trickle;

#[tokio::test]
async fn before_the_head() {
    let (front, listener) = socketed().await;
    let mut call = front.post("x");
    let mut peer = tokio::select! {
        _ = &mut call => panic!("nobody has answered"),
        peer = async {
            let mut peer = accept(&listener).await;
            peer.request().await;
            peer
        } => peer,
    };
    peer.write("HTTP/1.1 200 OK\r\n").await;
    drop(call);
    peer.closed().await;
    assert_eq!(front.status.watch().borrow().current_jobs, 0);
}

#[tokio::test]
async fn while_the_answer_streams() {
    let (front, listener) = socketed().await;
    let (answer, mut peer) = tokio::join!(patiently(front.post("x")), async {
        let mut peer = accept(&listener).await;
        peer.request().await;
        peer.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n").await;
        peer
    });
    let mut body = answer.expect("an answer").into_body();
    assert_eq!(chunk(&mut body).await, "ab");
    assert_eq!(front.status.watch().borrow().current_jobs, 1);
    peer.write("2\r\ncd\r\n").await;
    drop(body);
    // Seen to fail: with a dropped body that leaves its connection behind.
    peer.closed().await;
    assert_eq!(front.status.watch().borrow().current_jobs, 0);
}

#[tokio::test]
async fn between_the_head_and_the_first_byte_of_a_plain_answer() {
    let (front, listener) = socketed().await;
    let (answer, peer) = tokio::join!(patiently(front.post("x")), async {
        let mut peer = accept(&listener).await;
        peer.request().await;
        peer.write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n").await;
        peer
    });
    drop(answer.expect("an answer"));
    peer.closed().await;
}

#[tokio::test]
async fn while_the_request_is_still_uploaded() {
    let (front, listener) = socketed().await;
    let (body, sender) = Trickle::new();
    sender.send(Ok("first".into())).await.expect("room for one");
    let request = Request::post("http://worker/chat").body(Body::stream(body)).expect("a request");
    let mut call = front.call(request);
    let peer = tokio::select! {
        _ = &mut call => panic!("nobody has answered"),
        peer = async {
            let mut peer = accept(&listener).await;
            peer.read_until(b"first\r\n").await;
            peer
        } => peer,
    };
    drop(call);
    peer.closed().await;
}
