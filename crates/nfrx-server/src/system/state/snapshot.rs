//! The state at one moment, serialised once for all who look.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use bytes::Bytes;
use nfrx_spi::Scopes;
use serde_json::Value;

/// The server's own part, which every client may see.
pub(super) const SERVER: &str = "server";

/// What goes on by itself: alone it makes no state new.
const TICKING: [&str; 5] = ["now", "uptime_s", "last_heartbeat", "duration_ms", "round_trip_ms"];

const BEFORE: &[u8] = b"data: ";
const AFTER: &[u8] = b"\n\n";

/// See the module.
pub(super) struct Snapshot {
    parts: BTreeMap<&'static str, Bytes>,
    /// The whole state as an event; the envelope is inside it.
    event: Bytes,
    /// Equal for states that differ only in what goes on by itself.
    pub(super) print: u64,
}

impl Snapshot {
    pub(super) fn new(parts: &BTreeMap<&'static str, Value>) -> Self {
        let mut print = DefaultHasher::new();
        for (id, value) in parts {
            id.hash(&mut print);
            add(value, &mut print);
        }
        let text = |value: &Value| Bytes::from(serde_json::to_vec(value).unwrap_or_default());
        let parts: BTreeMap<_, _> = parts.iter().map(|(id, value)| (*id, text(value))).collect();
        let event = event(parts.iter());
        Self { parts, event, print: print.finish() }
    }

    /// The state as one event of the stream, with what the holder of these scopes may see.
    pub(super) fn event_for(&self, scopes: &Scopes) -> Bytes {
        if scopes.services.is_empty() {
            return self.event.clone();
        }
        event(self.parts.iter().filter(|(id, _)| **id == SERVER || scopes.allows_service(id)))
    }

    /// The same as one line of JSON, without its end.
    pub(super) fn json_for(&self, scopes: &Scopes) -> Bytes {
        let event = self.event_for(scopes);
        event.slice(BEFORE.len()..event.len() - AFTER.len())
    }
}

fn event<'a>(parts: impl Iterator<Item = (&'a &'static str, &'a Bytes)>) -> Bytes {
    let mut text = [BEFORE, b"{\"plugins\":{"].concat();
    for (nth, (id, part)) in parts.enumerate() {
        if nth > 0 {
            text.push(b',');
        }
        // Ids are checked at start: nothing in them needs an escape.
        text.extend_from_slice(format!("\"{id}\":").as_bytes());
        text.extend_from_slice(part);
    }
    text.extend_from_slice(b"}}");
    text.extend_from_slice(AFTER);
    text.into()
}

/// Adds what a value says to a print. Plugins nest a few levels, never by what a stranger
/// sends.
fn add(value: &Value, print: &mut DefaultHasher) {
    match value {
        Value::Object(members) => {
            for (key, value) in members.iter().filter(|(key, _)| !TICKING.contains(&key.as_str())) {
                key.hash(print);
                add(value, print);
            }
        }
        Value::Array(items) => {
            items.len().hash(print);
            items.iter().for_each(|item| add(item, print));
        }
        plain => plain.hash(print),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn snapshot(part: Value) -> Snapshot {
        Snapshot::new(&BTreeMap::from([("llm", part), (SERVER, json!({ "drainable_inflight": 0 }))]))
    }

    #[test]
    fn a_state_is_new_when_more_than_its_clocks_moved() {
        let state = |now: &str, seen: &str, inflight: u32| {
            let worker = json!({ "last_heartbeat": seen, "inflight": inflight });
            snapshot(json!({ "server": { "now": now, "uptime_s": 1 }, "workers": [worker] })).print
        };
        assert_eq!(state("10:00", "9:59", 0), state("10:01", "10:00", 0));
        // Seen to fail: with nested values left out of the print.
        assert_ne!(state("10:00", "9:59", 0), state("10:00", "9:59", 1));
        assert_ne!(snapshot(json!([1, []])).print, snapshot(json!([[1]])).print);
    }

    #[test]
    fn a_key_for_one_service_sees_that_one_and_the_server() {
        let snapshot = snapshot(json!({ "x": 1 }));
        let of = |services: &[&str]| {
            let services = services.iter().map(|id| (*id).to_owned()).collect();
            String::from_utf8(snapshot.json_for(&Scopes { services, ..Scopes::default() }).to_vec()).unwrap()
        };
        assert_eq!(of(&[]), r#"{"plugins":{"llm":{"x":1},"server":{"drainable_inflight":0}}}"#);
        assert_eq!(of(&["asr"]), r#"{"plugins":{"server":{"drainable_inflight":0}}}"#);
    }
}
