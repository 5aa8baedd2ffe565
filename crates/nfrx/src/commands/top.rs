//! `nfrx status` and `nfrx top`: what a server does, once or live, in a terminal. The same
//! data as the dashboard's.

mod table;

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::{Context, bail};
use nfrx_agent::client::BackendClient;
use nfrx_agent::{BackendKey, BaseUrl};
use nfrx_runtime::options::{Catalogue, Loaded};
use nfrx_runtime::signals;
use nfrx_spi::{ArgSpec, ArgType, Secret};
use serde_json::Value;

use super::CommandName;
use table::Table;

/// How often `top` looks.
const EVERY: Duration = Duration::from_secs(1);
/// How long an answer may take.
const TIME_MAX: Duration = Duration::from_secs(10);

pub(super) fn catalogue(command: CommandName) -> Catalogue {
    let mut catalogue = Catalogue::new();
    catalogue.add(command.text(), specs());
    catalogue
}

fn specs() -> Vec<ArgSpec> {
    let text = |id, description| ArgSpec::new(id, ArgType::String, description);
    vec![
        text("log_level", "all, debug, info, warn, error or none")
            .from("--log-level", "LOG_LEVEL", "log_level")
            .default("warn"),
        text("url", "where the server is").from("--url", "NFRX_URL", "url").default("http://127.0.0.1:8080"),
        text("api_key", "a key of clients").from("--api-key", "API_KEY", "api_key").secret(),
    ]
}

/// Looks once, or, as `top`, until it is told to stop.
pub(super) fn run(command: CommandName, loaded: &Loaded, check: bool) -> anyhow::Result<()> {
    let options = loaded.group(command.text());
    let server = Server::new(options.text("url"), options.text("api_key"))?;
    if check {
        return Ok(());
    }
    super::runtime(1)?.block_on(async {
        if command == CommandName::Status {
            return say(&Table::new(&server.state().await?, None).text());
        }
        let stop = signals::terminate()?;
        tokio::select! {
            result = server.watch() => result,
            () = stop => Ok(()),
        }
    })
}

/// The server that is looked at.
struct Server {
    client: BackendClient,
    target: String,
    key: Option<BackendKey>,
}

impl Server {
    fn new(url: &str, key: &str) -> anyhow::Result<Self> {
        let base =
            BaseUrl::parse(url.trim_end_matches('/')).context("`--url` must be like https://host:port")?;
        let target = base.join("/api/state");
        let key = match key.trim() {
            "" => None,
            key => Some(BackendKey::new(&Secret::new(key)).context("`--api-key` can't be sent")?),
        };
        let client = BackendClient::new(base, Some(TIME_MAX)).context("no client can be made")?;
        Ok(Self { client, target, key })
    }

    async fn state(&self) -> anyhow::Result<Value> {
        let asked = tokio::time::timeout(TIME_MAX, self.client.get(&self.target, self.key.as_ref()));
        let reply = asked.await.context("the server took too long")?.context("the server gives no answer")?;
        match reply.status.as_u16() {
            200 => serde_json::from_slice(&reply.body).context("the answer is no state of nfrx"),
            401 => bail!("the server wants a key: set API_KEY to one that its clients use"),
            status => bail!("the server answered {status}"),
        }
    }

    /// Shows the state again and again. A server that is away for a moment is waited for.
    async fn watch(&self) -> anyhow::Result<()> {
        let mut before = None;
        let clears = std::io::stdout().is_terminal();
        loop {
            let text = match self.state().await {
                Ok(state) => {
                    let text = Table::new(&state, before.as_ref()).text();
                    before = Some(state);
                    text
                }
                Err(error) if before.is_some() => format!("{error:#}\n"),
                Err(error) => return Err(error),
            };
            // To the upper left corner, and clear what follows.
            say(&format!("{}{text}", if clears { "\x1b[H\x1b[J" } else { "" }))?;
            tokio::time::sleep(EVERY).await;
        }
    }
}

fn say(text: &str) -> anyhow::Result<()> {
    std::io::stdout().write_all(text.as_bytes()).context("nobody reads what is printed")
}
