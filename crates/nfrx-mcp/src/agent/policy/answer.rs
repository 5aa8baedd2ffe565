//! The answers of a server whose tools are not all open: JSON is read whole, a stream event
//! by event.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Limited};
use nfrx_spi::{Body, BodyError, CallError};
use tracing::warn;

use super::Rules;
use super::listing::cut;
use crate::events::Boundary;

/// A longer list of tools, or event, is not passed on: it could not be read.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Takes out of an answer what this caller may not call.
pub(super) async fn filtered(
    answer: Response<Body>,
    rules: Arc<Rules>,
    key: Option<String>,
) -> Result<Response<Body>, CallError> {
    let (mut head, body) = answer.into_parts();
    let kind = kind(&head.headers);
    if !["application/json", "text/event-stream"].contains(&kind.as_str()) {
        return Ok(Response::from_parts(head, body));
    }
    if head.headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        warn!("an MCP server codes its answers unasked: they can't be judged by its list of tools");
        return Err(CallError::Upstream);
    }
    head.headers.remove(CONTENT_LENGTH);
    let mut cutter = Cutter { rules, key };
    if kind == "text/event-stream" {
        let events = Events {
            body,
            cutter,
            held: BytesMut::new(),
            scanned: 0,
            boundary: Boundary::new(),
            ended: false,
        };
        return Ok(Response::from_parts(head, Body::stream(events)));
    }
    let whole = Limited::new(body, BYTES_MAX).collect().await.map_err(|error| {
        warn!(error, "an MCP server's answer could not be read whole");
        CallError::Upstream
    })?;
    Ok(Response::from_parts(head, Body::from(cutter.cut(whole.to_bytes()))))
}

fn kind(headers: &HeaderMap) -> String {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

struct Cutter {
    rules: Arc<Rules>,
    key: Option<String>,
}

impl Cutter {
    fn cut_text(&mut self, text: &str) -> Option<String> {
        let (rules, key) = (&self.rules, self.key.as_deref());
        cut(text, &mut |tool, harmless| {
            rules.learn(tool, harmless);
            rules.allow(key, tool)
        })
    }

    fn cut(&mut self, message: Bytes) -> Bytes {
        let cut = std::str::from_utf8(&message).ok().and_then(|text| self.cut_text(text));
        cut.map_or(message, Bytes::from)
    }

    /// One event with its empty line. What is no data stays as it is.
    fn cut_event(&mut self, event: Bytes) -> Bytes {
        let Ok(text) = std::str::from_utf8(&event) else { return event };
        let data: Vec<_> = lines(text).filter_map(data_of).collect();
        let Some(cut) = self.cut_text(&data.join("\n")) else { return event };
        let mut out = String::with_capacity(event.len());
        for line in lines(text).filter(|line| !line.is_empty() && data_of(line).is_none()) {
            out.push_str(line);
            out.push('\n');
        }
        for line in cut.split('\n') {
            out.push_str("data: ");
            out.push_str(line);
            out.push('\n');
        }
        out.push('\n');
        Bytes::from(out)
    }
}

fn lines(event: &str) -> impl Iterator<Item = &str> {
    event.split('\n').flat_map(|line| line.trim_end_matches('\r').split('\r'))
}

fn data_of(line: &str) -> Option<&str> {
    let data = line.strip_prefix("data:")?;
    Some(data.strip_prefix(' ').unwrap_or(data))
}

/// A stream, of which each event is read before it is passed on.
struct Events {
    body: Body,
    cutter: Cutter,
    held: BytesMut,
    /// How much of `held` is known to have no event's end.
    scanned: usize,
    boundary: Boundary,
    ended: bool,
}

impl Events {
    /// The next whole event, or an empty line more.
    fn next_event(&mut self) -> Option<Bytes> {
        while let Some(byte) = self.held.get(self.scanned) {
            self.boundary.feed(&[*byte]);
            self.scanned += 1;
            if self.boundary.is_between() {
                let event = self.held.split_to(self.scanned).freeze();
                self.scanned = 0;
                return Some(event);
            }
        }
        None
    }
}

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if let Some(event) = self.next_event() {
                return Poll::Ready(Some(Ok(Frame::data(self.cutter.cut_event(event)))));
            }
            if self.ended {
                // Half an event is none: no reader acts on it.
                let rest = self.held.split().freeze();
                self.scanned = 0;
                return Poll::Ready((!rest.is_empty()).then(|| Ok(Frame::data(self.cutter.cut_event(rest)))));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if self.held.len() + data.len() > BYTES_MAX {
                        return Poll::Ready(Some(Err(BodyError::TooLarge { bytes_max: BYTES_MAX as u64 })));
                    }
                    self.held.extend_from_slice(&data);
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.ended = true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use futures_util::stream;
    use http_body_util::StreamBody;

    use super::*;
    use crate::agent::policy::ToolPolicy;

    async fn through(kind: &str, pieces: &[&str], more: &[(&str, &str)]) -> Result<String, CallError> {
        let tools = Some(["a".to_owned()].into());
        let rules = Arc::new(Rules::new(ToolPolicy::new(tools, BTreeMap::new(), false)));
        let pieces: Vec<_> =
            pieces.iter().map(|piece| Ok(Frame::data(Bytes::from(piece.to_string())))).collect();
        let mut answer = Response::builder().header("content-type", kind);
        for (name, value) in more {
            answer = answer.header(*name, *value);
        }
        let answer = answer.body(Body::stream(StreamBody::new(stream::iter(pieces)))).expect("valid");
        let answer = filtered(answer, rules, None).await?;
        Ok(String::from_utf8(answer.into_body().collect().await.expect("good").to_bytes().to_vec())
            .expect("text"))
    }

    const LIST: &str = r#"{"id":1,"result":{"tools":[{"name":"a"},{"name":"b"}]}}"#;
    const LEFT: &str = r#"{"id":1,"result":{"tools":[{"name":"a"}]}}"#;

    // Seen to fail: with events cut where their pieces end.
    #[tokio::test]
    async fn lists_are_shortened_in_json_and_in_events_however_they_are_cut() {
        assert_eq!(through("application/json; charset=utf-8", &[LIST], &[]).await.expect("ok"), LEFT);
        let text = format!(": hi\r\n\r\nid: 7\nevent: message\ndata: {LIST}\n\ndata: x\n\ndata: {LIST}");
        let expected =
            format!(": hi\r\n\r\nid: 7\nevent: message\ndata: {LEFT}\n\ndata: x\n\ndata: {LEFT}\n\n");
        for length in [1, 2, 7, 50, 1000] {
            let pieces: Vec<_> = text
                .as_bytes()
                .chunks(length)
                .map(|piece| std::str::from_utf8(piece).expect("ASCII"))
                .collect();
            assert_eq!(through("text/event-stream", &pieces, &[]).await.expect("ok"), expected, "{length}");
        }
        assert_eq!(through("text/plain", &[LIST], &[]).await.expect("ok"), LIST);
    }

    #[tokio::test]
    async fn an_answer_that_cannot_be_read_is_not_passed_on() {
        let coded = through("application/json", &[LIST], &[("content-encoding", "gzip")]).await;
        assert_eq!(coded, Err(CallError::Upstream));
    }
}
