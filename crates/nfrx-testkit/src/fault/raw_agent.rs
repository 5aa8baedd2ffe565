//! An agent that speaks by hand-made frames, in whatever order a test wants.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::raw::ws;
use crate::relay::WORKER_KEY;

/// The agent's end of a connection.
pub struct RawAgent<T> {
    io: T,
    heard: Vec<u8>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> RawAgent<T> {
    /// An agent that has said nothing yet.
    pub fn new(io: T) -> Self {
        Self { io, heard: Vec::new() }
    }

    /// Asks `plugin` for a tunnel with the right key, and waits for the answer.
    pub async fn upgrade(&mut self, plugin: &str, protocol: Option<&str>) -> std::io::Result<()> {
        self.send(&ws::upgrade(&format!("/api/{plugin}/connect"), WORKER_KEY, protocol)).await?;
        loop {
            if let Some(end) = self.heard.windows(4).position(|end| end == b"\r\n\r\n") {
                self.heard.drain(..end + 4);
                return Ok(());
            }
            self.hear().await?;
        }
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.io.write_all(bytes).await?;
        self.io.flush().await
    }

    /// Sends a message of text.
    pub async fn say(&mut self, text: &str) -> std::io::Result<()> {
        self.send(&ws::message(ws::TEXT, text.as_bytes())).await
    }

    /// Registers as a worker of protocol v1 with the model `demo`.
    pub async fn register(&mut self, id: &str, slots: u32) -> std::io::Result<()> {
        self.say(&format!(
            r#"{{"type":"register","worker_id":"{id}","models":["demo"],"max_concurrency":{slots}}}"#
        ))
        .await
    }

    /// Reads what comes; an end is an error.
    async fn hear(&mut self) -> std::io::Result<()> {
        let mut piece = [0; 16 * 1024];
        match self.io.read(&mut piece).await? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.heard.extend_from_slice(&piece[..read]);
                Ok(())
            }
        }
    }

    /// Reads and forgets until the server ends it.
    pub async fn stay(&mut self) -> std::io::Result<()> {
        loop {
            self.heard.clear();
            self.hear().await?;
        }
    }

    /// Sends bytes and hears at the same time, until the server ends it; gives the code of
    /// the server's close frame, if there is one.
    pub async fn pour(self, bytes: &[u8]) -> Option<u16> {
        let Self { io, mut heard } = self;
        let (mut incoming, mut outgoing) = tokio::io::split(io);
        // The server may end it before all is said.
        let _ = tokio::join!(outgoing.write_all(bytes), incoming.read_to_end(&mut heard));
        ws::close_code(&heard)
    }

    /// The id of the next request. Servers don't mask, so it is found without reading frames.
    pub async fn next_request(&mut self) -> std::io::Result<String> {
        const BEGIN: &str = r#"{"type":"http_proxy_request","request_id":""#;
        loop {
            let text = String::from_utf8_lossy(&self.heard).into_owned();
            if let Some((_, rest)) = text.split_once(BEGIN)
                && let Some((id, rest)) = rest.split_once('"')
            {
                self.heard = rest.as_bytes().to_vec();
                return Ok(id.to_owned());
            }
            self.hear().await?;
        }
    }
}
