use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{AskError, Client, Request};

/// Serves one answer per connection's request, in order; all requests have `length` bytes.
async fn serve(connections: Vec<Vec<&'static str>>, length: usize) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mut server = JoinSet::new();
    server.spawn(async move {
        for answers in connections {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = vec![0; length];
            for answer in answers {
                socket.read_exact(&mut request).await.unwrap();
                socket.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    });
    (addr, server)
}

fn request() -> Request {
    Request::post("relay.test", "/v1/chat/completions", "key", "application/json", b"{}")
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn a_connection_is_used_again_until_an_answer_says_otherwise() {
    let closing = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
    let (addr, _server) = serve(vec![vec![OK, closing], vec![OK]], request().bytes.len()).await;
    let mut client = Client::connect(addr).await.unwrap();
    for _ in 0..3 {
        // Seen to fail: without the second connection.
        let answered = client.ask(&request(), |_, _| {}).await.unwrap();
        assert_eq!(answered.total.body_bytes, 2);
    }
}

#[tokio::test]
async fn an_answer_that_is_no_success_or_not_whole_is_an_error() {
    let refused = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
    let torn = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok";
    let (addr, _server) = serve(vec![vec![refused], vec![torn]], request().bytes.len()).await;
    let mut client = Client::connect(addr).await.unwrap();
    let error = client.ask(&request(), |_, _| {}).await.unwrap_err();
    assert!(matches!(error, AskError::Status(503)), "{error}");
    let mut client = Client::connect(addr).await.unwrap();
    let error = client.ask(&request(), |_, _| {}).await.unwrap_err();
    assert!(matches!(error, AskError::Broken(super::Broken::Torn)), "{error}");
}

#[tokio::test]
async fn a_refusal_is_read_though_the_request_was_not_sent_to_its_end() {
    let refused = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    // The server reads ten bytes of many and keeps the connection open.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mut server = JoinSet::new();
    server.spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.read_exact(&mut [0; 10]).await.unwrap();
        socket.write_all(refused.as_bytes()).await.unwrap();
        std::future::pending::<()>().await;
    });
    let big = Request::post("relay.test", "/", "key", "audio/wav", &vec![0; 64 << 20]);
    let error = Client::connect(addr).await.unwrap().ask(&big, |_, _| {}).await.unwrap_err();
    // Seen to fail: with sending before receiving, which waits for ever.
    assert!(matches!(error, AskError::Status(404)), "{error}");
}
