//! Connections to a backend: TCP, and TLS over it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use nfrx_spi::{BoxFuture, Io};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

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
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl TcpConnector {
    /// For the backend at `base`. With `https` the certificates that this machine
    /// trusts are read once, here.
    pub fn new(base: &BaseUrl) -> Result<Self, ClientError> {
        let tls = if base.tls() { Some(tls(base.host())?) } else { None };
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
                Some((connector, name)) => Box::pin(connector.connect(name.clone(), tcp).await?) as Stream,
                None => Box::pin(tcp),
            })
        })
    }
}

fn tls(host: &str) -> Result<(TlsConnector, ServerName<'static>), ClientError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (usable, _unusable) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        return Err(ClientError::Tls("this machine has no trusted certificates".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientError::Tls(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|error| ClientError::Tls(error.to_string()))?;
    Ok((TlsConnector::from(Arc::new(config)), name))
}
