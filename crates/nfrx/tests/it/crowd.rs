//! Ten thousand clients that connect and then rest, with a real process on real ports.

use std::net::{Ipv4Addr, SocketAddr};

use nfrx_testkit::http::HttpClient;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::process::{free_addr, metric, nfrx};

/// As many clients, where this process may have as many files.
const CROWD: usize = 10_000;
/// How many of them connect at once: as many as wait at a listener.
const AT_ONCE: usize = 100;
/// Files that are no connections of the crowd: the test's own, and its neighbours'.
const OTHER_FILES: usize = 1_000;
/// The most memory that a resting connection may cost; 25 KiB without optimisation.
const BYTES_EACH: u64 = 32 * 1024;

/// Connects from `host`, asks once, and rests. Asking shows that the server has it.
async fn rest(server: SocketAddr, host: Ipv4Addr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a file is to be had");
    socket.bind((host, 0).into()).expect("all of 127.0.0.0/8 is ours");
    let mut stream = socket.connect(server).await.expect("the server listens");
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: relay\r\n\r\n").await.expect("it reads");
    let mut answer = [0; 1024];
    let read = stream.read(&mut answer).await.expect("it answers");
    assert!(answer[..read].starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer[..read]));
    stream
}

async fn crowd(server: SocketAddr, host: Ipv4Addr, count: usize) -> Vec<TcpStream> {
    let mut coming = JoinSet::new();
    let mut crowd = Vec::with_capacity(count);
    for _ in 0..count {
        if coming.len() == AT_ONCE {
            crowd.extend(coming.join_next().await.map(|came| came.expect("no panic")));
        }
        coming.spawn(rest(server, host));
    }
    crowd.extend(coming.join_all().await);
    crowd
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_resting_clients_cost_little_and_one_more_is_refused() {
    let addr = free_addr();
    let files = nfrx_runtime::file_limit().expect("Linux tells it");
    // The server keeps a fifth of its files for what is no connection.
    let count = CROWD.min(files / 5 * 4).min(files.saturating_sub(OTHER_FILES));
    let (listen, most) = (addr.to_string(), (count + 1).to_string());
    let server = nfrx(&["server"], &[("LISTEN_ADDR", &listen), ("CONNECTIONS_MAX", &most)]);
    server.wait_for("ready");
    let mut client = HttpClient::connect(addr).await.expect("it listens");
    assert_eq!(metric(&mut client, "nfrx_server_connections").await, 1);
    let before = server.memory().now;
    let mut peaks = Vec::new();
    for round in 1..=2 {
        let crowd = crowd(addr, Ipv4Addr::new(127, 0, 0, 1 + round), count).await;
        assert_eq!(metric(&mut client, "nfrx_server_connections").await, count as u64 + 1);
        let mut over = TcpStream::connect(addr).await.expect("the system accepts it");
        assert!(matches!(over.read(&mut [0; 8]).await, Ok(0) | Err(_)), "one too many is closed");
        let refused = metric(&mut client, "nfrx_server_refused_total{reason=\"connections\"}").await;
        // Seen to fail: without the bound on connections.
        assert_eq!(refused, u64::from(round));
        peaks.push(server.memory().now);
        drop(crowd);
        while metric(&mut client, "nfrx_server_connections").await > 1 {}
    }
    let each = peaks[0].saturating_sub(before) / count as u64;
    println!("{count} connections: {each} bytes each; {before} bytes before, then {peaks:?}");
    // Seen to fail: with 32 KiB more that a connection holds.
    assert!(each <= BYTES_EACH, "{each} bytes each");
    // Allocators keep a part of what was freed for each thread. Six crowds in turn took 285,
    // 367, 394, 403, 406 and 407 MB. Were a crowd's memory kept, the second would take twice
    // the first. Seen to fail: with 20 KiB that a connection's end leaves behind.
    assert!(peaks[1] <= peaks[0] / 2 * 3, "the first crowd left its memory behind: {peaks:?}");
}
