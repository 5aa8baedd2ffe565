//! The messages of protocol v1 (worker protocol §3, §4), and the headers in them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use nfrx_spi::{Heartbeat, Registration, StatusUpdate};
use serde::{Deserialize, Serialize};

use crate::limits;

/// What HTTP/2 counts for a header besides its name and value (RFC 9113 §10.5.1).
const LINE_BYTES: usize = 32;

/// Any message, as far as its type tells what else to read. Texts are borrowed where they
/// have no escapes, which base64 never has.
#[derive(Debug, Deserialize)]
pub(super) struct Frame<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) request_id: Cow<'a, str>,
    /// Of a chunk, in base64.
    #[serde(borrow, default)]
    pub(super) data: Cow<'a, str>,
    #[serde(default)]
    pub(super) status: u16,
    #[serde(default)]
    pub(super) headers: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(super) error: Option<FrameError>,
}

/// Only what a message's type is: enough where its other members have other types.
#[derive(Debug, Deserialize)]
pub(super) struct Kind<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Cow<'a, str>,
}

/// Why an answer ended early.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FrameError {
    pub(super) code: String,
    #[serde(default)]
    pub(super) message: String,
}

/// A request as an agent reads it.
#[derive(Debug, Deserialize)]
pub(super) struct RequestFrame<'a> {
    pub(super) request_id: String,
    pub(super) method: String,
    pub(super) path: String,
    #[serde(default)]
    pub(super) headers: Option<BTreeMap<String, String>>,
    #[serde(borrow, default)]
    pub(super) body: Cow<'a, str>,
}

/// What we send, in the order in which its members were always written.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Outgoing<'a> {
    Register(Register<'a>),
    Heartbeat(Heartbeat),
    StatusUpdate(&'a StatusUpdate),
    HttpProxyRequest(RequestHead<'a>),
    HttpProxyCancel {
        request_id: &'a str,
    },
    HttpProxyResponseHeaders {
        request_id: &'a str,
        status: u16,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        headers: BTreeMap<String, String>,
    },
    HttpProxyResponseChunk {
        request_id: &'a str,
        data: String,
    },
    HttpProxyResponseEnd {
        request_id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<FrameError>,
    },
}

/// A registration. Old servers take the key from the upgrade and ignore this one, but it
/// was always there (worker protocol §3.1).
#[derive(Debug, Serialize)]
pub(super) struct Register<'a> {
    pub(super) worker_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) worker_name: &'a str,
    pub(super) client_key: &'a str,
    pub(super) models: &'a [String],
    pub(super) max_concurrency: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) build_sha: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) build_date: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) agent_config: &'a BTreeMap<String, String>,
}

impl<'a> From<&'a Registration> for Register<'a> {
    fn from(registration: &'a Registration) -> Self {
        Self {
            worker_id: &registration.worker_id,
            worker_name: &registration.worker_name,
            client_key: "",
            models: &registration.models,
            max_concurrency: registration.max_concurrency,
            version: &registration.version,
            build_sha: &registration.build_sha,
            build_date: &registration.build_date,
            agent_config: &registration.agent_config,
        }
    }
}

/// A request without its body, which is appended as it is gathered.
#[derive(Debug, Serialize)]
pub(super) struct RequestHead<'a> {
    pub(super) request_id: &'a str,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) headers: BTreeMap<String, String>,
    /// A hint that the client wants a stream.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) stream: bool,
}

impl Outgoing<'_> {
    pub(super) fn text(&self) -> String {
        // Plain data with text keys always serialises.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A chunk of an answer, from its bytes.
pub(super) fn chunk(request_id: &str, bytes: &[u8]) -> String {
    Outgoing::HttpProxyResponseChunk { request_id, data: STANDARD.encode(bytes) }.text()
}

/// The bytes of base64 text.
pub(super) fn bytes(data: &str) -> Option<Vec<u8>> {
    STANDARD.decode(data).ok()
}

/// Headers as v1 has them: one text per name. Values of one name are joined, which lists
/// allow and cookies do not: those are dropped when there are several (KD-25).
pub(super) fn to_map(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut map = BTreeMap::new();
    for name in headers.keys() {
        let values: Vec<&str> = headers
            .get_all(name)
            .iter()
            .filter_map(|value| std::str::from_utf8(value.as_bytes()).ok())
            .collect();
        if values.is_empty() || (*name == header::SET_COOKIE && values.len() > 1) {
            continue;
        }
        map.insert(canonical(name), values.join(", "));
    }
    map
}

/// What of a map are headers; anything else is left out, and of names that differ only in
/// case there is one. `None` when they are more than a head may hold: the same bound as on
/// `nfrx.h2`, and the map of headers has one of its own beyond which it panics.
pub(super) fn from_map(map: Option<BTreeMap<String, String>>) -> Option<HeaderMap> {
    let map = map.unwrap_or_default();
    let bytes: usize = map.iter().map(|(name, value)| name.len() + value.len() + LINE_BYTES).sum();
    if bytes > limits::HEAD_BYTES_MAX as usize {
        return None;
    }
    let mut headers = HeaderMap::with_capacity(map.len());
    for (name, value) in map {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            // Not another value: of two lengths only one would be looked at.
            headers.insert(name, value);
        }
    }
    Some(headers)
}

/// A name as peers of v1 write it: `Content-Type`.
fn canonical(name: &HeaderName) -> String {
    let mut upper = true;
    let spell = |c: char| {
        let spelled = if upper { c.to_ascii_uppercase() } else { c };
        upper = c == '-';
        spelled
    };
    name.as_str().chars().map(spell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_read_as_it_was_written_and_with_gos_escapes() {
        for length in [0, 1, 2, 3, 100] {
            let data: Vec<u8> = (0..length).collect();
            let text = chunk("r-1", &data);
            let frame: Frame<'_> = serde_json::from_str(&text).expect("our own");
            assert!(matches!(frame.data, Cow::Borrowed(_)), "no copy of a large text");
            assert_eq!((&*frame.request_id, bytes(&frame.data)), ("r-1", Some(data)));
        }
        let gos = r#"{"type":"http_proxy_response_headers","request_id":"\u003cr\u003e","status":200}"#;
        let frame: Frame<'_> = serde_json::from_str(gos).expect("valid JSON");
        assert_eq!((&*frame.request_id, frame.status, frame.headers), ("<r>", 200, None));
    }

    #[test]
    fn names_are_spelled_as_they_always_were_and_values_joined() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("x-request-id", "r"), ("accept", "a"), ("accept", "b"), ("set-cookie", "1")] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let pairs: Vec<_> = to_map(&headers).into_iter().collect();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(pairs, [pair("Accept", "a, b"), pair("Set-Cookie", "1"), pair("X-Request-Id", "r")]);
        headers.append(header::SET_COOKIE, HeaderValue::from_static("2"));
        // Seen to fail: when cookies are joined, too.
        assert!(!to_map(&headers).contains_key("Set-Cookie"));
    }

    #[test]
    fn what_is_no_header_is_left_out() {
        let map = [("a b", "1"), ("x", "line\nend"), ("ok", "1")];
        let map = map.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let headers = from_map(Some(map)).expect("few");
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["ok"]);
    }

    // Seen to fail: when each spelling adds a value.
    #[test]
    fn a_header_in_two_spellings_has_one_value() {
        let map = [("Content-Length", "1"), ("content-length", "2")];
        let map = map.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let headers = from_map(Some(map)).expect("few");
        assert_eq!(headers.get_all(header::CONTENT_LENGTH).iter().count(), 1);
    }

    #[test]
    fn a_registration_is_written_as_it_always_was() {
        let registration = Registration { worker_id: "b1".into(), max_concurrency: 4, ..Default::default() };
        assert_eq!(
            Outgoing::Register((&registration).into()).text(),
            r#"{"type":"register","worker_id":"b1","client_key":"","models":[],"max_concurrency":4}"#
        );
    }
}
