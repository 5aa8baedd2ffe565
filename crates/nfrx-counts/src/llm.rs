//! Bodies of requests for language models, and their answers.

use std::fmt::Write as _;
use std::hint::black_box;

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use nfrx_llm::fuzzing::{Head, head, observer};

use crate::Operation;

/// Reading model and stream of a body with about so many bytes: members before and behind
/// the messages, and texts with escapes.
pub(crate) fn request(bytes: usize) -> Operation {
    let mut body = r#"{"model":"family7:7b-q3","temperature":0.7,"messages":["#.to_owned();
    for nth in 0.. {
        let role = ["user", "assistant"][nth % 2];
        let _ = write!(
            body,
            r#"{{"role":"{role}","content":"Line {nth}:\n\"What is said here is as long as a sentence or two, and has no end.\" It goes on."}}"#
        );
        if body.len() >= bytes {
            break;
        }
        body.push(',');
    }
    body.push_str(r#"],"stream":true,"stream_options":{"include_usage":true},"max_tokens":256}"#);
    Box::new(move || {
        let Head::Read { model, stream, .. } = head(black_box(body.as_bytes())) else { panic!("it is one") };
        assert!(model == "family7:7b-q3" && stream, "it says so");
    })
}

/// Counting the tokens of a whole answer: a hundred events, each in a piece, and the usage.
pub(crate) fn answer() -> Operation {
    let event = |rest: &str| {
        Bytes::from(format!(
            "data: {{\"id\":\"chatcmpl-0123456789abcdef0123\",\"object\":\"chat.completion.chunk\",\
             \"created\":1700000000,\"model\":\"family7:7b-q3\",{rest}}}\n\n"
        ))
    };
    let delta = |nth| {
        let choice = format!(r#"{{"index":0,"delta":{{"content":" word{nth}"}},"finish_reason":null}}"#);
        event(&format!(r#""system_fingerprint":"fp_0","choices":[{choice}],"usage":null"#))
    };
    let mut pieces: Vec<Bytes> = (1..100).map(delta).collect();
    let usage = r#"{"prompt_tokens":11,"completion_tokens":99,"total_tokens":110}"#;
    pieces.push(event(&format!(r#""choices":[],"usage":{usage}"#)));
    let mut response = Response::new(());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    let (head, ()) = response.into_parts();
    Box::new(move || {
        let mut observer = observer();
        observer.head(&head);
        for piece in black_box(&pieces) {
            observer.data(piece);
        }
        let events = observer.tokens_so_far();
        let usage = observer.end(Some(""));
        assert!((events, usage.tokens_in, usage.tokens_out) == (100, 11, 99), "it says so");
    })
}
