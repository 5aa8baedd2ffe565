//! The state of MCP relays, as the state API and the dashboard have it.

use std::collections::BTreeMap;

use serde::Serialize;

/// Everything a relay of MCP servers shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct McpState {
    /// The agents, by id.
    pub clients: Vec<McpClientSnapshot>,
    /// The calls that run, the oldest first.
    pub sessions: Vec<McpSessionSnapshot>,
}

/// One agent that offers an MCP server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct McpClientSnapshot {
    /// The public id.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// How it is: a text of [`WorkerStatus`](crate::WorkerStatus).
    pub status: String,
    /// How many calls run.
    pub inflight: u32,
    /// How many calls run, by method or tool.
    pub functions: BTreeMap<String, u32>,
}

/// One call that runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct McpSessionSnapshot {
    /// Names the call.
    pub id: String,
    /// The public id of the agent it went to.
    pub client_id: String,
    /// The JSON-RPC method, or the HTTP method where there is none.
    pub method: String,
    /// When it began, RFC 3339.
    pub started_at: String,
    /// For how long it has run, in milliseconds.
    pub duration_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_contract() {
        let state = McpState {
            clients: vec![McpClientSnapshot { id: "den".into(), inflight: 1, ..Default::default() }],
            sessions: vec![McpSessionSnapshot { client_id: "den".into(), ..Default::default() }],
        };
        let json = serde_json::to_value(&state).expect("plain data");
        let names = |value: &serde_json::Value| -> Vec<String> {
            value.as_object().expect("an object").keys().cloned().collect()
        };
        assert_eq!(names(&json), ["clients", "sessions"]);
        assert_eq!(names(&json["clients"][0]), ["functions", "id", "inflight", "name", "status"]);
        assert_eq!(names(&json["sessions"][0]), ["client_id", "duration_ms", "id", "method", "started_at"]);
    }
}
