//! Lines and messages of servers over stdio, laid open for the fuzzer and for nobody else.

use bytes::Bytes;
use tokio::io::AsyncRead;

use super::lines::{Line, Lines};
use super::message::{self, Message, Object};

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Wants an answer.
    Request,
    /// Wants none.
    Notification,
    /// Is one.
    Response,
}

/// A message that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// What it is.
    pub kind: Kind,
    /// Its method.
    pub method: Option<String>,
    /// Its id, as it is written.
    pub id: Option<String>,
    /// Its text on one line.
    pub line: Bytes,
    /// The same with 7 for its id.
    pub with_id_7: Bytes,
    /// The same with 7 for its token of progress, if it has one.
    pub with_token_7: Bytes,
    /// An error in answer to it.
    pub error: Bytes,
}

/// All lines of a stream, and whether each was cut at `bytes_max`.
pub async fn lines(reader: impl AsyncRead + Unpin, bytes_max: usize) -> Vec<(Bytes, bool)> {
    let (mut lines, mut all) = (Lines::new(reader, bytes_max), Vec::new());
    while let Some(line) = lines.next().await {
        all.push(match line {
            Line::Whole(line) => (line, false),
            Line::Cut(line) => (line, true),
        });
    }
    all
}

/// Reads a message.
pub fn read(text: &Bytes) -> Option<Read> {
    let read = Message::parse(text)?;
    let with = |change: &dyn Fn(&mut Object)| {
        let mut object = read.object.clone();
        change(&mut object);
        message::line(&object)
    };
    let seven = || message::raw(&7);
    Some(Read {
        kind: match read.kind {
            message::Kind::Request { .. } => Kind::Request,
            message::Kind::Notification { .. } => Kind::Notification,
            message::Kind::Response { .. } => Kind::Response,
        },
        method: read.method().map(str::to_owned),
        id: read.raw_id().map(|id| id.get().to_owned()),
        with_id_7: with(&|object| object.set("id", seven())),
        with_token_7: with(&|object| {
            object.replace(&["params", "_meta", "progressToken"], &|_| Some(seven()));
        }),
        error: message::error(read.raw_id(), -32603, "x", None),
        line: read.line,
    })
}
