//! Recorded scenes: what the old server and an old agent said to each other, in turn.

use std::path::Path;

use serde_json::Value;

/// One scene.
#[derive(Debug)]
pub struct Scene {
    /// What was played.
    pub about: String,
    /// What happened, in its order.
    pub events: Vec<Event>,
}

/// One thing that somebody did.
#[derive(Debug, Clone)]
pub struct Event {
    /// Milliseconds since the start.
    pub ms: u64,
    /// Who did it.
    pub from: Side,
    /// What it was.
    pub what: What,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The old agent.
    Agent,
    /// The old server.
    Server,
}

/// What somebody did.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// Asked for an upgrade: path and headers.
    Upgrade(Value),
    /// Said a message: its type and its text, members in their order.
    Message(String, String),
    /// Closed: code and reason. 1006 is a connection that ended without a close frame.
    Close(u64, String),
}

impl Scene {
    /// Reads a scene by its name.
    pub fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("scenes/{name}.jsonl"));
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut lines = text.lines();
        let first: Value = serde_json::from_str(lines.next().unwrap_or_default()).expect("JSON");
        Self {
            about: first["about"].as_str().unwrap_or_default().to_owned(),
            events: lines.map(event).collect(),
        }
    }

    /// The messages of one side, by type and text.
    pub fn said(&self, side: Side) -> Vec<(&str, &str)> {
        let said = self.events.iter().filter(|event| event.from == side);
        said.filter_map(|event| match &event.what {
            What::Message(kind, text) => Some((kind.as_str(), text.as_str())),
            _ => None,
        })
        .collect()
    }
}

fn event(line: &str) -> Event {
    #[derive(serde::Deserialize)]
    struct Line<'a> {
        ms: u64,
        from: String,
        #[serde(borrow)]
        message: Option<&'a serde_json::value::RawValue>,
        upgrade: Option<Value>,
        close: Option<Value>,
    }
    let Line { ms, from, message, upgrade, close } = serde_json::from_str(line).expect("an event a line");
    let from = if from == "agent" { Side::Agent } else { Side::Server };
    let what = match (message, upgrade, close) {
        (Some(message), ..) => {
            let value: Value = serde_json::from_str(message.get()).expect("JSON");
            What::Message(value["type"].as_str().unwrap_or_default().to_owned(), message.get().to_owned())
        }
        (_, Some(upgrade), _) => What::Upgrade(upgrade),
        (.., Some(close)) => {
            let reason = close["reason"].as_str().unwrap_or_default().to_owned();
            What::Close(close["code"].as_u64().unwrap_or_default(), reason)
        }
        _ => panic!("an event of an unknown kind: {line}"),
    };
    Event { ms, from, what }
}
