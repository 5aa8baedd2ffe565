//! TLS towards the server: rustls, the system's certificates, and those of a file.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::dial::Connection;

/// Makes TLS connections to one server.
pub(crate) struct Client {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Client {
    /// Reads the certificates to trust.
    pub(crate) fn new(host: &str, extra_ca: Option<&Path>) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(file) = extra_ca {
            let certificates = CertificateDer::pem_file_iter(file).map_err(io::Error::other)?;
            for certificate in certificates {
                roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
            }
        }
        if roots.is_empty() {
            return Err(io::Error::other(
                "this machine has no trusted certificates (package ca-certificates)",
            ));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let host = host.trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name })
    }

    pub(crate) async fn connect(&self, socket: TcpStream) -> io::Result<Connection> {
        Ok(Box::pin(self.connector.connect(self.name.clone(), socket).await?))
    }
}
