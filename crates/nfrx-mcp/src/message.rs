//! A look at a JSON-RPC message: what it is, without building a tree and without changing
//! it. The beginning of a message is enough, so that a long one need not be held.
//!
//! What is found here serves limits, logs and error texts. It decides nothing that a client
//! could gain by a message that two readers read differently.

mod cursor;

use cursor::{Cursor, Value};

/// A longer method or name is cut: it is shown to people.
const TEXT_CHARS_MAX: usize = 128;

/// A longer id is not repeated in an error.
const ID_BYTES_MAX: usize = 1024;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Wants an answer.
    Request,
    /// Wants none.
    Notification,
    /// Is an answer, to a request of the server.
    Response,
    /// Several messages in an array.
    Batch,
    /// Not a message, as far as one can see.
    Other,
}

/// What was seen of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Glance {
    /// What it is.
    pub(crate) kind: Kind,
    /// Its method.
    pub(crate) method: Option<String>,
    /// Its id, as it is written.
    pub(crate) id: Option<String>,
    /// The name in its parameters: of the tool or prompt.
    pub(crate) name: Option<String>,
}

impl Glance {
    /// Looks at the beginning of a message; `whole` says that there is no more of it. Of a
    /// doubled key the last counts, as far as it was seen.
    pub(crate) fn at(text: &[u8], whole: bool) -> Self {
        let mut seen = Seen::default();
        let mut cursor = Cursor::new(text);
        let kind = match cursor.next_token() {
            Some(b'[') => Kind::Batch,
            Some(b'{') => {
                let ended = cursor.members(|key, value| seen.note(key, &value));
                seen.kind(ended || whole)
            }
            _ => Kind::Other,
        };
        Self { kind, method: seen.method, id: seen.id, name: seen.name }
    }
}

#[derive(Default)]
struct Seen {
    method: Option<String>,
    id: Option<String>,
    name: Option<String>,
    has_id: bool,
    is_answer: bool,
}

impl Seen {
    fn note(&mut self, key: &[u8], value: &Value<'_>) {
        match key {
            b"method" => self.method = text(value),
            b"id" => {
                self.has_id = true;
                self.id = id(value);
            }
            b"params" => {
                self.name = None;
                let mut inside = Cursor::new(value.seen());
                if inside.next_token() == Some(b'{') {
                    inside.members(|key, value| {
                        if key == b"name" {
                            self.name = text(&value);
                        }
                    });
                }
            }
            b"result" | b"error" => self.is_answer = true,
            _ => {}
        }
    }

    fn kind(&self, all_seen: bool) -> Kind {
        match &self.method {
            Some(_) if self.has_id || !all_seen => Kind::Request,
            Some(_) => Kind::Notification,
            None if self.is_answer => Kind::Response,
            None => Kind::Other,
        }
    }
}

/// A string's text, cut to length.
fn text(value: &Value<'_>) -> Option<String> {
    let text: String = serde_json::from_slice(value.whole()?).ok()?;
    Some(text.chars().take(TEXT_CHARS_MAX).collect())
}

/// An id as it is written, if it can be repeated: a string, a number or null.
fn id(value: &Value<'_>) -> Option<String> {
    let raw = value.whole().filter(|raw| raw.len() <= ID_BYTES_MAX)?;
    let is_id = matches!(raw.first(), Some(b'"' | b'-' | b'0'..=b'9' | b'n'));
    let raw = std::str::from_utf8(raw).ok().filter(|_| is_id)?;
    // What isn't JSON must not get into an answer that is.
    serde_json::from_str::<serde::de::IgnoredAny>(raw).ok()?;
    Some(raw.to_owned())
}

#[cfg(test)]
mod tests;
