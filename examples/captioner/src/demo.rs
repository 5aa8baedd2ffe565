//! The demo: a server and two agents in this process, and pictures sent through them.

use std::io::Write;
use std::net::SocketAddr;

use anyhow::{Context, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use nfrx_agent::AgentConfig;
use nfrx_runtime::Drain;
use nfrx_server::{Server, ServerConfig};
use nfrx_spi::PluginOptions;
use nfrx_tunnel::LinkState;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::CaptionerFactory;
use crate::agent::{CaptionAgent, CaptionConfig, agent_options};
use crate::draw::Drawing;

/// The styles of the two agents: one does both, the other only short ones.
const AGENTS: [(&str, &str); 2] = [("den", "short,long"), ("attic", "short")];

/// What is drawn, and what it shall be.
const DRAWINGS: [(&str, Drawing); 3] = [
    ("a night sky", Drawing { width: 320, height: 200, above: [8, 10, 60], below: [12, 30, 120] }),
    ("a snow field", Drawing { width: 200, height: 320, above: [235, 240, 250], below: [252, 252, 252] }),
    ("a meadow", Drawing { width: 240, height: 240, above: [90, 160, 235], below: [60, 170, 50] }),
];

/// Runs the demo and tells on `out` what was asked and answered.
pub async fn run(out: &mut impl Write) -> anyhow::Result<()> {
    let server = Server::bind(ServerConfig::local(), vec![Box::new(CaptionerFactory)]).await?;
    let addr = server.addr().context("the server has a port")?;
    let (serving, agents) = (Drain::new(), Drain::new());
    let stop = serving.watch();
    serving.spawn("server", server.serve(async move { stop.draining().await }, std::future::pending()));
    for (id, styles) in AGENTS {
        join(addr, id, styles, &agents).await?;
    }
    writeln!(out, "relay on http://{addr}/api/captioner/v1, with the agents den and attic")?;
    let asked = ask(addr, out).await;
    agents.finish(None).await;
    serving.finish(None).await;
    asked
}

/// Starts an agent and waits until the server has welcomed it.
async fn join(addr: SocketAddr, id: &str, styles: &str, agents: &Drain) -> anyhow::Result<()> {
    let values = [
        ("server_url", format!("ws://{addr}/api/captioner/connect")),
        ("client_id", id.to_owned()),
        ("client_name", id.to_owned()),
        ("styles", styles.to_owned()),
    ];
    let values = values.map(|(id, value)| (id.to_owned(), value)).into();
    let options = PluginOptions::new(agent_options(), values);
    let agent =
        CaptionAgent::new(AgentConfig::from_options(&options)?, CaptionConfig::from_options(&options)?)?;
    let (mut state, stop) = (agent.state(), agents.watch());
    agents.spawn("agent", async move {
        if let Err(error) = agent.run(async move { stop.draining().await }).await {
            tracing::error!(%error, "an agent ended");
        }
    });
    state.wait_for(|state| matches!(state, LinkState::Connected { .. })).await.context("an agent ended")?;
    Ok(())
}

/// Sends each picture by itself, then all at once.
async fn ask(addr: SocketAddr, out: &mut impl Write) -> anyhow::Result<()> {
    for (name, drawing) in DRAWINGS {
        let answer = post(addr, "/api/captioner/v1/caption?style=long", drawing.to_ppm()).await?;
        writeln!(out, "{name}: {}", answer["caption"].as_str().unwrap_or_default())?;
    }
    let images: Vec<_> =
        DRAWINGS.iter().map(|(_, drawing)| BASE64_STANDARD.encode(drawing.to_ppm())).collect();
    let body = json!({ "style": "short", "images": images }).to_string();
    let answer = post(addr, "/api/captioner/v1/captions", body.into_bytes()).await?;
    for ((name, _), outcome) in DRAWINGS.iter().zip(answer["captions"].as_array().into_iter().flatten()) {
        writeln!(out, "{name}, in short: {}", outcome["caption"].as_str().unwrap_or_default())?;
    }
    Ok(())
}

async fn post(addr: SocketAddr, path: &str, body: Vec<u8>) -> anyhow::Result<Value> {
    let socket = TcpStream::connect(addr).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    let request = Request::post(path).header("host", addr.to_string()).body(Full::new(Bytes::from(body)))?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        ensure!(status.is_success(), "the relay says {status}: {}", String::from_utf8_lossy(&body));
        Ok(serde_json::from_slice(&body)?)
    };
    tokio::pin!(connection);
    tokio::select! {
        answer = exchange => answer,
        ended = connection.as_mut() => {
            ended?;
            anyhow::bail!("the relay closed the connection without an answer")
        }
    }
}
