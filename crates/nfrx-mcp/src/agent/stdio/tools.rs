//! What is known of a shared child's tools: the schemas by which a call's headers are checked.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

use super::message::Object;

/// Tools of one server that are remembered; the calls of others are not checked by schema.
const TOOLS_MAX: usize = 4096;

/// The schemas of tools' parameters, by the tools' names.
#[derive(Debug, Clone, Default)]
pub(super) struct Tools(BTreeMap<String, Value>);

impl Tools {
    /// Adds the tools of a `tools/list` result; gives the cursor of the next page.
    pub(super) fn add(&mut self, result: &RawValue) -> Option<String> {
        let result = Object::of(result)?;
        let page: Vec<Box<RawValue>> =
            result.get("tools").and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
        for tool in page.iter().filter_map(|tool| Object::of(tool)) {
            let schema = tool.get("inputSchema").and_then(|raw| serde_json::from_str(raw.get()).ok());
            if let (Some(name), Some(schema)) = (tool.text("name"), schema)
                && self.0.len() < TOOLS_MAX
            {
                self.0.insert(name, schema);
            }
        }
        result.text("nextCursor")
    }

    /// The schema of a tool.
    pub(super) fn schema(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
}
