//! Which tools a body calls, however lenient its reader is.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A call of a tool.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// The message's id, as it is written.
    pub(super) id: String,
    /// The tool.
    pub(super) tool: String,
}

/// A body that not every reader reads alike.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ambiguous;

/// The members of an object in their order, doubled ones too.
pub(in crate::agent) struct Members<'a>(pub(in crate::agent) Vec<(String, &'a RawValue)>);

impl<'a> Deserialize<'a> for Members<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'a> Visitor<'a> for All {
            type Value = Members<'a>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(All)
    }
}

impl<'a> Members<'a> {
    /// The member of this name. Some readers take the first of two, some the last, and some
    /// take a name in any case for it, by their own idea of case.
    fn only(&self, name: &str) -> Result<Option<&'a RawValue>, Ambiguous> {
        let mut found = None;
        for (key, value) in &self.0 {
            if folded(key) != name {
                continue;
            }
            if key != name || found.is_some() {
                return Err(Ambiguous);
            }
            found = Some(*value);
        }
        Ok(found)
    }
}

/// Upper case first: of `ſ` only that is an ASCII letter.
fn folded(text: &str) -> String {
    text.to_uppercase().to_lowercase()
}

/// The calls of tools in a body: one message, or an array of them.
pub(super) fn calls(body: &str) -> Result<Vec<Call>, Ambiguous> {
    let messages: Vec<&RawValue> = match body.trim_start().starts_with('[') {
        true => serde_json::from_str(body).map_err(|_| Ambiguous)?,
        false => vec![serde_json::from_str(body).map_err(|_| Ambiguous)?],
    };
    let mut calls = Vec::new();
    for message in messages {
        calls.extend(call(message)?);
    }
    Ok(calls)
}

fn call(message: &RawValue) -> Result<Option<Call>, Ambiguous> {
    let members: Members<'_> = serde_json::from_str(message.get()).map_err(|_| Ambiguous)?;
    let (method, params, id) = (members.only("method")?, members.only("params")?, members.only("id")?);
    let Some(method) = method else { return Ok(None) };
    if text(method)? != "tools/call" {
        return Ok(None);
    }
    let params: Members<'_> = serde_json::from_str(params.ok_or(Ambiguous)?.get()).map_err(|_| Ambiguous)?;
    let tool = text(params.only("name")?.ok_or(Ambiguous)?)?;
    Ok(Some(Call { id: id.map_or("null", RawValue::get).to_owned(), tool }))
}

fn text(value: &RawValue) -> Result<String, Ambiguous> {
    serde_json::from_str(value.get()).map_err(|_| Ambiguous)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, expected: Result<&[&str], Ambiguous>) {
        let found = calls(body).map(|calls| calls.into_iter().map(|call| call.tool).collect::<Vec<_>>());
        assert_eq!(
            found,
            expected.map(|tools| tools.iter().map(|tool| (*tool).to_owned()).collect()),
            "{body}"
        );
    }

    #[test]
    fn calls_of_tools_are_found_alone_and_in_a_batch() {
        check(r#"{"id":1,"method":"tools/call","params":{"name":"a"}}"#, Ok(&["a"]));
        check(
            r#" [{"method":"ping","id":1},{"method":"tools/\u0063all","params":{"name":"b"}}]"#,
            Ok(&["b"]),
        );
        check(r#"{"id":1,"result":{}}"#, Ok(&[]));
        check(r#"{"id":1,"method":"prompts/get","params":{"name":"a"}}"#, Ok(&[]));
        let call = r#"{"id":12345678901234567890123,"method":"tools/call","params":{"name":"a"}}"#;
        assert_eq!(calls(call).expect("readable")[0].id, "12345678901234567890123");
    }

    // Seen to fail: with names compared as they are written, and with the last of two taken.
    #[test]
    fn what_two_readers_might_read_differently_does_not_pass() {
        for body in [
            r#"{"method":"ping","method":"tools/call","params":{"name":"a"}}"#,
            r#"{"method":"ping","Method":"tools/call","params":{"name":"a"}}"#,
            r#"{"method":"tools/call","params":{"name":"a"},"paramſ":{"name":"b"}}"#,
            r#"{"method":"tools/call","params":{"name":"a","NAME":"b"}}"#,
            r#"{"method":"tools/call","params":["a"]}"#,
            r#"{"method":"tools/call"}"#,
            r#"{"method":["tools/call"]}"#,
            r#"{"method":"ping"} {"method":"tools/call"}"#,
            "not JSON",
        ] {
            check(body, Err(Ambiguous));
        }
    }
}
