//! Backends that break the rules of HTTP: each tells one lie for an answer.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The body of an answer that is a lie, and what it begins with if it breaks off.
pub const MARK: &str = "a lie";

/// A wrong answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// More bytes are announced than come.
    TooLong,
    /// More bytes come than are announced, and look like another answer.
    TooShort,
    /// The connection closes before an answer.
    Nothing,
    /// It closes within the head.
    HalfHead,
    /// What comes is no HTTP.
    Noise,
    /// The size of a chunk is no number.
    BadChunk,
    /// The connection closes within a chunk.
    HalfChunk,
    /// It closes between two chunks.
    NoLastChunk,
    /// A header of 200 KiB.
    HugeHead,
    /// A thousand interim answers, and no other.
    Interim,
    /// Two different lengths.
    TwoLengths,
    /// A length and chunks.
    LengthAndChunks,
    /// The request is read, and that is all.
    Silence,
}

impl Lie {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::TooLong,
        Self::TooShort,
        Self::Nothing,
        Self::HalfHead,
        Self::Noise,
        Self::BadChunk,
        Self::HalfChunk,
        Self::NoLastChunk,
        Self::HugeHead,
        Self::Interim,
        Self::TwoLengths,
        Self::LengthAndChunks,
        Self::Silence,
    ];

    /// Whether an agent may take it for a whole answer, which is then [`MARK`].
    pub fn may_look_whole(self) -> bool {
        matches!(self, Self::TooShort | Self::LengthAndChunks)
    }

    /// What is sent.
    fn bytes(self) -> Vec<u8> {
        let answer = |headers: &str, body: &str| {
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{headers}\r\n\r\n{body}")
                .into_bytes()
        };
        let chunked = "transfer-encoding: chunked";
        match self {
            Self::Nothing | Self::Silence => Vec::new(),
            Self::TooLong => answer("content-length: 1000", MARK),
            Self::TooShort => {
                let next = answer("content-length: 8", "smuggled");
                [answer("content-length: 5", MARK), next].concat()
            }
            Self::HalfHead => b"HTTP/1.1 200 OK\r\ncontent-ty".to_vec(),
            Self::Noise => b"\x16\x03\x01\x02\x00 what is this\r\n\r\n".to_vec(),
            Self::BadChunk => answer(chunked, &format!("5\r\n{MARK}\r\nzz\r\n")),
            Self::HalfChunk => answer(chunked, &format!("ff\r\n{MARK}")),
            Self::NoLastChunk => answer(chunked, &format!("5\r\n{MARK}\r\n")),
            Self::HugeHead => answer(&format!("x: {}\r\ncontent-length: 5", "y".repeat(200 * 1024)), MARK),
            Self::Interim => b"HTTP/1.1 100 Continue\r\n\r\n".repeat(1000),
            Self::TwoLengths => answer("content-length: 5\r\ncontent-length: 6", MARK),
            Self::LengthAndChunks => {
                answer(&format!("content-length: 5\r\n{chunked}"), &format!("5\r\n{MARK}\r\n0\r\n\r\n"))
            }
        }
    }

    /// Answers the first request on `io` with this lie, and stays until the agent leaves
    /// where an end would say too much.
    pub async fn tell<T: AsyncRead + AsyncWrite + Unpin>(self, mut io: T) {
        let mut request = Vec::new();
        let mut piece = [0; 4096];
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            match io.read(&mut piece).await {
                Ok(read @ 1..) => request.extend_from_slice(&piece[..read]),
                _ => return,
            }
        }
        // An agent that has heard enough may leave before all is said.
        let _ = io.write_all(&self.bytes()).await;
        let _ = io.flush().await;
        let stays = matches!(self, Self::TooShort | Self::Silence | Self::LengthAndChunks);
        if stays {
            while matches!(io.read(&mut piece).await, Ok(1..)) {}
        }
    }
}
