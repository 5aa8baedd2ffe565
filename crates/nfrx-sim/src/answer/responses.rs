//! The shape of the responses API, whole and as events.

use bytes::Bytes;

use super::{Answer, CREATED, FINGERPRINT, Usage};
use crate::body::Frames;

impl Answer {
    /// What stands before and after the text of a response object; without a message there
    /// is no text between the two.
    pub(super) fn response_around(&self, status: &str, has_message: bool) -> (String, String) {
        let (id, model) = (self.id, &self.model);
        let mut head = format!(
            r#"{{"id":"resp_sim_{id:016x}","object":"response","created_at":{CREATED},"status":"{status}","error":null,"incomplete_details":null,"model":{model},"system_fingerprint":"{FINGERPRINT}","output":["#
        );
        if !has_message {
            return (head, r#"],"usage":null}"#.to_owned());
        }
        let (item_head, item_tail) = self.item_around();
        head.push_str(&item_head);
        (head, format!(r#"{item_tail}],"usage":{}}}"#, self.usage.response()))
    }

    fn item_id(&self) -> String {
        format!("msg_sim_{:016x}", self.id)
    }

    fn item_around(&self) -> (String, String) {
        let id = self.item_id();
        let head = format!(
            r#"{{"id":"{id}","type":"message","status":"completed","role":"assistant","content":[{PART_HEAD}"#
        );
        (head, format!("{PART_TAIL}]}}"))
    }

    /// The events of a streamed response: `text` is all that its tokens will say.
    ///
    /// A limit of the request shortens it, but it still completes: that is what a demo's
    /// client waits for.
    pub(super) fn response_frames(&self, text: &[u8]) -> Frames {
        let text = String::from_utf8_lossy(text);
        let whole = |(head, tail): (String, String), text: &str| format!("{head}{text}{tail}");
        let begun = whole(self.response_around("in_progress", false), "");
        let id = self.item_id();
        let place = format!(r#""item_id":"{id}","output_index":0,"content_index":0"#);
        let item = format!(
            r#"{{"id":"{id}","type":"message","status":"in_progress","role":"assistant","content":[]}}"#
        );
        let opening = [
            ("created", format!(r#""response":{begun}"#)),
            ("in_progress", format!(r#""response":{begun}"#)),
            ("output_item.added", format!(r#""output_index":0,"item":{item}"#)),
            ("content_part.added", format!(r#"{place},"part":{PART_HEAD}{PART_TAIL}"#)),
        ];
        let item = whole(self.item_around(), &text);
        let done = whole(self.response_around("completed", true), &text);
        let closing = [
            ("output_text.done", format!(r#"{place},"text":"{text}","logprobs":[]"#)),
            ("content_part.done", format!(r#"{place},"part":{PART_HEAD}{text}{PART_TAIL}"#)),
            ("output_item.done", format!(r#""output_index":0,"item":{item}"#)),
            ("completed", format!(r#""response":{done}"#)),
        ];
        let first_delta = opening.len() as u64;
        Frames {
            head: format!(r#"{}{place},"delta":""#, event_head("output_text.delta")).into(),
            tail: Bytes::from_static(br#"","logprobs":[],"sequence_number":"#),
            numbered: Some((first_delta, EVENT_END)),
            opening: number(opening, 0),
            closing: number(closing, first_delta + u64::from(self.plan.tokens)),
        }
    }
}

const PART_HEAD: &str = r#"{"type":"output_text","text":""#;
const PART_TAIL: &str = r#"","annotations":[],"logprobs":[]}"#;
const EVENT_END: &str = "}\n\n";

fn event_head(kind: &str) -> String {
    format!("event: response.{kind}\ndata: {{\"type\":\"response.{kind}\",")
}

fn number<const N: usize>(events: [(&str, String); N], first: u64) -> Vec<Bytes> {
    let numbered = (first..).zip(events);
    numbered
        .map(|(number, (kind, members))| {
            format!("{}{members},\"sequence_number\":{number}{EVENT_END}", event_head(kind)).into()
        })
        .collect()
}

impl Usage {
    fn response(self) -> String {
        let Self { prompt, completion } = self;
        let total = self.total();
        format!(
            r#"{{"input_tokens":{prompt},"input_tokens_details":{{"cached_tokens":0}},"output_tokens":{completion},"output_tokens_details":{{"reasoning_tokens":0}},"total_tokens":{total}}}"#
        )
    }
}
