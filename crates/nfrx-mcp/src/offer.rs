//! What an agent says of its servers: one JSON text in the registration's facts, under
//! [`KEY`], so that one tunnel carries any number of servers (decision 24).

use std::collections::BTreeMap;

use http::HeaderName;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::digest::{SessionMark, TokenDigest};

/// The fact's key. An agent without it has one server, whose public id is its own id.
pub(crate) const KEY: &str = "mcp";

/// What the relay tells an agent of a caller: the name of its key. No client can set it.
pub(crate) const CALLER_HEADER: HeaderName = HeaderName::from_static("x-nfrx-caller");

/// Servers of one agent; more are not offered.
pub(crate) const SERVERS_MAX: usize = 64;

/// Sessions that an agent announces: those used last.
pub(crate) const SESSIONS_MAX: usize = 1000;

/// A longer public id would not fit into addresses, logs and metrics.
const ID_BYTES_MAX: usize = 128;

/// All that an agent offers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct McpOffer {
    /// When the agent's process began, in milliseconds of Unix time: of two that want the
    /// same id, the younger has it. 0 when unknown.
    #[serde(default)]
    pub(crate) started_ms: u64,
    /// Its servers.
    #[serde(default)]
    pub(crate) servers: Vec<ServerOffer>,
    /// Sessions that live at its servers, so that a relay that was restarted knows where
    /// they belong. Only when one of the servers has replicas.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) sessions: Vec<SessionMark>,
}

/// One server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServerOffer {
    /// The public id: the path segment by which it is called.
    pub(crate) id: String,
    /// For people.
    #[serde(default)]
    pub(crate) name: String,
    /// Whether it could be reached when it was looked at last.
    #[serde(default)]
    pub(crate) ready: bool,
    /// Whether other agents may offer the same id, each as good as the other.
    #[serde(default)]
    pub(crate) replicas: bool,
    /// The digest of its own token, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<TokenDigest>,
    /// Whether it wants the caller's own `Authorization`.
    #[serde(default)]
    pub(crate) pass_authorization: bool,
    /// Whether paths below its endpoint may be asked for.
    #[serde(default)]
    pub(crate) below: bool,
}

impl McpOffer {
    /// Reads the offer among an agent's facts. One that can't be read offers nothing, so
    /// that no half of it is believed.
    pub(crate) fn from_facts(facts: &BTreeMap<String, String>) -> Option<Result<Self, serde_json::Error>> {
        let text = facts.get(KEY)?;
        Some(serde_json::from_str(text).map(|mut offer: Self| {
            offer.servers.truncate(SERVERS_MAX);
            offer.sessions.truncate(SESSIONS_MAX);
            offer
        }))
    }

    /// The offer as a fact.
    pub(crate) fn into_fact(self) -> (String, String) {
        // Plain data always serialises.
        (KEY.to_owned(), serde_json::to_string(&self).unwrap_or_default())
    }
}

/// What a segment of a path holds without being written otherwise (RFC 3986 §2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A public id as a segment of a path.
pub(crate) fn segment(id: &str) -> String {
    utf8_percent_encode(id, SEGMENT).to_string()
}

/// The path in the tunnel of the server with this id.
pub(crate) fn tunnel_path(id: &str) -> String {
    format!("/id/{}", segment(id))
}

/// Whether a text can be a public id: it must be reachable as one segment of a path.
pub(crate) fn is_public_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= ID_BYTES_MAX && id != "." && id != ".." && !id.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_read_as_it_is_written() {
        let offer = McpOffer {
            started_ms: 7,
            servers: vec![ServerOffer { id: "clock".into(), replicas: true, ..ServerOffer::default() }],
            sessions: vec![SessionMark::of(b"s")],
        };
        let facts = BTreeMap::from([offer.clone().into_fact()]);
        assert_eq!(McpOffer::from_facts(&facts).expect("it is there").expect("our own"), offer);
        assert!(McpOffer::from_facts(&BTreeMap::new()).is_none());
        let broken = BTreeMap::from([(KEY.to_owned(), "[".to_owned())]);
        assert!(McpOffer::from_facts(&broken).is_some_and(|read| read.is_err()));
    }

    #[test]
    fn an_id_is_one_segment_of_a_path() {
        for good in ["clock", "m:7", "a b", "é", "a/b", "..."] {
            assert!(is_public_id(good), "{good}");
        }
        for bad in ["", ".", "..", "a\nb", "\0", &"x".repeat(129)] {
            assert!(!is_public_id(bad), "{bad:?}");
        }
    }
}
