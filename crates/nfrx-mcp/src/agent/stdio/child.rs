//! One child while it runs: what it is told, what it says, and how it ends.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::launch::{GONE_MAX, Process};
use super::lines::{Line, Lines, discard};
use super::sessions::Nursery;
use super::stderr::LastWords;

/// A longer message of a child ends it: what the rest belongs to can't be known.
pub(in crate::agent) const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Messages for a child that wait until it reads.
const LINES_MAX: usize = 16;
/// The agent's own notes that wait: at most one for each call, and some.
const NOTES_MAX: usize = 1024;
/// How long its last words are waited for after its messages have ended.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);

/// It ended by itself.
const ENDED: &str = "the MCP server has ended";

/// Hears what a child says. Called from the child's own task, in order.
pub(super) trait Hearer: Send + Sync + 'static {
    /// One line. Until it returns nothing more is read from the child.
    fn hear(&self, line: Bytes) -> impl Future<Output = ()> + Send;

    /// Nothing will be heard any more, and why.
    fn ended(&self, ending: &Ending);
}

/// Why a child is heard no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ending {
    /// For people.
    pub(super) reason: String,
    /// What the child said last besides its messages; may be empty.
    pub(super) last_words: String,
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)?;
        if self.last_words.is_empty() { Ok(()) } else { write!(f, "; it last said: {}", self.last_words) }
    }
}

/// The child is gone, or is told to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the MCP server has ended")]
pub(super) struct Gone;

/// The way to a child. Clones lead to the same one.
#[derive(Clone)]
pub(super) struct Input {
    lines: mpsc::Sender<Bytes>,
    notes: mpsc::Sender<Bytes>,
    stop: CancellationToken,
}

/// The other ends of an [`Input`].
pub(super) struct Orders {
    lines: mpsc::Receiver<Bytes>,
    notes: mpsc::Receiver<Bytes>,
    stop: CancellationToken,
}

impl Input {
    /// A way, and what [`run`] follows.
    pub(super) fn new() -> (Self, Orders) {
        let (lines, lines_in) = mpsc::channel(LINES_MAX);
        let (notes, notes_in) = mpsc::channel(NOTES_MAX);
        let stop = CancellationToken::new();
        (Self { lines, notes, stop: stop.clone() }, Orders { lines: lines_in, notes: notes_in, stop })
    }

    /// Sends a message, one line without its end. Waits until the child reads.
    pub(super) async fn send(&self, line: Bytes) -> Result<(), Gone> {
        tokio::select! {
            sent = self.lines.send(line) => sent.map_err(|_| Gone),
            () = self.stop.cancelled() => Err(Gone),
        }
    }

    /// Sends a note of the agent's own, before what waits, and waits for nothing. A child
    /// that reads nothing for so many notes does not miss one.
    pub(super) fn note(&self, line: Bytes) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.notes.try_send(line) {
            warn!("an MCP server does not read what it is sent");
        }
    }

    /// Ends the child. At once for who asked, later for the child.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }
}

/// Runs a child to its end, and to the end of its whole process group.
pub(super) async fn run<H: Hearer>(nursery: &Nursery, process: Process, orders: Orders, hearer: Arc<H>) {
    let server = &*nursery.server;
    let Process { stdin, stdout, stderr, gone, kill } = process;
    let Orders { lines, notes, stop } = orders;
    let words = LastWords::within(&nursery.words);
    let mut stdout = Lines::new(stdout, LINE_BYTES_MAX);
    let mut listening = std::pin::pin!(words.listen(server, stderr));
    let mut gone = std::pin::pin!(gone);
    let (mut is_told, mut is_loud, mut is_gone) = (true, true, false);
    let mut why = None;
    let reason = {
        let mut echo = std::pin::pin!(tokio::time::sleep(LAST_WORDS_MAX));
        let mut telling = std::pin::pin!(tell(stdin, lines, notes));
        let mut hearing = std::pin::pin!(hear(&mut stdout, &*hearer));
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break "the MCP server was stopped".to_owned(),
                () = telling.as_mut(), if is_told => is_told = false,
                () = listening.as_mut(), if is_loud => is_loud = false,
                known = gone.as_mut(), if !is_gone => {
                    why = known;
                    // What it said before is still to be heard.
                    is_gone = true;
                    echo.as_mut().reset(Instant::now() + LAST_WORDS_MAX);
                }
                // Somebody else holds its output open.
                () = echo.as_mut(), if is_gone => break ENDED.to_owned(),
                reason = hearing.as_mut() => break reason,
            }
        }
        // Its input ends here, and with it the child.
    };
    if is_loud && !stop.is_cancelled() {
        is_loud = tokio::time::timeout(LAST_WORDS_MAX, listening.as_mut()).await.is_err();
    }
    stop.cancel();
    hearer.ended(&Ending { reason: why.unwrap_or(reason), last_words: words.text() });
    drop(hearer);
    if is_gone {
        return;
    }
    let quiet = async {
        // It must not wait for a reader while it ends.
        discard(&mut stdout).await;
        if is_loud {
            listening.await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = gone.as_mut() => {}
        () = quiet => {}
        () = tokio::time::sleep(GONE_MAX) => {
            warn!(server, "an MCP server does not end, killing it");
            kill();
        }
    }
}

/// Hears the child out; gives the reason of the end.
async fn hear<H: Hearer>(
    stdout: &mut Lines<Box<dyn tokio::io::AsyncRead + Send + Unpin>>,
    hearer: &H,
) -> String {
    loop {
        match stdout.next().await {
            Some(Line::Whole(line)) if line.iter().all(u8::is_ascii_whitespace) => {}
            Some(Line::Whole(line)) => hearer.hear(line).await,
            Some(Line::Cut(_)) => {
                return format!("the MCP server sent a message of more than {LINE_BYTES_MAX} bytes");
            }
            None => return ENDED.to_owned(),
        }
    }
}

/// Writes what the child is told until nobody is left to tell it anything, or it reads no
/// more.
async fn tell(
    mut stdin: Box<dyn AsyncWrite + Send + Unpin>,
    mut lines: mpsc::Receiver<Bytes>,
    mut notes: mpsc::Receiver<Bytes>,
) {
    loop {
        let line = tokio::select! {
            biased;
            Some(note) = notes.recv() => note,
            Some(line) = lines.recv() => line,
            else => return,
        };
        let written = async {
            stdin.write_all(&line).await?;
            stdin.write_all(b"\n").await?;
            stdin.flush().await
        };
        if written.await.is_err() {
            return;
        }
    }
}
