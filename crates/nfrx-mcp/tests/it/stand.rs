//! The same relay on real ports, before the fixture as a process of its own: for clients that
//! are programs. Never with a paused clock.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use nfrx_agent::AgentConfig;
use nfrx_mcp::agent::stdio::{SUPERVISE, Supervisor};
use nfrx_mcp::agent::{McpConfig, agent, mcp_agent_specs};
use nfrx_spi::PluginOptions;
use nfrx_testkit::relay::{Relay, WORKER_KEY, patiently};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::rig::{CLOCK, config, plugins};

/// A private server as a process, which dies with this value.
pub(crate) struct Backend {
    url: String,
    _child: Child,
    _readers: JoinSet<()>,
}

impl Backend {
    /// The fixture.
    pub(crate) async fn fixture() -> Self {
        let program = fixture();
        assert!(program.exists(), "`cargo build --package nfrx-mcp --examples` makes {}", program.display());
        let mut command = Command::new(program);
        command.args(["http", "127.0.0.1:0"]);
        Self::start(command, |line| line.strip_prefix("ready ").map(str::to_owned)).await
    }

    /// Another program; `ready` finds the server's address in a line that it prints, on either
    /// of its streams.
    pub(crate) async fn start(mut command: Command, ready: impl Fn(&str) -> Option<String>) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("can't start {command:?}: {error}"));
        let (said, mut heard) = mpsc::channel(64);
        let mut readers = JoinSet::new();
        readers.spawn(read(child.stdout.take().expect("it is piped"), said.clone()));
        readers.spawn(read(child.stderr.take().expect("it is piped"), said));
        let mut found = None;
        while found.is_none() {
            let line = patiently(heard.recv()).await;
            found = ready(&line.unwrap_or_else(|| panic!("{command:?} ended before it was ready")));
        }
        Self { url: found.expect("the loop ends with it"), _child: child, _readers: readers }
    }

    /// Where it is reached directly.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

/// Reads what a program prints to its end, so that it never waits for a reader.
async fn read(pipe: impl AsyncRead + Unpin, said: mpsc::Sender<String>) {
    let mut lines = BufReader::new(pipe).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        // Of interest until it is ready.
        let _ = said.try_send(line);
    }
}

/// The example's program, beside the folder of this one.
pub(crate) fn fixture() -> PathBuf {
    let own = std::env::current_exe().expect("it runs");
    let profile = own.parent().and_then(|deps| deps.parent()).expect("tests lie in deps");
    profile.join("examples").join(format!("mcp_fixture{}", std::env::consts::EXE_SUFFIX))
}

/// What watches over the processes that an agent starts: this program can't.
pub(crate) fn supervisor() -> Supervisor {
    Supervisor { program: fixture(), args: vec![SUPERVISE.into()] }
}

/// A relay on a port and an agent that dialed it.
pub(crate) struct Stand {
    addr: SocketAddr,
    _relay: Relay,
    agent: JoinSet<()>,
}

impl Stand {
    /// Open to everybody, with an agent before the server at `backend`.
    pub(crate) async fn before(backend: &str) -> Self {
        Self::with(&[("public", "true")], backend).await
    }

    /// The same with an agent that starts this command and speaks to it over stdio.
    pub(crate) async fn over(command: &str) -> Self {
        Self::of(&[("public", "true")], "http://127.0.0.1:9", &[("mcp_stdio_command", command)]).await
    }

    /// The same with these options of the plugin.
    pub(crate) async fn with(plugin: &[(&str, &str)], backend: &str) -> Self {
        Self::of(plugin, backend, &[]).await
    }

    /// The same with these options of the agent.
    pub(crate) async fn of(plugin: &[(&str, &str)], backend: &str, more: &[(&str, &str)]) -> Self {
        let relay = Relay::bind_with(config(plugin), plugins()).await;
        let addr = relay.addr().expect("it is bound");
        let agent = joined(addr, backend, more).await;
        Self { addr, _relay: relay, agent }
    }

    /// Kills the agent, and starts another before the server at `backend` in its place.
    pub(crate) async fn replace_agent(&mut self, backend: &str) {
        self.agent.shutdown().await;
        self.agent = joined(self.addr, backend, &[]).await;
    }

    /// Where the relay listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where the server is reached through the relay.
    pub(crate) fn url(&self) -> String {
        format!("http://{}{CLOCK}", self.addr)
    }
}

/// An agent that dialed the relay at `addr`; dropping it kills it.
async fn joined(addr: SocketAddr, backend: &str, more: &[(&str, &str)]) -> JoinSet<()> {
    let (settings, mcp) = settings(addr, backend, more);
    let agent = agent(settings, mcp).expect("a valid address");
    let (mut status, mut task) = (agent.status().watch(), JoinSet::new());
    task.spawn(async move {
        // How it ended is what its clients see.
        let _ = agent.run(std::future::pending()).await;
    });
    let joined = status.wait_for(|status| status.connected_to_server);
    drop(patiently(joined).await.expect("the board is ours"));
    task
}

/// What an agent of the relay at `addr` is told, before the server at `backend`.
pub(crate) fn settings(addr: SocketAddr, backend: &str, more: &[(&str, &str)]) -> (AgentConfig, McpConfig) {
    let url = format!("ws://{addr}/api/mcp/connect");
    let mut values = vec![
        ("server_url", url.as_str()),
        ("client_key", WORKER_KEY),
        ("client_id", "clock"),
        ("provider_url", backend),
    ];
    values.extend(more);
    let values = values.into_iter().map(|(id, value)| (id.to_owned(), value.to_owned()));
    let options = PluginOptions::new(mcp_agent_specs(), values.collect());
    let settings = AgentConfig::from_options(&options).expect("tests write valid options");
    let mut mcp = McpConfig::from_options(&options).expect("tests write valid options");
    mcp.stdio.supervisor = supervisor();
    (settings, mcp)
}

/// The path that `cargo xtask test` found for this.
pub(crate) fn from_xtask(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("`cargo xtask test` sets {name}"))
}

/// A file of the folder `tests` at the workspace's root.
pub(crate) fn script(path: &str) -> String {
    format!("{}/../../tests/{path}", env!("CARGO_MANIFEST_DIR"))
}

/// Runs a program to its end.
pub(crate) async fn output(mut command: Command) -> Output {
    command.stdin(Stdio::null()).kill_on_drop(true);
    patiently(command.output()).await.unwrap_or_else(|error| panic!("can't start {command:?}: {error}"))
}
