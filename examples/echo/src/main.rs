//! A nfrx server that has only the echo plugin.

use nfrx_echo::EchoFactory;
use nfrx_runtime::signals;
use nfrx_server::{Server, ServerConfig};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    nfrx_runtime::logs::init("info")?;
    let (stop, cut) = (signals::terminate()?, signals::terminate_again()?);
    let server = Server::bind(ServerConfig::local(), vec![Box::new(EchoFactory)]).await?;
    tracing::info!(addr = ?server.addr(), "ready");
    server.serve(stop, cut).await;
    Ok(())
}
