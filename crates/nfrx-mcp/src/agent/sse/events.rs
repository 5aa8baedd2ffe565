//! The events of a stream, as the HTML standard reads them (§9.2.6), bounded.

use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use nfrx_spi::Body;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::agent) struct Event {
    /// What kind it is; empty where none was said, which means `message`.
    pub(in crate::agent) name: Bytes,
    /// The lines of its data.
    pub(in crate::agent) data: Vec<Bytes>,
}

/// Why no more events come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::agent) enum End {
    /// The server has ended it.
    #[error("the MCP server has ended its stream of events")]
    Ended,
    /// The connection has broken.
    #[error("the connection to the MCP server has broken")]
    Broken,
    /// An event is longer than allowed.
    #[error("the MCP server sent an event that is too long")]
    TooLong,
}

/// Reads events.
pub(in crate::agent) struct Events {
    body: Body,
    held: BytesMut,
    /// How much of `held` has no line end.
    scanned: usize,
    /// Behind a CR: a LF belongs to it.
    after_cr: bool,
    /// Nothing was read yet: a byte order mark is none of it.
    at_start: bool,
    bytes_max: usize,
}

impl Events {
    /// Events of up to `bytes_max` bytes.
    pub(in crate::agent) fn new(body: Body, bytes_max: usize) -> Self {
        Self { body, held: BytesMut::new(), scanned: 0, after_cr: false, at_start: true, bytes_max }
    }

    /// The next event that has data. One that the end breaks off is none.
    pub(in crate::agent) async fn next(&mut self) -> Result<Event, End> {
        let (mut name, mut data, mut bytes) = (Bytes::new(), Vec::new(), 0);
        loop {
            let line = self.line().await?;
            bytes += line.len();
            if bytes > self.bytes_max {
                return Err(End::TooLong);
            }
            if line.is_empty() {
                if !data.is_empty() {
                    return Ok(Event { name, data });
                }
                (name, bytes) = (Bytes::new(), 0);
                continue;
            }
            let colon = memchr::memchr(b':', &line).unwrap_or(line.len());
            let mut value = line.slice((colon + 1).min(line.len())..);
            if value.first() == Some(&b' ') {
                value.advance(1);
            }
            match &line[..colon] {
                b"event" => name = value,
                b"data" => data.push(value),
                // A comment is nothing that was said.
                b"" => bytes -= line.len(),
                _ => {}
            }
        }
    }

    /// The next line, without its end: CRLF, LF or CR.
    async fn line(&mut self) -> Result<Bytes, End> {
        loop {
            if self.after_cr && !self.held.is_empty() {
                self.after_cr = false;
                if self.held[0] == b'\n' {
                    self.held.advance(1);
                }
            }
            if let Some(end) = memchr::memchr2(b'\n', b'\r', &self.held[self.scanned..]) {
                let mut line = self.held.split_to(self.scanned + end + 1).freeze();
                self.scanned = 0;
                self.after_cr = line.last() == Some(&b'\r');
                line.truncate(line.len() - 1);
                if std::mem::take(&mut self.at_start) && line.starts_with("\u{feff}".as_bytes()) {
                    line.advance("\u{feff}".len());
                }
                return Ok(line);
            }
            self.scanned = self.held.len();
            if self.scanned > self.bytes_max {
                return Err(End::TooLong);
            }
            match self.body.frame().await {
                None => return Err(End::Ended),
                Some(Err(_)) => return Err(End::Broken),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.held.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    /// The events of a stream that comes in pieces of so many bytes, and its end.
    async fn events(text: &str, piece: usize) -> (Vec<(String, String)>, End) {
        let pieces: Vec<_> = text.as_bytes().chunks(piece).map(Bytes::copy_from_slice).collect();
        let frames = stream::iter(pieces.into_iter().map(|piece| Ok(Frame::data(piece))));
        let mut events = Events::new(Body::stream(StreamBody::new(frames)), 64);
        let (mut all, text) = (Vec::new(), |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text"));
        loop {
            match events.next().await {
                Ok(event) => all.push((text(&event.name), text(&event.data.join(&b'|')))),
                Err(end) => return (all, end),
            }
        }
    }

    // Seen to fail: without the LF behind a CR passed over, and with an event's name kept for
    // the next.
    #[tokio::test]
    async fn events_are_read_however_they_are_written_and_cut() {
        let text = "\u{feff}event: endpoint\r\ndata: /m?s=1\r\n\r\n: hi\n\ndata:{}\rdata: x\r\revent: ping\n\ndata\nid: 7\n\ndata: lost\n";
        let expected = [("endpoint", "/m?s=1"), ("", "{}|x"), ("", "")];
        let expected: Vec<_> = expected.map(|(name, data)| (name.to_owned(), data.to_owned())).into();
        for piece in [1, 2, 3, 7, text.len()] {
            assert_eq!(events(text, piece).await, (expected.clone(), End::Ended), "pieces of {piece}");
        }
    }

    // Seen to fail: with the bound for a line only.
    #[tokio::test]
    async fn an_event_has_a_bound_and_comments_have_not() {
        let line = format!("data: {}\n", "x".repeat(20));
        assert_eq!(events(&format!("{}\n", line.repeat(3)), 9).await.1, End::TooLong);
        assert_eq!(events(&"x".repeat(65), 9).await, (Vec::new(), End::TooLong));
        let alive = format!("{}data: y\n\n", ": still here, as ever\n".repeat(9));
        assert_eq!(events(&alive, 9).await, (vec![(String::new(), "y".to_owned())], End::Ended));
    }
}
