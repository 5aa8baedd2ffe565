//! An old server, played from a script: takes our agents' connections and speaks frames of
//! protocol v1 to them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nfrx_spi::BoxFuture;
use nfrx_testkit::pipe::{PipeControl, PipeEnd, PipeOptions, pipe};
use nfrx_testkit::relay::patiently;
use nfrx_tunnel::{Connect, Connection};
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::socket::{Socket, header, read_head, write_head};

/// Dials that wait for the server.
const BACKLOG: usize = 16;

/// A server that takes one connection after the other.
pub struct OldServer {
    door: Arc<Door>,
    coming: Mutex<mpsc::Receiver<(PipeEnd, PipeControl)>>,
}

struct Door {
    /// Nobody gets a connection.
    closed: AtomicBool,
    coming: mpsc::Sender<(PipeEnd, PipeControl)>,
}

/// A connection of an agent, upgraded.
pub struct Tunnel {
    /// The head of its upgrade request.
    pub head: String,
    /// What is said and heard on it.
    pub socket: Socket,
    /// Breaks the connection from outside; the agent is at its left end.
    pub pipe: PipeControl,
}

impl Default for OldServer {
    fn default() -> Self {
        let (sender, coming) = mpsc::channel(BACKLOG);
        Self {
            door: Arc::new(Door { closed: AtomicBool::new(false), coming: sender }),
            coming: Mutex::new(coming),
        }
    }
}

impl OldServer {
    /// What an agent dials.
    pub fn door(&self) -> Arc<dyn Connect> {
        Arc::clone(&self.door) as _
    }

    /// From now on nobody gets a connection, or somebody does again.
    pub fn close(&self, closed: bool) {
        self.door.closed.store(closed, Ordering::Relaxed);
    }

    /// Waits for the next upgrade request, and gives its head.
    pub async fn knock(&self) -> (String, PipeEnd, PipeControl) {
        let (mut io, pipe) =
            patiently(async { self.coming.lock().await.recv().await }).await.expect("a dial");
        let head = read_head(&mut io).await;
        (head, io, pipe)
    }

    /// Takes the next agent in, as a server that knows no subprotocol.
    pub async fn accept(&self) -> Tunnel {
        let (head, mut io, pipe) = self.knock().await;
        let accept = derive_accept_key(header(&head, "sec-websocket-key").as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        write_head(&mut io, &answer).await;
        Tunnel { head, socket: Socket::new(io, Role::Server).await, pipe }
    }

    /// Takes the next agent in and hears its registration.
    pub async fn registered(&self) -> (Tunnel, Value) {
        let mut tunnel = self.accept().await;
        let registration = tunnel.socket.hear().await;
        assert_eq!(registration["type"], "register", "{registration}");
        (tunnel, registration)
    }
}

impl Connect for Door {
    fn connect(&self) -> BoxFuture<'_, io::Result<Connection>> {
        Box::pin(async {
            if self.closed.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (near, far, control) = pipe(PipeOptions::default());
            let sent = self.coming.send((far, control)).await;
            sent.map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
            Ok(Box::pin(near) as Connection)
        })
    }
}

/// A request as an old server writes it.
pub fn request(id: &str, path: &str, body: &str) -> Value {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(body);
    json!({ "type": "http_proxy_request", "request_id": id, "method": "POST", "path": path,
        "headers": { "Content-Type": "application/json", "X-Request-Id": "r-1", "Cache-Control": "no-store" },
        "body": body })
}
