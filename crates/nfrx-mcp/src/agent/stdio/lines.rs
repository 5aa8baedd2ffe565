//! Lines of a stream, bounded: what a child sends is a message a line.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

/// One line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::agent) enum Line {
    /// All of it.
    Whole(Bytes),
    /// The beginning of one that is longer than allowed; the rest of it is left out.
    Cut(Bytes),
}

/// Reads lines.
pub(in crate::agent) struct Lines<R> {
    reader: BufReader<R>,
    bytes_max: usize,
    /// The rest of a cut line is still to be skipped.
    skipping: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Lines of up to `bytes_max` bytes.
    pub(in crate::agent) fn new(reader: R, bytes_max: usize) -> Self {
        Self { reader: BufReader::with_capacity(32 * 1024, reader), bytes_max, skipping: false }
    }

    /// The next line; `None` at the end, also at one that is an error: the other end is gone
    /// either way. A line that the end breaks off counts as one.
    pub(in crate::agent) async fn next(&mut self) -> Option<Line> {
        if self.skipping {
            self.skip().await?;
        }
        let mut line = BytesMut::new();
        loop {
            let seen = self.reader.fill_buf().await.ok()?;
            if seen.is_empty() {
                return (!line.is_empty()).then(|| Line::Whole(trimmed(line)));
            }
            let end = memchr::memchr(b'\n', seen);
            let piece = &seen[..end.unwrap_or(seen.len())];
            let room = self.bytes_max - line.len();
            if piece.len() > room {
                line.extend_from_slice(&piece[..room]);
                self.reader.consume(room);
                self.skipping = true;
                return Some(Line::Cut(line.freeze()));
            }
            line.extend_from_slice(piece);
            let taken = piece.len() + usize::from(end.is_some());
            self.reader.consume(taken);
            if end.is_some() {
                return Some(Line::Whole(trimmed(line)));
            }
        }
    }

    /// Goes behind the end of the line.
    async fn skip(&mut self) -> Option<()> {
        loop {
            let seen = self.reader.fill_buf().await.ok().filter(|seen| !seen.is_empty())?;
            let end = memchr::memchr(b'\n', seen);
            let taken = end.map_or(seen.len(), |at| at + 1);
            self.reader.consume(taken);
            if end.is_some() {
                self.skipping = false;
                return Some(());
            }
        }
    }
}

/// Some servers end their lines as on Windows.
fn trimmed(mut line: BytesMut) -> Bytes {
    if line.last() == Some(&b'\r') {
        line.truncate(line.len() - 1);
    }
    line.freeze()
}

/// Reads to the end and keeps nothing.
pub(super) async fn discard<R: AsyncRead + Unpin>(lines: &mut Lines<R>) {
    let reader = &mut lines.reader;
    while let Ok(seen) = reader.fill_buf().await {
        let length = seen.len();
        if length == 0 {
            return;
        }
        reader.consume(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(text: &str) -> Vec<Line> {
        // Few bytes at a time, so that lines come in pieces.
        let (mut end, reader) = tokio::io::duplex(3);
        let text = text.to_owned();
        let write = async move {
            tokio::io::AsyncWriteExt::write_all(&mut end, text.as_bytes()).await.expect("it is read");
        };
        let read = async {
            let (mut lines, mut all) = (Lines::new(reader, 8), Vec::new());
            while let Some(line) = lines.next().await {
                all.push(line);
            }
            all
        };
        tokio::join!(write, read).1
    }

    #[tokio::test]
    async fn lines_are_cut_at_their_bound_and_the_next_is_whole() {
        let whole = |text: &'static str| Line::Whole(Bytes::from(text));
        let cut = |text: &'static str| Line::Cut(Bytes::from(text));
        assert_eq!(lines("a\r\nbc\n\nlast").await, [whole("a"), whole("bc"), whole(""), whole("last")]);
        assert_eq!(lines("12345678\nx\n").await, [whole("12345678"), whole("x")]);
        assert_eq!(lines("1234567890123\nx\n").await, [cut("12345678"), whole("x")]);
        assert_eq!(lines("12345678901").await, [cut("12345678")]);
        assert_eq!(lines("").await, []);
    }
}
