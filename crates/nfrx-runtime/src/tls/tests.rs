//! Against a server whose certificate is for `localhost` and 127.0.0.1, signed by an authority
//! that only these tests know; its key is thrown away. Both are good for a hundred years.

use std::path::PathBuf;

use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/tls").join(name)
}

/// Says `hello` to one caller over TLS, and gives what the handshake came to.
async fn serve(listener: TcpListener) -> io::Result<()> {
    let chain = CertificateDer::pem_file_iter(file("localhost.pem")).expect("a file");
    let chain = chain.collect::<Result<_, _>>().expect("certificates");
    let key = PrivateKeyDer::from_pem_file(file("localhost.key")).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("they fit");
    let (socket, _) = listener.accept().await?;
    let mut stream = TlsAcceptor::from(Arc::new(config)).accept(socket).await?;
    stream.write_all(b"hello").await?;
    stream.shutdown().await
}

/// What a client that calls the server `host` reads from it.
async fn read(host: &str, extra_ca: Option<&str>) -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let client = TlsClient::new(host, extra_ca.map(file).as_deref())?;
    let reading = async {
        let mut text = String::new();
        client.connect(TcpStream::connect(address).await?).await?.read_to_string(&mut text).await?;
        Ok(text)
    };
    let (served, text) = tokio::join!(serve(listener), reading);
    served.and(text)
}

#[tokio::test]
async fn a_server_is_trusted_by_name_and_by_address() {
    for host in ["localhost", "127.0.0.1"] {
        assert_eq!(read(host, Some("authority.pem")).await.expect(host), "hello");
    }
}

// Seen to fail: with the name `localhost` for every host.
#[tokio::test]
async fn nobody_else_is_trusted() {
    for (host, extra_ca) in [("localhost", None), ("relay.example", Some("authority.pem"))] {
        // A machine may trust nobody at all, which is an error too.
        assert!(read(host, extra_ca).await.is_err(), "{host} {extra_ca:?}");
    }
}

#[tokio::test]
async fn a_file_that_is_not_there_is_an_error() {
    assert!(read("localhost", Some("there-is-none.pem")).await.is_err());
}
