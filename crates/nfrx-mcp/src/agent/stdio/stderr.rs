//! What a child says besides its messages: for the agent's log, and its last lines for the
//! error when it fails.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::time::Instant;
use tracing::info;

use super::lines::{Line, Lines};

/// A longer line is cut.
const LINE_BYTES_MAX: usize = 1024;
/// Lines that are kept.
const KEPT_MAX: usize = 10;
/// Lines that are logged in so long; the others are only counted.
const LOGGED_MAX: u32 = 50;
const LOGGED_PER: Duration = Duration::from_secs(10);

/// A child's last words, or those of all children of a server. Clones share them.
#[derive(Clone, Default)]
pub(super) struct LastWords {
    kept: Arc<Mutex<VecDeque<String>>>,
    /// Where they are kept as well.
    all: Option<Arc<Mutex<VecDeque<String>>>>,
}

impl LastWords {
    /// None yet; those to come are kept in `all` as well.
    pub(super) fn within(all: &Self) -> Self {
        Self { kept: Arc::default(), all: Some(Arc::clone(&all.kept)) }
    }

    /// The lines, the newest last.
    pub(super) fn lines(&self) -> Vec<String> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// The same as one text.
    pub(super) fn text(&self) -> String {
        self.lines().join("\n")
    }

    fn keep(&self, line: &str) {
        for kept in std::iter::once(&self.kept).chain(&self.all) {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() == KEPT_MAX {
                kept.pop_front();
            }
            kept.push_back(line.to_owned());
        }
    }

    /// Listens to its end, so that a child never waits for somebody to read what it says.
    pub(super) async fn listen<R: AsyncRead + Unpin>(&self, server: &str, stderr: R) {
        let mut lines = Lines::new(stderr, LINE_BYTES_MAX);
        let (mut since, mut logged, mut left_out) = (Instant::now(), 0, 0_u64);
        while let Some(Line::Whole(line) | Line::Cut(line)) = lines.next().await {
            let text: String = String::from_utf8_lossy(&line).chars().filter(|c| !c.is_control()).collect();
            if text.trim().is_empty() {
                continue;
            }
            if since.elapsed() >= LOGGED_PER {
                if left_out > 0 {
                    info!(server, left_out, "the MCP server said more than is logged");
                }
                (since, logged, left_out) = (Instant::now(), 0, 0);
            }
            if logged < LOGGED_MAX {
                logged += 1;
                info!(server, line = text, "the MCP server said");
            } else {
                left_out += 1;
            }
            self.keep(&text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_lines_are_kept_and_control_characters_are_not() {
        let text: String = (0..100).map(|n| format!("line {n}\u{1b}[2J\n\n")).collect();
        let words = LastWords::default();
        words.listen("clock", text.as_bytes()).await;
        let kept = words.text();
        assert!(kept.starts_with("line 90[2J\n") && kept.ends_with("line 99[2J"), "{kept}");
        words.listen("clock", &[b'x'; 5000][..]).await;
        assert_eq!(words.text().lines().last().map(str::len), Some(LINE_BYTES_MAX));
    }
}
