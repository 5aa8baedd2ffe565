//! The frames of the old relay (MCP contract §2), as both of its ends write and read them.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What an old agent's socket takes; a longer message ends it (KD-121).
pub(crate) const FRAME_BYTES_MAX: usize = 32 * 1024;

/// The code of a refused token.
pub(crate) const UNAUTHORIZED: &str = "MCP_UNAUTHORIZED";

/// The first message, from the agent.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Register {
    #[serde(default)]
    pub(crate) client_name: Option<String>,
    #[serde(default)]
    pub(crate) id: Option<String>,
}

/// The second, from the server.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Registered {
    #[serde(default)]
    pub(crate) id: String,
}

/// Every other message. Members are left out when they are empty.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Frame<'a> {
    /// What it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) t: String,
    /// The same for the old server's pings, which had a key of their own (KD-136).
    #[serde(default, rename = "type", skip_serializing_if = "String::is_empty")]
    pub(crate) kind: String,
    /// Which call it is about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) sid: String,
    /// The request's id, for logs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) req_id: String,
    /// The method, for logs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) hint: String,
    /// A JSON-RPC message.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub(crate) payload: Option<&'a RawValue>,
    /// Why a call was refused.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) code: String,
    /// The same for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) msg: String,
    /// The caller's bearer token.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) auth: String,
}

impl<'a> Frame<'a> {
    /// A frame about a call.
    pub(crate) fn of(t: &str, sid: &str) -> Self {
        Self { t: t.to_owned(), sid: sid.to_owned(), ..Self::default() }
    }

    /// The message that carries this.
    pub(crate) fn with(self, payload: &'a RawValue) -> Self {
        Self { payload: Some(payload), ..self }
    }

    /// The end of a call, and why.
    pub(crate) fn close(sid: &str, why: &str) -> Self {
        Self { msg: why.to_owned(), ..Self::of("close", sid) }
    }

    /// A frame's text.
    pub(crate) fn text(&self) -> String {
        // Plain data always serialises.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_look_as_they_always_did() {
        let payload: &RawValue = serde_json::from_str("{\"id\":1.0}").expect("JSON");
        assert_eq!(
            Frame::of("rpc", "s").with(payload).text(),
            r#"{"t":"rpc","sid":"s","payload":{"id":1.0}}"#
        );
        assert_eq!(Frame::close("s", "done").text(), r#"{"t":"close","sid":"s","msg":"done"}"#);
        let register = Register { client_name: Some("Clock".into()), id: Some("clk".into()) };
        let text = serde_json::to_string(&register).expect("plain data");
        assert_eq!(text, r#"{"client_name":"Clock","id":"clk"}"#);
        let ping: Frame<'_> = serde_json::from_str(r#"{"type":"ping","new":1}"#).expect("a frame");
        assert_eq!((ping.kind.as_str(), ping.t.as_str()), ("ping", ""));
        let empty: Frame<'_> =
            serde_json::from_str(r#"{"t":"rpc","sid":"s","payload":null}"#).expect("a frame");
        assert!(empty.payload.is_none());
    }
}
