//! A whole relay in one process: a server with plugins, agents that dial it, and a
//! simulated backend behind each. A plugin from elsewhere is tested the same way: a server
//! with other plugins ([`Relay::with`]), and agents of their own that dial through
//! [`Dialer`].
//!
//! Every connection is a [`pipe`](crate::pipe), so a paused clock pauses all of it, and
//! whoever made the pipe can delay, stall or cut it. Keys are set on both sides. The same
//! server also stands on real sockets ([`Relay::bind`]); never pause the clock then.

mod agent;
mod backend;
mod dialer;
mod entrance;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use nfrx_asr::AsrFactory;
use nfrx_docling::DoclingFactory;
use nfrx_llm::LlmFactory;
use nfrx_server::Server;
use nfrx_spi::{PluginFactory, PluginOptions, Secret};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::http::{Answer, HttpClient, get};
use crate::pipe::{PipeControl, PipeEnd, PipeOptions, pipe};

pub use agent::{AgentPlan, Kind, RunningAgent, TestAgent};
pub use backend::Backend;
pub use dialer::{Carrier, Dialer};
pub use entrance::Entrance;
pub use nfrx_server::ServerConfig;

/// The key of clients.
pub const API_KEY: &str = "alpha";
/// The key of agents.
pub const WORKER_KEY: &str = "beta";
/// A peer on the server's own machine.
pub const LOCAL: &str = "127.0.0.1:1000";
/// A peer elsewhere.
pub const REMOTE: &str = "203.0.113.9:1000";

/// How long anything here may take before a test fails instead of hanging. On tokio's
/// clock: nothing waits that long unless it waits for ever.
const PATIENCE: Duration = Duration::from_secs(600);

/// A running server and the way in.
pub struct Relay {
    entrance: Entrance,
    stop: Arc<Notify>,
    served: JoinSet<()>,
    addr: Option<SocketAddr>,
}

/// A server for this machine with a key on each side and these options of the llm plugin.
pub fn config(llm: &[(&str, &str)]) -> ServerConfig {
    let mut config = ServerConfig::local();
    config.login.api.key = Some(Secret::new(API_KEY));
    config.login.workers.key = Some(Secret::new(WORKER_KEY));
    set_options(&mut config, &LlmFactory, llm);
    config
}

/// Sets options of a plugin.
pub fn set_options(config: &mut ServerConfig, plugin: &dyn PluginFactory, values: &[(&str, &str)]) {
    let values = values.iter().map(|(id, value)| ((*id).to_owned(), (*value).to_owned()));
    let descriptor = plugin.descriptor();
    let options = PluginOptions::new(descriptor.args, values.collect());
    config.plugin_options.insert(descriptor.id.to_owned(), options);
}

fn plugins() -> Vec<Box<dyn PluginFactory>> {
    vec![Box::new(LlmFactory), Box::new(AsrFactory), Box::new(DoclingFactory)]
}

impl Relay {
    /// Starts a server in memory.
    pub fn start(config: ServerConfig) -> Self {
        Self::with(config, plugins())
    }

    /// Starts a server with these plugins in memory.
    pub fn with(config: ServerConfig, plugins: Vec<Box<dyn PluginFactory>>) -> Self {
        Self::of(config, plugins, Entrance::new())
    }

    /// The same behind this entrance.
    pub fn of(config: ServerConfig, plugins: Vec<Box<dyn PluginFactory>>, entrance: Entrance) -> Self {
        let server = Server::in_memory(config, plugins).expect("tests write valid configurations");
        Self::serve(server, entrance)
    }

    /// Starts a server on real sockets as well.
    pub async fn bind(config: ServerConfig) -> Self {
        Self::bind_with(config, plugins()).await
    }

    /// The same with these plugins instead.
    pub async fn bind_with(config: ServerConfig, plugins: Vec<Box<dyn PluginFactory>>) -> Self {
        let server = Server::bind(config, plugins).await.expect("a free port is to be had");
        Self::serve(server, Entrance::new())
    }

    fn serve(server: Server, entrance: Entrance) -> Self {
        entrance.open(server.door());
        let (addr, stop, mut served) = (server.addr(), Arc::new(Notify::new()), JoinSet::new());
        let stopped = Arc::clone(&stop);
        served.spawn(async move { server.serve(stopped.notified(), std::future::pending()).await });
        Self { entrance, stop, served, addr }
    }

    /// Where the server listens, if it does.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    /// The way in for agents, which outlives the server.
    pub fn entrance(&self) -> Entrance {
        self.entrance.clone()
    }

    /// The first signal: the server drains.
    pub fn stop(&self) {
        self.stop.notify_one();
    }

    /// Waits until the server has ended.
    pub async fn ended(mut self) {
        patiently(async { while self.served.join_next().await.is_some() {} }).await;
    }

    /// The machine loses its power: nobody gets in, and every connection breaks. Agents
    /// that dial `entrance` are refused until a server is started there.
    pub fn lose(self) -> Entrance {
        self.entrance.close();
        self.entrance
    }

    /// Starts another server, which knows nothing of the first, behind the same entrance.
    pub fn start_again(config: ServerConfig, entrance: Entrance) -> Self {
        Self::of(config, plugins(), entrance)
    }

    /// A client on this machine.
    pub async fn client(&self) -> HttpClient {
        self.client_over(PipeOptions::default(), LOCAL).await.0
    }

    /// A client at `peer` over such a pipe; the server is at its right end.
    pub async fn client_over(&self, options: PipeOptions, peer: &str) -> (HttpClient, PipeControl) {
        let (ours, control) = self.dial(options, peer);
        (HttpClient::over(ours).await.expect("nothing is sent yet"), control)
    }

    /// A bare connection, for clients that no library would let misbehave.
    pub fn dial(&self, options: PipeOptions, peer: &str) -> (PipeEnd, PipeControl) {
        let (ours, theirs, control) = pipe(options);
        assert!(self.entrance.enter(theirs, peer, control.clone()), "the server is there");
        (ours, control)
    }

    /// Asks once, from this machine, on a connection of its own.
    pub async fn ask(&self, request: Request<Bytes>) -> Answer {
        let mut client = self.client().await;
        patiently(client.ask(request)).await.expect("an answer")
    }

    /// Waits until the llm part of the state is as `reached` wants it. Looks twice a
    /// second: the server takes no newer snapshot.
    pub async fn until(&self, reached: impl FnMut(&serde_json::Value) -> bool) -> serde_json::Value {
        self.until_part("llm", reached).await
    }

    /// Waits until this part of the state is as `reached` wants it.
    pub async fn until_part(
        &self,
        id: &str,
        mut reached: impl FnMut(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        look(async || {
            let mut state = self.ask(get("/api/state", Some(API_KEY))).await.json();
            let part = state["plugins"][id].take();
            reached(&part).then_some(part)
        })
        .await
    }

    /// The value of a series at `/metrics`, its labels included; `None` where it is not served.
    pub async fn sample(&self, series: &str) -> Option<u64> {
        let text = self.ask(get("/metrics", Some(API_KEY))).await.text();
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }

    /// Waits until a series has this value.
    pub async fn until_sample(&self, series: &str, value: u64) {
        look(async || (self.sample(series).await == Some(value)).then_some(())).await;
    }
}

/// Looks until there is what is looked for, twice a second: nothing tells of it.
async fn look<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    patiently(async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    })
    .await
}

/// Waits for `future`, but not for ever: a hanging test says where it hangs.
#[track_caller]
pub fn patiently<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let here = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(PATIENCE, future).await {
            Ok(output) => output,
            Err(_) => panic!("what was waited for at {here} never came"),
        }
    }
}
