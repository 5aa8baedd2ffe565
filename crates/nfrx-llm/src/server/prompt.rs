//! The prompt of a request as OpenTelemetry's `gen_ai.input.messages` has it: roles and texts,
//! for operators who switched that on.

use nfrx_spi::{SpanNotes, SpanValue};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

/// The most bytes of a prompt that go into a span; a longer one is cut.
const TEXT_BYTES_MAX: usize = 32 * 1024;

/// What of a body is a prompt: of chat, of completions, of responses.
#[derive(Deserialize)]
struct Prompt {
    messages: Option<Vec<Message>>,
    prompt: Option<Content>,
    input: Option<Input>,
}

#[derive(Deserialize)]
struct Message {
    role: Option<String>,
    content: Option<Content>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    Text(String),
    Messages(Vec<Message>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
    Other(IgnoredAny),
}

#[derive(Deserialize)]
struct Part {
    r#type: Option<String>,
    text: Option<String>,
}

/// The prompt of this body; `None` where there is none that can be read.
pub(super) fn notes(body: &[u8]) -> Option<SpanNotes> {
    let Prompt { messages, prompt, input } = serde_json::from_slice(body).ok()?;
    let user = |content| vec![Message { role: Some("user".to_owned()), content: Some(content) }];
    let messages = match (messages, prompt, input) {
        (Some(messages), ..) | (None, None, Some(Input::Messages(messages))) => messages,
        (None, Some(content), _) => user(content),
        (None, None, Some(Input::Text(text))) => user(Content::Text(text)),
        (None, None, None) => return None,
    };
    let mut left = TEXT_BYTES_MAX;
    let messages: Vec<_> = messages.into_iter().map(|message| shown(message, &mut left)).collect();
    let text = Value::from(messages).to_string();
    Some(SpanNotes(vec![("gen_ai.input.messages", SpanValue::Text(text))]))
}

fn shown(message: Message, left: &mut usize) -> Value {
    let mut text = |text: String| json!({ "type": "text", "content": cut(text, left) });
    let parts = match message.content {
        Some(Content::Text(whole)) => vec![text(whole)],
        Some(Content::Parts(parts)) => {
            let part = |part: Part| match (part.text, part.r#type) {
                (Some(whole), _) => text(whole),
                // Pictures and sounds stay out: only that they were there is told.
                (None, kind) => json!({ "type": kind }),
            };
            parts.into_iter().map(part).collect()
        }
        Some(Content::Other(_)) | None => Vec::new(),
    };
    json!({ "role": message.role, "parts": parts })
}

/// As much of a text as there is room left for.
fn cut(mut text: String, left: &mut usize) -> String {
    let end = text.floor_char_boundary(*left);
    text.truncate(end);
    *left -= end;
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(body: &Value) -> Option<Value> {
        let SpanNotes(notes) = notes(body.to_string().as_bytes())?;
        let [("gen_ai.input.messages", SpanValue::Text(text))] = &notes[..] else { panic!("{notes:?}") };
        Some(serde_json::from_str(text).expect("JSON"))
    }

    #[test]
    fn prompts_of_all_endpoints_are_messages_of_texts() {
        let user = json!([{ "role": "user", "parts": [{ "type": "text", "content": "hi" }] }]);
        let chat = json!({ "messages": [{ "role": "user", "content": "hi" }] });
        let parts =
            json!({ "messages": [{ "role": "user", "content": [{ "type": "input_text", "text": "hi" }] }] });
        let responses = json!({ "input": [{ "role": "user", "content": "hi" }] });
        for body in [chat, parts, responses, json!({ "prompt": "hi" }), json!({ "input": "hi" })] {
            assert_eq!(told(&body), Some(user.clone()), "{body}");
        }
        assert_eq!(told(&json!({ "model": "phi" })), None);
        assert!(notes(b"{").is_none());
    }

    #[test]
    fn pictures_are_named_and_not_shown() {
        let url = json!({ "type": "image_url", "image_url": { "url": "data:secret" } });
        let body = json!({ "messages": [{ "role": "user", "content": [url] }, { "role": "tool" }] });
        let expected = json!([
            { "role": "user", "parts": [{ "type": "image_url" }] },
            { "role": "tool", "parts": [] },
        ]);
        assert_eq!(told(&body), Some(expected));
    }

    // Seen to fail: with nothing taken from what is left.
    #[test]
    fn all_texts_together_are_bounded() {
        let long = "ä".repeat(TEXT_BYTES_MAX / 2 - 1);
        let message = |text: &str| json!({ "role": "user", "content": text });
        let body = json!({ "messages": [message(&long), message("äöü"), message("x")] });
        let told = told(&body).expect("a prompt");
        let texts: Vec<_> = [0, 1, 2].map(|nth| told[nth]["parts"][0]["content"].clone()).into();
        assert_eq!(texts, [json!(long), json!("ä"), json!("")]);
    }
}
