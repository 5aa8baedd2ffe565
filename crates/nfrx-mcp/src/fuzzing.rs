//! What reads bytes of MCP servers and their clients, laid open for the fuzzer and for
//! nobody else.

use std::collections::BTreeMap;

use crate::events::Boundary;
use crate::message::{self, Kind};
use crate::offer::{self, McpOffer};

pub use crate::agent::stdio::fuzzing as stdio;
pub use crate::events::standard;

/// What the relay says between two events.
pub const COMMENT: &[u8] = crate::events::COMMENT;

/// Follows a stream of events.
pub struct Events(Boundary);

impl Default for Events {
    fn default() -> Self {
        Self(Boundary::new())
    }
}

impl Events {
    /// Moves over bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.0.feed(bytes);
    }

    /// Whether something may be said here.
    pub fn is_between(&self) -> bool {
        self.0.is_between()
    }
}

/// What a look at a message tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glance {
    /// Whether it wants an answer, wants none, or is one; `None` for anything else.
    pub kind: Option<stdio::Kind>,
    /// Its method.
    pub method: Option<String>,
    /// Its id, as it is written.
    pub id: Option<String>,
}

/// Looks at the beginning of a message.
pub fn glance(text: &[u8], whole: bool) -> Glance {
    let message::Glance { kind, method, id, name: _ } = message::Glance::at(text, whole);
    let kind = match kind {
        Kind::Request => Some(stdio::Kind::Request),
        Kind::Notification => Some(stdio::Kind::Notification),
        Kind::Response => Some(stdio::Kind::Response),
        Kind::Batch | Kind::Other => None,
    };
    Glance { kind, method, id }
}

/// The ids of the servers that an agent offers and that can be reached; `None` when it
/// offers none by name, or nothing that can be read.
pub fn offered(facts: &BTreeMap<String, String>) -> Option<Vec<String>> {
    let servers = McpOffer::from_facts(facts)?.ok()?.servers;
    Some(servers.into_iter().map(|server| server.id).filter(|id| offer::is_public_id(id)).collect())
}

/// Whether a text can be a public id.
pub fn is_public_id(id: &str) -> bool {
    offer::is_public_id(id)
}

/// A public id as a segment of a path.
pub fn segment(id: &str) -> String {
    offer::segment(id)
}

/// Reads a file of servers: how many are served, or why none is.
pub fn servers(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<usize, String> {
    crate::agent::count_servers(text, env)
}
