//! The bounds of the front door, each hit once.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use nfrx_server::ServerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use crate::client::{Client, get};
use crate::world::{LOCAL, World, request};

fn world() -> World {
    World::new(ServerConfig::local())
}

/// Writes raw bytes and gives what comes back until the server closes.
async fn raw(world: &World, text: &str) -> String {
    let mut io = world.dial(LOCAL);
    // The server may have heard enough before all is said.
    let _ = io.write_all(text.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = io.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// The value of a series on `/metrics`.
async fn metric(world: &World, series: &str) -> f64 {
    let text = world.ask(LOCAL, get("/metrics", None)).await.text();
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or(0.0)
}

async fn refused(world: &World, reason: &str) -> f64 {
    metric(world, &format!("nfrx_server_refused_total{{reason=\"{reason}\"}}")).await
}

#[tokio::test(start_paused = true)]
async fn a_body_over_its_limit_is_413_announced_or_not() {
    let world = world();
    let answer = world.ask(LOCAL, request("POST", "/api/fake/v1/echo", &[], vec![b'x'; 1001])).await;
    assert_eq!((answer.status().as_u16(), answer.text().as_str()), (413, r#"{"error":"too_large"}"#));
    let answer = world.ask(LOCAL, request("POST", "/api/fake/v1/echo", &[], vec![b'x'; 1000])).await;
    assert_eq!((answer.status().as_u16(), answer.body.len()), (200, 1000));
    let chunk = format!("190\r\n{}\r\n", "x".repeat(400));
    let head = "POST /api/fake/v1/echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    // Seen to fail: without the count of streamed bytes.
    let answer = raw(&world, &format!("{head}{chunk}{chunk}{chunk}0\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let answer = world.ask(LOCAL, request("POST", "/api/fake/openai", &[], vec![b'x'; 11])).await;
    assert_eq!(answer.json()["error"]["code"], "too_large");
    assert_eq!(refused(&world, "body_bytes").await, 3.0);
}

#[tokio::test(start_paused = true)]
async fn a_silent_body_is_408() {
    let world = world();
    let start = Instant::now();
    let answer =
        raw(&world, "POST /api/fake/v1/echo HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf").await;
    assert!(
        answer.starts_with("HTTP/1.1 408 ") && answer.ends_with(r#"{"error":"request_timeout"}"#),
        "{answer}"
    );
    assert!(start.elapsed() >= Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_is_408_however_it_drips() {
    let world = world();
    let start = Instant::now();
    let mut io = world.dial(LOCAL);
    // Seen to fail: with a deadline that each byte puts off.
    let drip = async {
        let mut answer = Vec::new();
        for byte in b"GET /healthz HTTP/1.1\r\nhost: a\r\nx-long: aaaaaaaa".iter().cycle() {
            let _ = io.write_all(&[*byte]).await;
            let mut bytes = [0; 256];
            let read = tokio::time::timeout(Duration::from_secs(2), io.read(&mut bytes)).await;
            match read {
                Err(_) => {}
                Ok(Ok(length @ 1..)) => answer.extend_from_slice(&bytes[..length]),
                Ok(_) => break,
            }
        }
        String::from_utf8_lossy(&answer).into_owned()
    };
    let answer = drip.await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "`{answer}`");
    assert!(start.elapsed() < Duration::from_secs(13), "{:?}", start.elapsed());
    assert_eq!(refused(&world, "head_time").await, 1.0);
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_or_half_of_http2s_preface_is_closed() {
    let world = world();
    for said in ["", "PRI * HTTP/2.0\r\n"] {
        let start = Instant::now();
        raw(&world, said).await;
        assert!(start.elapsed() <= Duration::from_secs(11), "`{said}`: {:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_may_rest_between_requests_but_not_for_ever() {
    let world = world();
    let mut client = world.client(LOCAL).await;
    for _ in 0..3 {
        client.ask(get("/healthz", None)).await.expect("an answer");
        // Longer than a head may take.
        tokio::time::sleep(Duration::from_secs(40)).await;
    }
    drop(client);
    assert_eq!(refused(&world, "idle").await, 0.0);
    let mut io = world.dial(LOCAL);
    io.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("the server reads");
    let start = Instant::now();
    let _ = io.read_to_end(&mut Vec::new()).await;
    let rested = start.elapsed();
    assert!(rested >= Duration::from_secs(75) && rested <= Duration::from_secs(151), "{rested:?}");
    // Seen to fail: without the count.
    assert_eq!(refused(&world, "idle").await, 1.0);
}

#[tokio::test(start_paused = true)]
async fn heads_over_their_limits_are_431_and_414() {
    let world = world();
    let long = "x".repeat(20 * 1024);
    let headers = [("x-a", long.as_str()), ("x-b", long.as_str())];
    let answer = world.ask(LOCAL, request("GET", "/healthz", &headers, "")).await;
    assert_eq!((answer.status().as_u16(), answer.text().as_str()), (431, r#"{"error":"headers_too_large"}"#));
    let answer = world.ask(LOCAL, get(&format!("/healthz?{}", "x".repeat(9000)), None)).await;
    assert_eq!((answer.status().as_u16(), answer.text().as_str()), (414, r#"{"error":"uri_too_long"}"#));
    let many: String = (0..120).map(|n| format!("x-{n}: 1\r\n")).collect();
    let answer = raw(&world, &format!("GET /healthz HTTP/1.1\r\nhost: a\r\n{many}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let answer =
        raw(&world, &format!("GET /healthz HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(100_000))).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let answer = raw(&world, &format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(100_000))).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    // Seen to fail: without the look at what hyper refused by itself.
    assert_eq!((refused(&world, "head_bytes").await, refused(&world, "uri_bytes").await), (4.0, 1.0));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_http_is_400_and_counted() {
    let world = world();
    let wrong = [
        "\u{1}\u{2}\u{3}\r\n\r\n",
        "GET / HTTP/1.1\r\nhost a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n",
        "GET / HTTP/9.9\r\nhost: a\r\n\r\n",
    ];
    for text in wrong {
        let answer = raw(&world, text).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "`{text}`: {answer}");
    }
    // Seen to fail: without the look at what hyper refused by itself.
    assert_eq!(refused(&world, "malformed").await, wrong.len() as f64);
}

#[tokio::test(start_paused = true)]
async fn a_request_without_one_host_is_400() {
    let world = world();
    for head in ["", "host: a\r\nhost: b\r\n"] {
        let answer = raw(&world, &format!("GET /healthz HTTP/1.1\r\nconnection: close\r\n{head}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_cut() {
    let world = world();
    let mut client = world.client(LOCAL).await;
    let answer = client.send(get("/api/fake/v1/endless", None)).await.expect("a head");
    assert_eq!(metric(&world, "nfrx_server_connections").await, 2.0);
    // Seen to fail: without the stall limit the connection stays.
    tokio::time::sleep(Duration::from_secs(32)).await;
    assert_eq!(refused(&world, "write_stall").await, 1.0);
    assert_eq!(metric(&world, "nfrx_server_connections").await, 1.0);
    drop(answer);
}

#[tokio::test(start_paused = true)]
async fn an_http2_stream_whose_client_takes_nothing_is_cut_alone() {
    let world = world();
    let io = hyper_util::rt::TokioIo::new(world.dial(LOCAL));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, http_body_util::Empty<Bytes>>(
            hyper_util::rt::TokioExecutor::new(),
            io,
        )
        .await
        .expect("a handshake");
    let _connection = crate::world::spawn(connection);
    let ask = |path: &str| {
        let builder = Request::builder().uri(format!("http://relay.test{path}"));
        builder.body(http_body_util::Empty::new()).expect("a request")
    };
    // Its window is full soon; the connection itself goes on to answer pings.
    let unread = sender.send_request(ask("/api/fake/v1/endless")).await.expect("a head");
    let mut waiting = sender.send_request(ask("/api/fake/v1/stream")).await.expect("a head").into_body();
    let first = http_body_util::BodyExt::frame(&mut waiting).await.expect("a frame").expect("data");
    assert_eq!(first.into_data().expect("data"), "one ");
    tokio::time::sleep(Duration::from_secs(61)).await;
    // Seen to fail: without the look at untaken answers, which then holds the drain up.
    assert_eq!(refused(&world, "write_stall").await, 1.0);
    let state = world.ask(LOCAL, get("/api/state", None)).await.json();
    assert_eq!(state["plugins"]["server"]["drainable_inflight"], 1, "only the one that waits for us");
    world.wires.go.notify_one();
    let second = http_body_util::BodyExt::frame(&mut waiting).await.expect("a frame").expect("data");
    assert_eq!(second.into_data().expect("data"), "two");
    drop(unread);
}

#[tokio::test(start_paused = true)]
async fn connections_over_the_bound_are_closed_at_once_and_counted() {
    let mut config = ServerConfig::local();
    config.limits.connections_per_address_max = 2;
    let world = World::new(config);
    let held = [world.dial("203.0.113.9:1"), world.dial("203.0.113.9:2")];
    let mut third = world.dial("203.0.113.9:3");
    assert_eq!(third.read(&mut [0; 8]).await.expect("a clean end"), 0);
    assert_eq!(refused(&world, "connections_per_address").await, 1.0);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_hangs_up_cancels_its_request() {
    let world = world();
    let mut client = world.client(LOCAL).await;
    let asking =
        crate::world::spawn(async move { client.ask(get("/api/fake/v1/slow", None)).await.is_err() });
    world.wires.held(1).await;
    asking.abort();
    // Seen to fail: with half_close(true).
    world.wires.held(0).await;
}

#[tokio::test(start_paused = true)]
async fn http2_is_served_to_who_begins_with_it() {
    let world = world();
    let io = hyper_util::rt::TokioIo::new(world.dial(LOCAL));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, http_body_util::Full<Bytes>>(
            hyper_util::rt::TokioExecutor::new(),
            io,
        )
        .await
        .expect("a handshake");
    let _connection = crate::world::spawn(connection);
    let request = || {
        let builder = Request::builder().method("POST").uri("http://relay.test/api/fake/v1/echo");
        builder.body(http_body_util::Full::new(Bytes::from_static(b"two"))).expect("a request")
    };
    let answers = futures_util::future::join_all((0..20).map(|_| sender.send_request(request()))).await;
    for answer in answers {
        let body =
            http_body_util::BodyExt::collect(answer.expect("an answer").into_body()).await.expect("a body");
        assert_eq!(body.to_bytes(), "two");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_takes_the_raw_connection_over() {
    let world = world();
    let mut io = world.dial(LOCAL);
    let head =
        "GET /api/fake/connect HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nearly";
    io.write_all(head.as_bytes()).await.expect("the server reads");
    let mut text = String::new();
    while !text.ends_with("early") {
        let mut bytes = [0; 256];
        let length = io.read(&mut bytes).await.expect("the server answers");
        assert!(length > 0, "closed after `{text}`");
        text.push_str(&String::from_utf8_lossy(&bytes[..length]));
    }
    assert!(text.starts_with("HTTP/1.1 101 "), "{text}");
    io.write_all(b"late").await.expect("the stream stands");
    let mut late = [0; 4];
    io.read_exact(&mut late).await.expect("the stream stands");
    assert_eq!((&late, metric(&world, "nfrx_server_connections").await), (b"late", 2.0));
    drop(io);
}

#[tokio::test(start_paused = true)]
async fn a_refused_connection_still_gives_its_answer() {
    let world = world();
    let (client, body) = (world.dial(LOCAL), vec![b'x'; 1_000_000]);
    let mut client = Client::over(client).await;
    let answer = client.ask(request("POST", "/api/fake/v1/echo", &[], body)).await.expect("an answer");
    assert_eq!(answer.status(), 413);
}
