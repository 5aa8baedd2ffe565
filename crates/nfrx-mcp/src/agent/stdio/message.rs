//! JSON-RPC messages whose text passes as it is: only the members that must change are
//! replaced, and everything else keeps its spelling, its order and its unknown fields.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

/// The members of an object in their order, each value as it is written.
#[derive(Debug, Clone, Default)]
pub(in crate::agent) struct Object(Vec<(String, Box<RawValue>)>);

impl Object {
    /// The members of an object's text; `None` if it is none.
    pub(in crate::agent) fn of(raw: &RawValue) -> Option<Self> {
        serde_json::from_str(raw.get()).ok()
    }

    /// A member. Of a doubled one the last counts.
    pub(in crate::agent) fn get(&self, key: &str) -> Option<&RawValue> {
        self.0.iter().rev().find(|(name, _)| name == key).map(|(_, value)| &**value)
    }

    /// A member that is a string.
    pub(in crate::agent) fn text(&self, key: &str) -> Option<String> {
        serde_json::from_str(self.get(key)?.get()).ok()
    }

    /// A member that is an object.
    pub(in crate::agent) fn object(&self, key: &str) -> Option<Self> {
        Self::of(self.get(key)?)
    }

    /// Replaces a member, or adds it. A doubled one becomes single, so that no two readers
    /// read it differently.
    pub(in crate::agent) fn set(&mut self, key: &str, value: Box<RawValue>) {
        let place = self.0.iter().position(|(name, _)| name == key);
        match place {
            None => self.0.push((key.to_owned(), value)),
            Some(place) => {
                self.0[place].1 = value;
                let mut at = 0;
                self.0.retain(|(name, _)| {
                    at += 1;
                    at <= place + 1 || name != key
                });
            }
        }
    }

    /// Takes a member out.
    pub(in crate::agent) fn remove(&mut self, key: &str) {
        self.0.retain(|(name, _)| name != key);
    }

    /// Its text.
    pub(in crate::agent) fn to_raw(&self) -> Box<RawValue> {
        raw(self)
    }

    /// Replaces what `path` leads to, if it is there.
    pub(in crate::agent) fn replace(
        &mut self,
        path: &[&str],
        new: &dyn Fn(&RawValue) -> Option<Box<RawValue>>,
    ) {
        let Some((key, rest)) = path.split_first() else { return };
        let Some(old) = self.get(key) else { return };
        let replaced = if rest.is_empty() {
            new(old)
        } else {
            Self::of(old).map(|mut inner| {
                inner.replace(rest, new);
                inner.to_raw()
            })
        };
        if let Some(replaced) = replaced {
            self.set(key, replaced);
        }
    }
}

/// A value's text. Values of ours always have one.
pub(in crate::agent) fn raw<T: Serialize + ?Sized>(value: &T) -> Box<RawValue> {
    to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// An id, or a progress token: equal when they mean the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::agent) enum Id {
    /// A string's text.
    Text(String),
    /// A number as it is written.
    Number(String),
}

impl Id {
    /// Reads one; anything but a string or a number is none.
    pub(in crate::agent) fn of(raw: &RawValue) -> Option<Self> {
        match raw.get().as_bytes().first()? {
            b'"' => serde_json::from_str(raw.get()).ok().map(Self::Text),
            b'-' | b'0'..=b'9' => Some(Self::Number(raw.get().to_owned())),
            _ => None,
        }
    }

    /// The number, if it is one of ours.
    pub(in crate::agent) fn number(&self) -> Option<u64> {
        match self {
            Self::Number(text) => text.parse().ok(),
            Self::Text(_) => None,
        }
    }
}

/// What a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::agent) enum Kind {
    /// Wants an answer.
    Request {
        /// By which the answer finds it.
        id: Id,
        /// What it asks for.
        method: String,
    },
    /// Wants none.
    Notification {
        /// What it tells.
        method: String,
    },
    /// Answers a request.
    Response {
        /// The request's; an error may have none.
        id: Option<Id>,
    },
}

/// One message.
#[derive(Debug, Clone)]
pub(in crate::agent) struct Message {
    /// What it is.
    pub(in crate::agent) kind: Kind,
    /// Its members.
    pub(in crate::agent) object: Object,
    /// Its text on one line.
    pub(in crate::agent) line: Bytes,
}

impl Message {
    /// Reads a message; `None` if it is none of JSON-RPC 2.0.
    pub(in crate::agent) fn parse(text: &Bytes) -> Option<Self> {
        let object: Object = serde_json::from_slice(text).ok()?;
        if object.text("jsonrpc").as_deref() != Some("2.0") {
            return None;
        }
        let id = match object.get("id") {
            None => None,
            Some(raw) if raw.get() == "null" => None,
            Some(raw) => Some(Id::of(raw)?),
        };
        let has_id = object.get("id").is_some();
        let kind = match (object.get("method"), id) {
            (Some(_), Some(id)) => Kind::Request { id, method: object.text("method")? },
            (Some(_), None) if has_id => return None,
            (Some(_), None) => Kind::Notification { method: object.text("method")? },
            (None, id) if object.get("result").is_some() || object.get("error").is_some() => {
                Kind::Response { id }
            }
            (None, _) => return None,
        };
        Some(Self { kind, object, line: one_line(text) })
    }

    /// The method, if it has one.
    pub(in crate::agent) fn method(&self) -> Option<&str> {
        match &self.kind {
            Kind::Request { method, .. } | Kind::Notification { method } => Some(method),
            Kind::Response { .. } => None,
        }
    }

    /// The id as it is written.
    pub(in crate::agent) fn raw_id(&self) -> Option<&RawValue> {
        self.object.get("id")
    }

    /// The parameters.
    pub(in crate::agent) fn params(&self) -> Option<Object> {
        self.object.object("params")
    }

    /// The token by which a request wants to be told of its progress.
    pub(in crate::agent) fn progress_token(&self) -> Option<Box<RawValue>> {
        Some(self.params()?.object("_meta")?.get("progressToken")?.to_owned())
    }
}

/// Text on one line. In JSON a line break stands only between values, where a space means
/// the same; so nothing needs to be written anew.
pub(in crate::agent) fn one_line(text: &Bytes) -> Bytes {
    let is_break = |byte: &u8| matches!(byte, b'\n' | b'\r');
    match &**text {
        line if !line.iter().any(is_break) => text.clone(),
        lines => lines.iter().map(|byte| if is_break(byte) { b' ' } else { *byte }).collect(),
    }
}

/// The text of an object as one line.
pub(in crate::agent) fn line(object: &Object) -> Bytes {
    let raw: Box<str> = object.to_raw().into();
    one_line(&Bytes::from(String::from(raw)))
}

/// A request of the agent's own.
pub(in crate::agent) fn request(id: &str, method: &str, params: &serde_json::Value) -> Bytes {
    // An id is the agent's own number or string, written already.
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#).into()
}

/// Tells a child that nobody wants the answer to a request any more.
pub(in crate::agent) fn cancelled(id: u64) -> Bytes {
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id},"reason":"the client has left"}}}}"#
    )
    .into()
}

/// An error in answer to the request with this id.
pub(in crate::agent) fn error(
    id: Option<&RawValue>,
    code: i32,
    message: &str,
    data: Option<&serde_json::Value>,
) -> Bytes {
    let id: Cow<'_, str> = id.map_or("null".into(), |id| id.get().into());
    let message = raw(message);
    let data = data.map_or(String::new(), |data| format!(r#","data":{data}"#));
    one_line(
        &format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":{message}{data}}}}}"#)
            .into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &'static str) -> Option<Message> {
        Message::parse(&Bytes::from(text))
    }

    #[test]
    fn a_message_is_what_its_members_say() {
        let kind = |text| parse(text).map(|message| message.kind);
        let number = |text: &str| Id::Number(text.to_owned());
        let method = "m".to_owned();
        assert_eq!(
            kind(r#"{"jsonrpc":"2.0","id":1,"method":"m"}"#),
            Some(Kind::Request { id: number("1"), method: method.clone() })
        );
        assert_eq!(kind(r#"{"jsonrpc":"2.0","method":"m"}"#), Some(Kind::Notification { method }));
        assert_eq!(kind(r#"{"jsonrpc":"2.0","id":null,"error":{}}"#), Some(Kind::Response { id: None }));
        assert_eq!(
            kind(r#"{"jsonrpc":"2.0","id":"\u0061","result":1}"#),
            Some(Kind::Response { id: Some(Id::Text("a".into())) })
        );
        for bad in [
            "",
            "1",
            "[]",
            "{}",
            r#"{"jsonrpc":"1.0","id":1,"method":"m"}"#,
            r#"{"jsonrpc":"2.0","id":1}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"m"}"#,
            r#"{"jsonrpc":"2.0","id":{},"method":"m"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"m"}x"#,
        ] {
            assert_eq!(kind(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_what_is_replaced_changes() {
        let text = r#"{"x":12345678901234567890123, "id":1,"params":{"b":1.0,"_meta":{"t":"a","u":[ ]},"a":"\u00e9"},"id":"two"}"#;
        let mut object: Object = serde_json::from_str(text).expect("an object");
        object.set("id", raw(&7));
        object.replace(&["params", "_meta", "t"], &|old| {
            assert_eq!(old.get(), "\"a\"");
            Some(raw(&8))
        });
        object.replace(&["params", "gone", "t"], &|_| panic!("it is not there"));
        let expected =
            r#"{"x":12345678901234567890123,"id":7,"params":{"b":1.0,"_meta":{"t":8,"u":[ ]},"a":"\u00e9"}}"#;
        assert_eq!(line(&object), expected);
    }

    #[test]
    fn a_pretty_message_becomes_one_line_and_is_the_same() {
        let message = parse("{\r\n \"jsonrpc\": \"2.0\",\n \"method\": \"a\\nb\"\n}").expect("a message");
        assert_eq!(message.line, "{   \"jsonrpc\": \"2.0\",  \"method\": \"a\\nb\" }");
        assert_eq!(message.method(), Some("a\nb"));
    }

    #[test]
    fn an_error_repeats_the_callers_id_exactly() {
        let message =
            parse(r#"{"jsonrpc":"2.0","id":12345678901234567890123,"method":"m"}"#).expect("a message");
        let error = error(message.raw_id(), -32000, "a \"b\"\nc", None);
        assert_eq!(
            error,
            r#"{"jsonrpc":"2.0","id":12345678901234567890123,"error":{"code":-32000,"message":"a \"b\"\nc"}}"#
        );
    }
}
