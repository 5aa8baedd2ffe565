//! Takes tools out of a server's list of them: a cut in the text, everything around it stays
//! byte for byte.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::judge::Members;

/// What a list says of one tool.
#[derive(Deserialize)]
struct Tool {
    name: String,
    #[serde(default)]
    annotations: Option<Annotations>,
}

#[derive(Deserialize)]
struct Annotations {
    #[serde(default, rename = "readOnlyHint")]
    read_only: Option<bool>,
}

/// The text without the tools that `keep` does not want; it is told each tool's name and
/// whether it says that it changes nothing. `None` when nothing is to be cut.
pub(super) fn cut(text: &str, keep: &mut dyn FnMut(&str, bool) -> bool) -> Option<String> {
    // Most messages list nothing, and need no reading.
    memchr::memmem::find(text.as_bytes(), b"\"tools\"")?;
    let messages: Vec<&RawValue> = match text.trim_start().starts_with('[') {
        true => serde_json::from_str(text).ok()?,
        false => vec![serde_json::from_str(text).ok()?],
    };
    let (mut out, mut copied) = (String::new(), 0);
    for message in messages {
        let Some(list) = member(message, "result").and_then(|result| member(result, "tools")) else {
            continue;
        };
        let Ok(tools) = serde_json::from_str::<Vec<&RawValue>>(list.get()) else { continue };
        let kept: Vec<_> = tools.iter().filter(|tool| wanted(tool, keep)).map(|tool| tool.get()).collect();
        if kept.len() == tools.len() {
            continue;
        }
        let start = list.get().as_ptr() as usize - text.as_ptr() as usize;
        out.push_str(&text[copied..start]);
        out.push('[');
        out.push_str(&kept.join(","));
        out.push(']');
        copied = start + list.get().len();
    }
    if copied == 0 {
        return None;
    }
    out.push_str(&text[copied..]);
    Some(out)
}

/// A tool that can't be read can't be called by anybody either.
fn wanted(tool: &RawValue, keep: &mut dyn FnMut(&str, bool) -> bool) -> bool {
    let Ok(tool) = serde_json::from_str::<Tool>(tool.get()) else { return false };
    let harmless = tool.annotations.is_some_and(|annotations| annotations.read_only == Some(true));
    keep(&tool.name, harmless)
}

fn member<'a>(object: &'a RawValue, name: &str) -> Option<&'a RawValue> {
    let Members(members) = serde_json::from_str(object.get()).ok()?;
    members.into_iter().rfind(|(key, _)| key == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_cut_out_and_the_rest_stays_as_it_is() {
        let text = r#"{ "id":12345678901234567890123, "result":{"x":1.0, "tools":[{"name":"a"}, {"name":"b","annotations":{"readOnlyHint":true}},{"name":"c"}],"nextCursor":"n"}}"#;
        let mut seen = Vec::new();
        let mut keep = |name: &str, harmless: bool| {
            seen.push((name.to_owned(), harmless));
            name == "b"
        };
        let cut_text = cut(text, &mut keep).expect("two go");
        assert_eq!(
            cut_text,
            r#"{ "id":12345678901234567890123, "result":{"x":1.0, "tools":[{"name":"b","annotations":{"readOnlyHint":true}}],"nextCursor":"n"}}"#
        );
        assert_eq!(seen, [("a".into(), false), ("b".into(), true), ("c".into(), false)]);
        assert_eq!(cut(text, &mut |_, _| true), None);
        let batch = format!("[{text},{{\"id\":2,\"result\":{{}}}},{text}]");
        assert_eq!(cut(&batch, &mut |_, _| false).expect("all go").matches("\"tools\":[]").count(), 2);
        assert_eq!(cut(r#"{"result":{"tools":7}}"#, &mut |_, _| false), None);
    }
}
