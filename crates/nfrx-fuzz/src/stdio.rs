//! What an MCP server writes to its standard output: lines are the same however they come
//! and none is longer than its bound; a message is what any reader of JSON finds, and stays
//! the same but for what is replaced.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt as _;
use nfrx_mcp::fuzzing::glance;
use nfrx_mcp::fuzzing::stdio::{Kind, Read, lines, read};
use serde::de::IgnoredAny;
use tokio::io::{AsyncRead, ReadBuf};

use crate::json::Json;
use crate::pieces::cuts;

/// Short, so that lines are longer.
const LINE_BYTES_MAX: usize = 100;

pub(crate) fn run(data: &[u8]) {
    let expected = expected(data);
    for pieces in cuts(data) {
        let found = lines(Pieces(pieces.into_iter().rev().collect()), LINE_BYTES_MAX).now_or_never();
        assert_eq!(found.as_deref(), Some(&expected[..]), "cut otherwise");
    }
    let text = Bytes::copy_from_slice(data);
    for end in [data.len() / 2, data.len()] {
        let seen = glance(&data[..end], end == data.len());
        assert!(seen.method.is_none_or(|method| method.chars().count() <= 128));
        if let Some(id) = seen.id {
            assert!(serde_json::from_str::<IgnoredAny>(&id).is_ok(), "no JSON is repeated: {id}");
        }
    }
    if let Some(message) = read(&text) {
        judge(data, &message);
    }
}

/// The lines, and whether each is cut.
fn expected(data: &[u8]) -> Vec<(Bytes, bool)> {
    let mut all: Vec<_> = data.split(|byte| *byte == b'\n').collect();
    all.pop_if(|last| last.is_empty());
    let line = |line: &[u8]| match line.get(..LINE_BYTES_MAX) {
        Some(beginning) if line.len() > LINE_BYTES_MAX => (Bytes::copy_from_slice(beginning), true),
        _ => (Bytes::copy_from_slice(line.strip_suffix(b"\r").unwrap_or(line)), false),
    };
    all.into_iter().map(line).collect()
}

fn judge(text: &[u8], message: &Read) {
    let Read { kind, method, id, line, with_id_7, with_token_7, error } = message;
    for one in [line, with_id_7, with_token_7, error] {
        assert!(!one.iter().any(|byte| b"\r\n".contains(byte)), "more than a line");
    }
    assert!(serde_json::from_slice::<IgnoredAny>(error).is_ok(), "an answer is no JSON");
    let id_text = id.as_deref().unwrap_or("null");
    let begins = format!(r#"{{"jsonrpc":"2.0","id":{id_text},"error":"#);
    assert!(error.starts_with(begins.as_bytes()), "another id");
    // Values nested very deep and numbers beyond any are passed on, but are in no tree.
    let Some(tree) = Json::read(text) else { return };
    assert_eq!(Json::read(line).as_ref(), Some(&tree));
    assert_eq!(tree.last("jsonrpc").and_then(Json::text), Some("2.0"));
    assert_eq!(tree.last("method").and_then(Json::text), method.as_deref());
    let has_id = tree.last("id").is_some_and(|id| *id != Json::Null);
    let expected = match (method, has_id) {
        (Some(_), true) => Kind::Request,
        (Some(_), false) => Kind::Notification,
        (None, _) => Kind::Response,
    };
    assert_eq!(*kind, expected);
    replaced(text, &tree, message);
    let mut keys: Vec<_> = tree.members().iter().map(|(key, _)| key).collect();
    keys.sort_unstable();
    // A glance takes keys as they are written, and `method` for a request's sign.
    if !text.contains(&b'\\') && keys.windows(2).all(|pair| pair[0] != pair[1]) {
        let seen = glance(text, true);
        assert_eq!(seen.method, method.as_ref().map(|method| method.chars().take(128).collect::<String>()));
        assert_eq!(seen.kind, Some(*kind));
    }
}

/// Nothing changes but what is replaced, and that is there once.
fn replaced(text: &[u8], tree: &Json, Read { with_id_7, with_token_7, .. }: &Read) {
    let without_id = |tree: &Json| {
        let others = tree.members().iter().filter(|(key, _)| key != "id").cloned();
        others.collect::<Vec<_>>()
    };
    let changed = Json::read(with_id_7).expect("our own");
    assert_eq!(without_id(&changed), without_id(tree));
    let ids: Vec<_> = changed.members().iter().filter(|(key, _)| key == "id").collect();
    assert!(matches!(ids[..], [(_, Json::Count(7))]), "{ids:?}");
    let meta = |tree: &Json| tree.last("params").and_then(|params| params.last("_meta")).cloned();
    let changed = Json::read(with_token_7).expect("our own");
    match meta(tree).is_some_and(|meta| meta.last("progressToken").is_some()) {
        true => {
            assert_eq!(meta(&changed).expect("as before").last("progressToken"), Some(&Json::Count(7)));
        }
        // On the way a doubled member may have become single.
        false => assert_eq!(by_last(with_token_7), by_last(text)),
    }
}

/// The message to a reader for whom the last of doubled members counts.
fn by_last(text: &[u8]) -> Option<serde_json::Value> {
    serde_json::from_slice(text).ok()
}

/// Gives one piece after the other, the last one first in the list.
struct Pieces<'a>(Vec<&'a [u8]>);

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // An empty read is the end, so empty pieces are passed over.
        while let Some(piece) = self.0.pop() {
            let taken = piece.len().min(buffer.remaining());
            buffer.put_slice(&piece[..taken]);
            if taken < piece.len() {
                self.0.push(&piece[taken..]);
            }
            if taken > 0 {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}
