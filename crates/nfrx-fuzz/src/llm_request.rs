//! The body of a request for a language model: model, stream and input are what a full
//! reader finds, and what is no JSON is refused.

use nfrx_llm::fuzzing::{Head, head};
use serde::de::IgnoredAny;

use crate::json::Json;

pub(crate) fn run(data: &[u8]) {
    let found = head(data);
    if found != Head::NotJson {
        let whole = serde_json::from_slice::<IgnoredAny>(data);
        assert!(whole.is_ok(), "what is no JSON was read: {found:?}");
    }
    // A scan may read what a tree can't hold, such as values nested very deep.
    if let Some(body) = Json::read(data) {
        assert_eq!(found, expected(&body), "{body:?}");
    }
}

/// What the contract says of a body (HTTP contract §4.2).
fn expected(body: &Json) -> Head {
    let text = |value: &Json| value.text().unwrap_or_default().to_owned();
    let last = |is_it: &dyn Fn(&str) -> bool| {
        body.members().iter().rev().find(|(key, _)| is_it(key)).map(|(_, value)| value)
    };
    let model = last(&|key| key == "model").map(text);
    let by_case = last(&|key| key != "model" && key.eq_ignore_ascii_case("model")).map(text);
    if model.is_some() && by_case.is_some() && model != by_case {
        return Head::TwoModels;
    }
    Head::Read {
        model: model.or(by_case).unwrap_or_default(),
        stream: last(&|key| key.eq_ignore_ascii_case("stream")) == Some(&Json::Bool(true)),
        has_input: last(&|key| key == "input").is_some(),
    }
}
