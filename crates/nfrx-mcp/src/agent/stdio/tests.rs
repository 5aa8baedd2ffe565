use std::io;
use std::sync::Mutex;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt as _, DuplexStream};
use tokio::sync::{mpsc, oneshot};

use super::launch::{Launch, Process};
use super::lines::{Line, Lines};
use super::*;

mod hostile;
mod legacy;
mod modern_era;

/// A process that a test plays. Dropping it is its death.
pub(super) struct FakeChild {
    stdin: Lines<DuplexStream>,
    stdout: DuplexStream,
    stderr: DuplexStream,
    _gone: oneshot::Sender<()>,
}

impl FakeChild {
    /// The next message that it is sent; `None` when its input has ended.
    async fn hears(&mut self) -> Option<Value> {
        match self.stdin.next().await? {
            Line::Whole(line) => Some(serde_json::from_slice(&line).expect("it is sent JSON")),
            Line::Cut(_) => panic!("it is sent a long line"),
        }
    }

    /// Hears a request with this method.
    async fn asked(&mut self, method: &str) -> Value {
        let heard = self.hears().await.expect("its input goes on");
        assert_eq!(heard["method"], method, "{heard}");
        heard
    }

    async fn says(&mut self, message: &Value) {
        self.writes(format!("{message}\n").as_bytes()).await;
    }

    async fn writes(&mut self, bytes: &[u8]) {
        self.stdout.write_all(bytes).await.expect("it is read");
    }

    /// Answers a request.
    async fn answers(&mut self, request: &Value, result: Value) {
        self.says(&json!({ "jsonrpc": "2.0", "id": request["id"], "result": result })).await;
    }

    /// Dies with these last words.
    async fn dies(mut self, words: &str) {
        self.stderr.write_all(words.as_bytes()).await.expect("it is read");
    }
}

struct FakeLaunch(mpsc::Sender<FakeChild>);

impl Launch for FakeLaunch {
    fn launch(&self) -> io::Result<Process> {
        let (stdin, heard) = tokio::io::duplex(64 * 1024);
        let (stdout, said) = tokio::io::duplex(64 * 1024);
        let (stderr, words) = tokio::io::duplex(64 * 1024);
        let (gone, is_gone) = oneshot::channel();
        let child = FakeChild { stdin: Lines::new(heard, 1 << 20), stdout, stderr, _gone: gone };
        self.0.try_send(child).map_err(|_| io::Error::other("nothing to start"))?;
        let gone = Box::pin(async {
            drop(is_gone.await);
            None
        });
        Ok(Process {
            stdin: Box::new(stdin),
            stdout: Box::new(said),
            stderr: Box::new(words),
            gone,
            kill: Box::new(|| {}),
        })
    }
}

/// A server whose processes a test plays.
pub(super) struct Rig {
    upstream: StdioUpstream,
    children: Mutex<mpsc::Receiver<FakeChild>>,
    _drain: Drain,
}

impl Rig {
    fn new() -> Self {
        Self::with_sessions_max(8)
    }

    fn with_sessions_max(sessions_max: usize) -> Self {
        let (children, started) = mpsc::channel(200);
        let idle_max = std::time::Duration::from_secs(1800);
        let start_max = std::time::Duration::from_secs(300);
        let limits = SessionLimits { sessions_max, idle_max, start_max };
        let drain = Drain::new();
        let upstream =
            StdioUpstream::with_launch("clock", Arc::new(FakeLaunch(children)), Eras::Both, limits, &drain);
        Self { upstream, children: Mutex::new(started), _drain: drain }
    }

    async fn ask(&self, method: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let mut request = Request::builder().method(method).uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        for (name, value) in POSTED {
            if !headers.iter().any(|(own, _)| own == name) {
                request = request.header(*name, *value);
            }
        }
        let request = request.body(Body::from(body.into())).expect("tests write valid requests");
        Answer(self.upstream.handle(request).await.expect("it answers by itself"))
    }

    /// The next process that is started.
    async fn child(&self) -> FakeChild {
        std::future::poll_fn(|cx| self.children.lock().expect("no test panics in it").poll_recv(cx))
            .await
            .expect("the upstream is there")
    }

    /// Whether a process was started that nobody has taken yet.
    fn is_started(&self) -> bool {
        !self.children.lock().expect("no test panics in it").is_empty()
    }

    /// Opens a legacy session.
    async fn session(&self) -> (String, FakeChild) {
        self.session_of("2025-11-25").await
    }

    async fn session_of(&self, version: &str) -> (String, FakeChild) {
        let serve = async {
            let mut child = self.child().await;
            let asked = child.asked("initialize").await;
            child.answers(&asked, json!({ "protocolVersion": version, "capabilities": {} })).await;
            child
        };
        let (answer, child) = tokio::join!(self.ask("POST", &[], INITIALIZE), serve);
        assert_eq!(answer.status(), 200);
        let id = answer.header("mcp-session-id").expect("a session was opened").to_owned();
        (id, child)
    }
}

/// What clients of the protocol send.
const POSTED: &[(&str, &str)] =
    &[("content-type", "application/json"), ("accept", "application/json, text/event-stream")];

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"0"}}}"#;

/// An answer.
pub(super) struct Answer(Response<Body>);

impl Answer {
    fn status(&self) -> u16 {
        self.0.status().as_u16()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.0.headers().get(name).map(|value| value.to_str().expect("text"))
    }

    /// The next event: its id and its message, `null` for one without.
    async fn event(&mut self) -> Option<(String, Value)> {
        let frame = self.0.body_mut().frame().await?.expect("it does not break");
        let text = String::from_utf8(frame.into_data().expect("data").to_vec()).expect("text");
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let data = field("data: ").expect("an event has data");
        let message = if data.is_empty() { Value::Null } else { serde_json::from_str(data).expect("JSON") };
        Some((field("id: ").unwrap_or_default().to_owned(), message))
    }

    /// The next event that has a message.
    async fn message(&mut self) -> Option<Value> {
        loop {
            match self.event().await? {
                (_, Value::Null) => {}
                (_, message) => return Some(message),
            }
        }
    }

    async fn text(self) -> String {
        let whole = self.0.into_body().collect().await.expect("it does not break").to_bytes();
        String::from_utf8(whole.to_vec()).expect("text")
    }

    /// The last message, whether it is the whole answer or ends a stream.
    async fn json(mut self) -> Value {
        if self.header("content-type") != Some("text/event-stream") {
            return serde_json::from_str(&self.text().await).expect("JSON");
        }
        let mut last = Value::Null;
        while let Some(message) = self.message().await {
            last = message;
        }
        last
    }
}

/// A request in JSON-RPC.
fn call(id: u64, name: &str) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": name } }).to_string()
}

fn note(method: &str) -> Value {
    json!({ "jsonrpc": "2.0", "method": method, "params": { "data": method } })
}
