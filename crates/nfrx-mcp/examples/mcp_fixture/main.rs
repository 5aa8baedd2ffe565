//! An MCP server of our own, made to be tested against: it has every tool, prompt, resource
//! and task that the protocol's conformance suite asks for, in both eras, on `rmcp`.
//!
//! `mcp_fixture http 127.0.0.1:0` serves Streamable HTTP at `/mcp` and prints
//! `ready http://ADDR/mcp`; it lives as long as its standard input. `mcp_fixture stdio`
//! speaks over its standard streams. `mcp_fixture mcp-child COMMAND...` watches over a command
//! as `nfrx` does for its agent.

#![allow(deprecated, reason = "what the newest revision calls old is what most servers speak")]
#![allow(clippy::print_stdout, reason = "the line by which a test learns the address")]

mod input;
mod jobs;
mod prompts;
mod resources;
mod server;
mod tools;

use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use rmcp::ServiceExt as _;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use server::Fixture;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|word| word == nfrx_mcp::agent::stdio::SUPERVISE) {
        return Ok(nfrx_mcp::agent::stdio::supervise(args)?);
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve())
}

async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    match (args.next().as_deref(), args.next()) {
        (Some("http"), Some(addr)) => http(&addr).await,
        (Some("stdio"), None) => {
            let running = Fixture::new().serve(rmcp::transport::stdio()).await?;
            running.waiting().await?;
            Ok(())
        }
        _ => Err("usage: mcp_fixture http ADDR | mcp_fixture stdio".into()),
    }
}

async fn http(addr: &str) -> Result<(), Box<dyn std::error::Error>> {
    let fixture = Fixture::new();
    let service = StreamableHttpService::new(
        move || Ok(fixture.clone()),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default(),
    );
    let listener = TcpListener::bind(addr).await?;
    println!("ready http://{}/mcp", listener.local_addr()?);
    let mut connections = JoinSet::new();
    let mut stdin = tokio::io::stdin();
    let mut ignored = [0; 64];
    loop {
        let socket = tokio::select! {
            accepted = listener.accept() => accepted?.0,
            read = stdin.read(&mut ignored) => match read {
                Ok(0) | Err(_) => return Ok(()),
                Ok(_) => continue,
            },
        };
        let service = service.clone();
        connections.spawn(async move {
            let answer = service_fn(move |request| {
                let service = service.clone();
                async move { Ok::<_, std::convert::Infallible>(service.handle(request).await) }
            });
            // How a connection ended is its client's matter.
            let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), answer).await;
        });
    }
}
