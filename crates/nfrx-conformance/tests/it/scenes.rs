//! The recorded scenes, played to our server and to our agent.

mod client;
mod to_agent;
mod to_server;

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// A recorded or heard message, its body or bytes decoded, its id put aside.
#[track_caller]
fn read(text: &str) -> (String, Value) {
    let mut message: Value = serde_json::from_str(text).expect("JSON");
    let id = message["request_id"].as_str().unwrap_or_default().to_owned();
    if !id.is_empty() {
        message["request_id"] = Value::from("…");
    }
    (id, message)
}

/// The decoded bytes of a message's member.
fn bytes(message: &Value, member: &str) -> Vec<u8> {
    STANDARD.decode(message[member].as_str().unwrap_or_default()).expect("base64")
}

/// Ids of the recording, and what they are now.
#[derive(Default)]
struct Ids(HashMap<String, String>);

impl Ids {
    /// A recorded message with the ids of now.
    fn put_in(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (recorded, now)| text.replace(recorded, now))
    }
}
