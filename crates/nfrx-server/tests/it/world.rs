//! A server in memory with the fake plugin, and clients on pipes.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use nfrx_server::{Door, Server, ServerConfig};
use nfrx_spi::{PluginFactory, Secret};
use tokio::io::{DuplexStream, duplex};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::client::{Answer, Client};
use crate::fake::{Fake, Wires};

/// A peer on this machine, and one elsewhere.
pub(crate) const LOCAL: &str = "127.0.0.1:1000";
pub(crate) const REMOTE: &str = "203.0.113.9:1000";

/// A running server.
pub(crate) struct World {
    pub(crate) door: Door,
    pub(crate) wires: Arc<Wires>,
    stop: Arc<Notify>,
    cut: Arc<Notify>,
    served: JoinHandle<()>,
}

/// Keys `alpha` (clients) and `beta` (agents), `root` for admin.
pub(crate) fn with_keys() -> ServerConfig {
    let mut config = ServerConfig::local();
    config.login.api.key = Some(Secret::new("alpha"));
    config.login.workers.key = Some(Secret::new("beta"));
    config.login.admin_key = Some(Secret::new("root"));
    config
}

/// The fake plugin, ready to be built.
pub(crate) fn fakes(wires: &Arc<Wires>) -> Vec<Box<dyn PluginFactory>> {
    vec![Box::new(Fake { id: "fake", wires: Arc::clone(wires) })]
}

impl World {
    pub(crate) fn new(config: ServerConfig) -> Self {
        let wires = Arc::new(Wires::default());
        let server = Server::in_memory(config, fakes(&wires)).expect("a valid configuration");
        let (stop, cut) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let door = server.door();
        let (stopped, is_cut) = (Arc::clone(&stop), Arc::clone(&cut));
        let serve = async move { server.serve(stopped.notified(), is_cut.notified()).await };
        Self { door, wires, stop, cut, served: spawn(serve) }
    }

    /// The other end of a connection from `peer`.
    pub(crate) fn dial(&self, peer: &str) -> DuplexStream {
        let (ours, theirs) = duplex(64 * 1024);
        self.door.open(theirs, peer.parse::<SocketAddr>().expect("an address"));
        ours
    }

    pub(crate) async fn client(&self, peer: &str) -> Client {
        Client::over(self.dial(peer)).await
    }

    /// Asks once, on a connection of its own.
    pub(crate) async fn ask(&self, peer: &str, request: Request<Bytes>) -> Answer {
        self.client(peer).await.ask(request).await.expect("an answer")
    }

    /// The first signal.
    pub(crate) fn stop(&self) {
        self.stop.notify_one();
    }

    /// The second signal.
    pub(crate) fn cut(&self) {
        self.cut.notify_one();
    }

    /// Waits until the server has ended.
    pub(crate) async fn ended(self) -> Arc<Wires> {
        self.served.await.expect("the server does not panic");
        self.wires
    }

    /// Waits until the drain has begun.
    pub(crate) async fn draining(&self) {
        let mut hooks = self.wires.hooks.subscribe();
        hooks.wait_for(|hooks| hooks.contains(&"drain")).await.expect("the sender is ours");
    }
}

/// A test owns its tasks by joining them; the ban on bare spawns is for the product.
#[expect(clippy::disallowed_methods, reason = "joined by the test")]
pub(crate) fn spawn<F>(task: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(task)
}

/// A request with any method and headers, as `name: value` lines.
pub(crate) fn request(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Request<Bytes> {
    let mut builder = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        builder = builder.header("host", "relay.test");
    }
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(body.into()).expect("tests write valid requests")
}

/// The value of a header; empty when there is none.
pub(crate) fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.head.headers().get(name).map_or("", |value| value.to_str().expect("our headers are text"))
}
