//! An old agent, played from a script: dials our server and speaks frames of protocol v1.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nfrx_testkit::pipe::{PipeControl, PipeOptions};
use nfrx_testkit::relay::{LOCAL, Relay, WORKER_KEY};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::socket::{Socket, read_head, write_head};

/// A connected worker. Dropping it breaks its connection.
pub struct Worker {
    /// What it says and hears.
    pub socket: Socket,
    /// Breaks the connection from outside; the server is at its right end.
    pub pipe: PipeControl,
}

/// A request that the server gave to a worker.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its `request_id`.
    pub id: String,
    /// The whole message.
    pub message: Value,
    /// Its text.
    pub text: String,
    /// Its body, decoded.
    pub body: Vec<u8>,
}

/// The head of the server's answer to an upgrade request.
#[derive(Debug)]
pub struct Refused {
    /// The status.
    pub status: u16,
    /// The head, and the body behind it.
    pub head: String,
}

/// The upgrade request as the old agents write it; `more` lines stand at its end.
pub fn upgrade(plugin: &str, key: Option<&str>, more: &str) -> String {
    let key = key.map(|key| format!("Authorization: Bearer {key}\r\n")).unwrap_or_default();
    format!(
        "GET /api/{plugin}/connect HTTP/1.1\r\nHost: relay.test\r\nUser-Agent: Go-http-client/1.1\r\n{key}\
         Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Upgrade: websocket\r\nAccept-Encoding: gzip\r\n{more}\r\n"
    )
}

/// A registration of an old agent.
pub fn registration(id: &str, models: &[&str], slots: u32) -> Value {
    json!({ "type": "register", "worker_id": id, "worker_name": id, "client_key": "",
        "models": models, "max_concurrency": slots })
}

impl Worker {
    /// Dials with this head, from this machine.
    pub async fn dial(relay: &Relay, head: &str) -> Result<Self, Refused> {
        let (mut io, pipe) = relay.dial(PipeOptions::default(), LOCAL);
        write_head(&mut io, head).await;
        let head = read_head(&mut io).await;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        if status != 101 {
            let length = crate::socket::header(&head, "content-length").parse().unwrap_or(0);
            let mut body = vec![0; length];
            let read = tokio::io::AsyncReadExt::read_exact(&mut io, &mut body).await;
            read.expect("the body is as long as it says");
            return Err(Refused { status, head: head + &String::from_utf8_lossy(&body) });
        }
        // The accept value of the key above (RFC 6455 §1.3).
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        assert!(!head.to_ascii_lowercase().contains("sec-websocket-protocol"), "{head}");
        assert!(!head.to_ascii_lowercase().contains("sec-websocket-extensions"), "{head}");
        Ok(Self { socket: Socket::new(io, Role::Client).await, pipe })
    }

    /// Dials `plugin` with the right key, and says nothing yet.
    pub async fn connect(relay: &Relay, plugin: &str) -> Self {
        Self::dial(relay, &upgrade(plugin, Some(WORKER_KEY), "")).await.expect("it is let in")
    }

    /// Dials, registers, and waits until the server knows it.
    pub async fn join(relay: &Relay, plugin: &str, registration: &Value) -> Self {
        let mut worker = Self::connect(relay, plugin).await;
        worker.socket.say(registration).await;
        let id = registration["worker_id"].as_str().unwrap_or_default().to_owned();
        relay.until_part(plugin, |part| find(part, &id).is_some()).await;
        worker
    }

    /// The same for language models.
    pub async fn llm(relay: &Relay, id: &str, models: &[&str], slots: u32) -> Self {
        Self::join(relay, "llm", &registration(id, models, slots)).await
    }

    /// The next request.
    #[track_caller]
    pub fn request(&mut self) -> impl Future<Output = Request> {
        let text = self.socket.text();
        async move {
            let text = text.await;
            let message: Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(message["type"], "http_proxy_request", "{message}");
            let id = message["request_id"].as_str().expect("an id").to_owned();
            let body = STANDARD.decode(message["body"].as_str().unwrap_or_default()).expect("base64");
            Request { id, message, text, body }
        }
    }

    /// The next message is a cancel of `id`.
    pub async fn cancelled(&mut self, id: &str) {
        assert_eq!(self.socket.hear().await, json!({ "type": "http_proxy_cancel", "request_id": id }));
    }

    /// Says the head of an answer.
    pub async fn head(&mut self, id: &str, status: u16, headers: &Value) {
        let message = json!({ "type": "http_proxy_response_headers", "request_id": id, "status": status,
            "headers": headers });
        self.socket.say(&message).await;
    }

    /// Says bytes of an answer.
    pub async fn chunk(&mut self, id: &str, bytes: impl AsRef<[u8]>) {
        let data = STANDARD.encode(bytes);
        let message = json!({ "type": "http_proxy_response_chunk", "request_id": id, "data": data });
        self.socket.say(&message).await;
    }

    /// Ends an answer.
    pub async fn end(&mut self, id: &str) {
        self.socket.say(&json!({ "type": "http_proxy_response_end", "request_id": id })).await;
    }

    /// Ends an answer with an error.
    pub async fn fail(&mut self, id: &str, code: &str) {
        let error = json!({ "code": code, "message": "at http://10.0.0.5:11434" });
        let message = json!({ "type": "http_proxy_response_end", "request_id": id, "error": error });
        self.socket.say(&message).await;
    }

    /// Says a whole answer in JSON.
    pub async fn answer(&mut self, id: &str, body: &str) {
        self.head(id, 200, &json!({ "Content-Type": "application/json" })).await;
        self.chunk(id, body).await;
        self.end(id).await;
    }
}

/// A worker in a plugin's part of the state.
pub fn find<'a>(part: &'a Value, id: &str) -> Option<&'a Value> {
    part["workers"].as_array()?.iter().find(|worker| worker["id"] == id)
}
