//! Connections to a backend: TCP, and TLS over it.

use std::io;
use std::pin::Pin;

use nfrx_runtime::TlsClient;
use nfrx_spi::{BoxFuture, Io};
use tokio::net::TcpStream;

use super::ClientError;
use crate::BaseUrl;

/// A connection to a backend.
pub type Stream = Pin<Box<dyn Io>>;

/// Makes connections to one backend; tests bring their own.
pub trait Connector: Send + Sync + 'static {
    /// Opens a connection. Called for each request that finds none kept; the caller
    /// bounds the wait.
    fn connect(&self) -> BoxFuture<'_, io::Result<Stream>>;
}

/// Connects straight to the backend's host: variables such as `HTTP_PROXY` have no say
/// in it (KD-75).
pub struct TcpConnector {
    host: String,
    port: u16,
    tls: Option<TlsClient>,
}

impl TcpConnector {
    /// For the backend at `base`. With `https` the certificates that this machine
    /// trusts are read once, here.
    pub fn new(base: &BaseUrl) -> Result<Self, ClientError> {
        let tls = base.tls().then(|| TlsClient::new(base.host(), None)).transpose();
        let tls = tls.map_err(|error| ClientError::Tls(error.to_string()))?;
        Ok(Self { host: base.host().to_owned(), port: base.port(), tls })
    }
}

impl Connector for TcpConnector {
    fn connect(&self) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move {
            let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
            // A token is smaller than a segment: it must not wait for the next one.
            tcp.set_nodelay(true)?;
            Ok(match &self.tls {
                Some(tls) => Box::pin(tls.connect(tcp).await?) as Stream,
                None => Box::pin(tcp),
            })
        })
    }
}
