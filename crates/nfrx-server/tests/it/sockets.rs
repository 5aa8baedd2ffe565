//! Real ports: bind, answer, stop.

use std::net::SocketAddr;
use std::sync::Arc;

use nfrx_server::{Server, ServerConfig, StartError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::client::{Client, get};
use crate::fake::Wires;
use crate::world::{fakes, spawn};

#[tokio::test]
async fn a_server_on_real_ports_answers_and_ends() {
    let mut config = ServerConfig::local();
    config.metrics = Some("127.0.0.1:0".parse().expect("an address"));
    let server = Server::bind(config, fakes(&Arc::<Wires>::default())).await.expect("free ports");
    let (addr, metrics) = (server.addr().expect("bound"), server.metrics_addr().expect("bound"));
    let stop = Arc::new(Notify::new());
    let stopped = Arc::clone(&stop);
    let served = spawn(async move { server.serve(stopped.notified(), std::future::pending()).await });

    let mut client = Client::connect(addr).await.expect("it listens");
    let answer = client.ask(get("/api/fake/v1/seen/a%2Fb", None)).await.expect("an answer");
    assert_eq!(answer.json()["name"], "a/b");
    assert_eq!(client.ask(get("/metrics", None)).await.expect("an answer").status(), 404);
    // Seen to fail: without the linger the reset takes the answer with it.
    assert!(refused_body(addr).await.starts_with("HTTP/1.1 413 "));
    let mut scraper = Client::connect(metrics).await.expect("it listens");
    let text = scraper.ask(get("/metrics", None)).await.expect("an answer").text();
    assert!(text.contains("nfrx_server_connections_total"));
    assert_eq!(scraper.ask(get("/healthz", None)).await.expect("an answer").status(), 404);

    stop.notify_one();
    served.await.expect("no panic");
    assert!(Client::connect(addr).await.is_err(), "the port is closed");
}

/// Sends more than the route takes, all of it before a look at the answer.
async fn refused_body(addr: SocketAddr) -> String {
    let mut socket = TcpStream::connect(addr).await.expect("it listens");
    let head = "POST /api/fake/v1/echo HTTP/1.1\r\nhost: a\r\ncontent-length: 8000000\r\n\r\n";
    socket.write_all(head.as_bytes()).await.expect("the server reads");
    socket.write_all(&vec![b'x'; 8_000_000]).await.expect("the server reads on");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("a clean end");
    answer
}

#[tokio::test]
async fn a_taken_port_stops_the_start_and_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = taken.local_addr().expect("bound");
    let fakes = || fakes(&Arc::<Wires>::default());
    let error = Server::bind(ServerConfig { listen: addr, ..ServerConfig::local() }, fakes()).await.err();
    assert!(matches!(error, Some(StartError::Listen { addr: named, .. }) if named == addr));
    // Also when it is only the metrics that can't be served (KD-55).
    let error =
        Server::bind(ServerConfig { metrics: Some(addr), ..ServerConfig::local() }, fakes()).await.err();
    assert!(matches!(error, Some(StartError::Listen { addr: named, .. }) if named == addr));
}
