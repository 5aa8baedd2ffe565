//! Answers that break: never a clean end for a broken body, never a second reading of
//! the same bytes.

use http::Request;
use nfrx_spi::{Body, BodyError, CallError};

use crate::backend::{PipeBackend, piped, read_all};
use crate::limits::Trickle;

/// What the relay gets for an answer that the backend writes before it hangs up.
async fn outcome(answer: &'static str) -> Result<(String, Option<BodyError>), CallError> {
    let (front, mut backend) = piped("http://h/v1", None);
    let (answered, ()) = tokio::join!(front.post("x"), answer_and_leave(&mut backend, answer));
    Ok(read_all(answered?.into_body()).await)
}

async fn answer_and_leave(backend: &mut PipeBackend, answer: &str) {
    let mut peer = backend.accept().await;
    peer.request().await;
    peer.write(answer).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_is_an_error_not_an_end() {
    for broken in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
    ] {
        let (text, error) = outcome(broken).await.expect("a head");
        assert_eq!(text, "half", "{broken}");
        assert!(matches!(error, Some(BodyError::Upstream)), "{broken}: {error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_head_is_the_backends_fault() {
    for broken in [
        "",
        "HTTP/1.1 200 OK\r\ncontent-le",
        "SSH-2.0-OpenSSH\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        assert_eq!(outcome(broken).await.expect_err("no head"), CallError::Upstream, "{broken}");
    }
}

// Seen to fail: without the removal the length contradicts the body.
#[tokio::test(start_paused = true)]
async fn a_length_beside_chunks_is_not_passed_on() {
    let (front, mut backend) = piped("http://h/v1", None);
    let text = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n\
                5\r\nhello\r\n0\r\n\r\n";
    let (answered, ()) = tokio::join!(front.post("x"), answer_and_leave(&mut backend, text));
    let answer = answered.expect("a head");
    assert!(!answer.headers().contains_key("content-length"));
    assert_eq!(read_all(answer.into_body()).await.0, "hello");
}

#[tokio::test(start_paused = true)]
async fn a_body_up_to_the_end_of_the_connection_is_whole() {
    let (text, error) = outcome("HTTP/1.0 200 OK\r\n\r\nall of it").await.expect("a head");
    assert!(error.is_none());
    assert_eq!(text, "all of it");
}

#[tokio::test(start_paused = true)]
async fn informational_heads_are_skipped() {
    let answer =
        "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    assert_eq!(outcome(answer).await.expect("a head").0, "ok");
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_away_is_unreachable() {
    let (front, backend) = piped("http://h/v1", None);
    drop(backend);
    assert_eq!(front.post("x").await.expect_err("nobody listens"), CallError::Unreachable);
    assert!(front.status.watch().borrow().last_error.contains("can't connect"));
}

// Seen to fail: without the count in `Upload` the backend gets five bytes as a whole.
#[tokio::test(start_paused = true)]
async fn a_request_whose_length_is_a_lie_never_looks_whole_to_the_backend() {
    for (declared, sent) in [("10", "short"), ("3", "too long")] {
        let (front, mut backend) = piped("http://h/v1", None);
        let (body, sender) = Trickle::new();
        sender.try_send(Ok(sent.into())).expect("room for one");
        drop(sender);
        let request = Request::post("http://worker/chat")
            .header("content-length", declared)
            .body(Body::stream(body))
            .expect("a request");
        let (answered, ()) = tokio::join!(front.call(request), async {
            backend.accept().await.closed().await;
        });
        assert_eq!(answered.expect_err("broken"), CallError::RequestBody, "{declared} for {sent}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_during_its_upload_is_not_the_backends_fault() {
    let (front, mut backend) = piped("http://h/v1", None);
    let (body, sender) = Trickle::new();
    sender.try_send(Err(BodyError::Aborted)).expect("room for one");
    let request = Request::post("http://worker/chat").body(Body::stream(body)).expect("a request");
    let (answered, ()) = tokio::join!(front.call(request), async {
        backend.accept().await.closed().await;
    });
    assert_eq!(answered.expect_err("broken"), CallError::RequestBody);
    assert_eq!(front.status.watch().borrow().last_error, "");
}
