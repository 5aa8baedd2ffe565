//! The relay behind a proxy, with the configuration that `docs/book/behind-a-proxy.md` shows.
//! Left out where the proxy is not: `cargo xtask test` says so.

mod caddy;
mod nginx;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::process::{Process, free_addr, nfrx};

const PAGE: &str = include_str!("../../../../docs/book/behind-a-proxy.md");
const API_KEY: (&str, &str) = ("API_KEY", "api-key-for-tests");
const CLIENT_KEY: (&str, &str) = ("CLIENT_KEY", "client-key-for-tests");

/// A server behind a proxy, and an agent that dials through it.
struct World {
    front: SocketAddr,
    server: Process,
    _proxy: Process,
    _agent: Process,
    _sim: Process,
}

impl World {
    fn start(proxy: fn(SocketAddr, SocketAddr) -> Process) -> Self {
        let (front, back, sim) = (free_addr(), free_addr(), free_addr());
        let backend = nfrx(&["sim", "--listen-addr", &sim.to_string(), "--tokens-per-second", "20"], &[]);
        backend.wait_for("simulated backend");
        let listen = back.to_string();
        let settings = [API_KEY, CLIENT_KEY, ("LISTEN_ADDR", &*listen), ("TRUSTED_PROXIES", "127.0.0.1")];
        let server = nfrx(&["server"], &settings);
        server.wait_for("ready");
        let proxy = proxy(front, back);
        let agent = nfrx(
            &["llm", "--reconnect"],
            &[
                ("SERVER_URL", &format!("ws://{front}/api/llm/connect")),
                ("COMPLETION_BASE_URL", &format!("http://{sim}/v1")),
                CLIENT_KEY,
            ],
        );
        agent.wait_for(r#""message":"connected""#);
        Self { front, server, _proxy: proxy, _agent: agent, _sim: backend }
    }

    /// Sends a request and gives a reader of what comes back.
    fn ask(&self, head: &str, body: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(self.front).expect("the proxy listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time");
        let length = body.len();
        let request = format!(
            "{head} HTTP/1.1\r\nHost: relay.example.org\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}",
            API_KEY.1
        );
        stream.write_all(request.as_bytes()).expect("it reads");
        BufReader::new(stream)
    }
}

/// The configuration that the page shows in a block of this kind.
fn shown(kind: &str) -> &'static str {
    let block = PAGE.split(&format!("```{kind}\n")).nth(1);
    block.and_then(|rest| rest.split("```").next()).expect("the page shows it")
}

/// A folder for what a proxy writes.
fn folder(proxy: &str, front: SocketAddr) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("nfrx-{proxy}-{}", front.port()));
    std::fs::create_dir_all(&folder).expect("a folder for the proxy");
    folder
}

/// Starts a proxy, and waits until it listens.
fn start(command: Command, front: SocketAddr) -> Process {
    let proxy = Process::start(command);
    let listens = || TcpStream::connect(front).is_ok();
    let patience = std::iter::repeat_n((), 600);
    let came = patience.map(|()| std::thread::park_timeout(Duration::from_millis(100))).any(|()| listens());
    assert!(came, "the proxy does not listen; it said:\n{}", proxy.said());
    proxy
}

/// An agent connects, tokens come one by one, an upload passes, the dashboard is live.
fn everything_passes(world: &World) {
    let body =
        r#"{"model":"demo","stream":true,"x_sim_tokens":100,"messages":[{"role":"user","content":"hi"}]}"#;
    let mut answer = world.ask("POST /v1/chat/completions", body);
    let mut seen = String::new();
    while !seen.contains("data: ") {
        assert!(answer.read_line(&mut seen).expect("it goes on") > 0, "{seen}");
    }
    assert!(seen.starts_with("HTTP/1.1 200"), "{seen}");
    // The first token is here; were it gathered, all would be.
    let state = read_all(world.ask("GET /api/state", ""));
    assert!(state.contains("\"inflight\":1"), "the stream is not over: {state}");
    answer.read_to_string(&mut seen).expect("the rest comes");
    assert!(seen.contains("[DONE]"), "{seen}");

    let large = format!(
        r#"{{"model":"demo","x_sim_tokens":1,"messages":[{{"role":"user","content":"{}"}}]}}"#,
        "x".repeat(4 << 20)
    );
    let answer = read_all(world.ask("POST /v1/chat/completions", &large));
    assert!(answer.starts_with("HTTP/1.1 200"), "{}", &answer[..answer.len().min(300)]);
    assert!(read_all(world.ask("GET /state", "")).contains("<title>nfrx</title>"));
    let mut events = world.ask("GET /api/state/stream", "");
    let mut line = String::new();
    while !line.starts_with("data: ") {
        line.clear();
        assert!(events.read_line(&mut line).expect("it goes on") > 0, "no event came");
    }
    world.server.wait_for("\"peer\":\"127.0.0.1\"");
}

fn read_all(mut from: BufReader<TcpStream>) -> String {
    let mut text = Vec::new();
    from.read_to_end(&mut text).expect("it ends");
    String::from_utf8_lossy(&text).into_owned()
}
