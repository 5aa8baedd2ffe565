//! Dialing: from a URL to an upgraded connection. The upgrade request is made here, by
//! hand, so that the raw socket can be handed over (decision 8).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use http::Uri;
use nfrx_runtime::TlsClient;
use nfrx_spi::{BoxFuture, Io, Secret};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::SUBPROTOCOL;
use crate::sockets;

/// From the first packet to the end of the upgrade (worker protocol §1).
const DIAL_MAX: Duration = Duration::from_secs(15);

/// A longer head is no answer to an upgrade.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// How much of a refusal's body is shown.
const BODY_SHOWN: usize = 200;

/// A duplex byte stream to a server.
pub type Connection = Pin<Box<dyn Io>>;

/// Makes connections to one server; tests bring their own.
pub trait Connect: Send + Sync + 'static {
    /// Opens a connection, TLS included.
    fn connect(&self) -> BoxFuture<'_, io::Result<Connection>>;
}

/// Where the server takes tunnels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl {
    tls: bool,
    host: String,
    port: u16,
    path: String,
}

/// Why a tunnel was not made. Each says what to fix.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Not an address that can be dialed.
    #[error("`{0}` is no server address: it must look like wss://relay.example/api/llm/connect")]
    BadUrl(String),
    /// 401 or 403: the key.
    #[error("{server} refused the client key ({status}): set CLIENT_KEY to a key the server knows{hint}")]
    Unauthorized {
        /// The server.
        server: String,
        /// The status.
        status: u16,
        /// What the server says, with a colon before it.
        hint: String,
    },
    /// Another status than 101.
    #[error("{server} refused the tunnel: status {status}{body}")]
    Refused {
        /// The server.
        server: String,
        /// The status.
        status: u16,
        /// The beginning of what it says, with a colon before it.
        body: String,
    },
    /// The upgrade was done wrongly, or for another subprotocol.
    #[error(
        "{server} does not speak `{SUBPROTOCOL}` or protocol v1: is SERVER_URL the address of a nfrx server?"
    )]
    NoTunnel {
        /// The server.
        server: String,
    },
    /// The server can't be reached, or broke off.
    #[error(
        "can't reach {server}: is the server running there? SERVER_URL names it, RECONNECT=true keeps trying"
    )]
    Io {
        /// The server.
        server: String,
        /// Why.
        source: io::Error,
    },
    /// It took too long.
    #[error("{server} did not answer within {} s", DIAL_MAX.as_secs())]
    Timeout {
        /// The server.
        server: String,
    },
}

impl ServerUrl {
    /// Reads `ws`, `wss`, `http` or `https` addresses.
    pub fn parse(text: &str) -> Result<Self, DialError> {
        // A password in it must not get into a log.
        let bad = || DialError::BadUrl(text.rsplit('@').next().unwrap_or_default().to_owned());
        let uri: Uri = text.trim().parse().map_err(|_| bad())?;
        let tls = match uri.scheme_str() {
            Some("ws" | "http") => false,
            Some("wss" | "https") => true,
            _ => return Err(bad()),
        };
        let authority = uri.authority().ok_or_else(bad)?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(bad());
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { tls, host: authority.host().to_owned(), port, path })
    }

    /// Whether a key would cross a network in the clear.
    pub fn is_exposed(&self) -> bool {
        let local = ["localhost", "127.0.0.1", "[::1]"];
        !self.tls && !local.contains(&self.host.as_str())
    }

    fn authority(&self) -> String {
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => self.host.clone(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }
}

impl std::fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "wss" } else { "ws" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

/// Connects over TCP, with TLS where the address wants it.
pub struct TcpConnect {
    url: ServerUrl,
    tls: Option<TlsClient>,
}

impl TcpConnect {
    /// For this server; the certificates that this machine trusts are read once, here.
    pub fn new(url: &ServerUrl) -> Result<Self, DialError> {
        let tls = match url.tls {
            true => Some(
                TlsClient::new(&url.host, None)
                    .map_err(|source| DialError::Io { server: url.to_string(), source })?,
            ),
            false => None,
        };
        Ok(Self { url: url.clone(), tls })
    }
}

impl Connect for TcpConnect {
    fn connect(&self) -> BoxFuture<'_, io::Result<Connection>> {
        Box::pin(async move {
            let host = self.url.host.trim_matches(['[', ']']);
            let socket = TcpStream::connect((host, self.url.port)).await?;
            sockets::prompt(&socket)?;
            Ok(match &self.tls {
                Some(tls) => Box::pin(tls.connect(socket).await?) as Connection,
                None => Box::pin(socket),
            })
        })
    }
}

/// What a connection carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    H2,
    V1,
}

/// Dials: connects, asks for the upgrade, and gives the stream behind it.
pub(crate) async fn dial(
    url: &ServerUrl,
    connect: &Arc<dyn Connect>,
    key: Option<&Secret>,
) -> Result<(Connection, Carrier), DialError> {
    let server = url.to_string();
    match tokio::time::timeout(DIAL_MAX, upgrade(url, connect, key)).await {
        Ok(result) => result,
        Err(_) => Err(DialError::Timeout { server }),
    }
}

async fn upgrade(
    url: &ServerUrl,
    connect: &Arc<dyn Connect>,
    key: Option<&Secret>,
) -> Result<(Connection, Carrier), DialError> {
    let server = url.to_string();
    let broken = |source| DialError::Io { server: server.clone(), source };
    let mut connection = connect.connect().await.map_err(broken)?;
    let nonce = STANDARD.encode(fastrand::u128(..).to_be_bytes());
    let mut head = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {nonce}\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n",
        url.path,
        url.authority(),
    );
    if let Some(key) = key {
        head.push_str(&format!("Authorization: Bearer {}\r\n", key.reveal()));
    }
    head.push_str("\r\n");
    connection.write_all(head.as_bytes()).await.map_err(broken)?;
    connection.flush().await.map_err(broken)?;
    let mut bytes = BytesMut::with_capacity(1024);
    loop {
        let read = connection.read_buf(&mut bytes).await.map_err(broken)?;
        if let Some(head_end) = memchr::memmem::find(&bytes, b"\r\n\r\n") {
            let rest = bytes.split_off(head_end + 4);
            return judge(&server, &bytes, rest, connection, &nonce);
        }
        if read == 0 || bytes.len() > HEAD_BYTES_MAX {
            return Err(DialError::NoTunnel { server });
        }
    }
}

/// Looks at the answer's head.
fn judge(
    server: &str,
    head: &[u8],
    rest: BytesMut,
    connection: Connection,
    nonce: &str,
) -> Result<(Connection, Carrier), DialError> {
    let server = server.to_owned();
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(_)) = response.parse(head) else {
        return Err(DialError::NoTunnel { server });
    };
    let header = |name: &str| {
        let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| String::from_utf8_lossy(header.value).trim().to_owned())
    };
    match response.code.unwrap_or_default() {
        101 => {
            let accepted = header("sec-websocket-accept") == Some(derive_accept_key(nonce.as_bytes()));
            // A server that chooses nothing speaks v1, on this very connection (decision 8).
            let carrier = match header("sec-websocket-protocol").as_deref() {
                Some(SUBPROTOCOL) => Carrier::H2,
                None => Carrier::V1,
                Some(_) => return Err(DialError::NoTunnel { server }),
            };
            if !accepted {
                return Err(DialError::NoTunnel { server });
            }
            // The server may speak first, and some of it may have come along.
            let connection =
                if rest.is_empty() { connection } else { Box::pin(Prefixed { rest, connection }) };
            Ok((connection, carrier))
        }
        status @ (401 | 403) => {
            let hint =
                header("www-authenticate").as_deref().and_then(description).map(|text| format!(": {text}"));
            Err(DialError::Unauthorized { server, status, hint: hint.unwrap_or_default() })
        }
        status => {
            let text = String::from_utf8_lossy(&rest[..rest.len().min(BODY_SHOWN)]).trim().to_owned();
            let body = if text.is_empty() { text } else { format!(": {text}") };
            Err(DialError::Refused { server, status, body })
        }
    }
}

/// A connection of which some was read already.
struct Prefixed {
    rest: BytesMut,
    connection: Connection,
}

impl AsyncRead for Prefixed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.rest.is_empty() {
            return self.connection.as_mut().poll_read(cx, buf);
        }
        let length = self.rest.len().min(buf.remaining());
        buf.put_slice(&self.rest.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.connection.as_mut().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.as_mut().poll_shutdown(cx)
    }
}

/// The `error_description` of a challenge (RFC 6750 §3).
fn description(challenge: &str) -> Option<&str> {
    challenge.split_once("error_description=\"")?.1.split('"').next()
}
