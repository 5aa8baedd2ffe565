//! Answers in words, in the shapes of chat completions, completions and responses.
//!
//! An answer is put together from constant text around tokens that are ASCII words, so no
//! token is ever serialised.

use bytes::Bytes;

use crate::body::{Frames, TokenStream};
use crate::refusal::Refusal;
use crate::request::{Ask, Plan};
use crate::route::Work;
use crate::text::{self, Words};

mod responses;

/// When every answer was made: a constant, so that the same request gets the same bytes.
pub(crate) const CREATED: u64 = 1_767_225_600;

/// What every answer calls itself.
const FINGERPRINT: &str = "simulated";

/// One answer, decided but not yet given.
#[derive(Debug)]
pub(crate) struct Answer {
    work: Work,
    id: u64,
    /// As a JSON string.
    model: String,
    usage: Usage,
    wants_usage: bool,
    plan: Plan,
    words: Words,
}

#[derive(Debug, Clone, Copy)]
struct Usage {
    prompt: u64,
    completion: u64,
}

impl Answer {
    /// `work` is chat, completions or responses.
    pub(crate) fn new(
        work: Work,
        ask: &Ask<'_>,
        model: &str,
        plan: Plan,
        seed: u64,
    ) -> Result<Self, Refusal> {
        let prompt = ask.prompt(work)?;
        let id = text::hash(seed, &[model.as_bytes(), prompt.as_bytes()]);
        Ok(Self {
            work,
            id,
            model: serde_json::Value::from(model).to_string(),
            usage: Usage { prompt: text::prompt_tokens(prompt.len()), completion: plan.tokens.into() },
            wants_usage: ask.wants_usage(),
            words: plan.words(id),
            plan,
        })
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The answer as one JSON document.
    pub(crate) fn whole(&self) -> Result<Bytes, Refusal> {
        let text = self.text()?;
        let (head, tail) = match self.work {
            Work::Responses => self.response_around("completed", true),
            Work::Chat => self.completion_around(
                r#"{"index":0,"message":{"role":"assistant","content":""#,
                r#"","refusal":null},"logprobs":null,"finish_reason":"#,
            ),
            _ => self.completion_around(r#"{"index":0,"text":""#, r#"","logprobs":null,"finish_reason":"#),
        };
        Ok([head.as_bytes(), &text, tail.as_bytes()].concat().into())
    }

    /// The answer as server-sent events.
    pub(crate) fn stream(self) -> Result<TokenStream, Refusal> {
        let frames = match self.work {
            Work::Responses => self.response_frames(&self.text()?),
            Work::Chat => self.chat_frames(),
            _ => self.completion_frames(),
        };
        Ok(TokenStream::new(frames, self.plan, self.words))
    }

    fn text(&self) -> Result<Vec<u8>, Refusal> {
        self.plan.text(&self.words)
    }

    fn finish_reason(&self) -> &'static str {
        if self.plan.shortened { r#""length""# } else { r#""stop""# }
    }

    /// What stands before and after the text of a whole completion.
    fn completion_around(&self, choice_head: &str, choice_tail: &str) -> (String, String) {
        let object = if self.work == Work::Chat { "chat.completion" } else { "text_completion" };
        let head = format!("{}{choice_head}", self.completion_head(object));
        let tail =
            format!(r#"{choice_tail}{}}}],"usage":{}}}"#, self.finish_reason(), self.usage.completion());
        (head, tail)
    }

    fn completion_head(&self, object: &str) -> String {
        let kind = if self.work == Work::Chat { "chatcmpl" } else { "cmpl" };
        format!(
            r#"{{"id":"{kind}-sim-{:016x}","object":"{object}","created":{CREATED},"model":{},"system_fingerprint":"{FINGERPRINT}","choices":["#,
            self.id, self.model
        )
    }

    fn chat_frames(&self) -> Frames {
        let head = format!("data: {}", self.completion_head("chat.completion.chunk"));
        let tail = self.chunk_tail();
        let role =
            r#"{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}"#;
        let end =
            format!(r#"{{"index":0,"delta":{{}},"logprobs":null,"finish_reason":{}}}"#, self.finish_reason());
        Frames {
            opening: vec![format!("{head}{role}{tail}").into()],
            head: format!(r#"{head}{{"index":0,"delta":{{"content":""#).into(),
            tail: format!(r#""}},"logprobs":null,"finish_reason":null}}{tail}"#).into(),
            numbered: None,
            closing: self.closing(&head, &end),
        }
    }

    fn completion_frames(&self) -> Frames {
        let head = format!("data: {}", self.completion_head("text_completion"));
        let tail = self.chunk_tail();
        let end =
            format!(r#"{{"index":0,"text":"","logprobs":null,"finish_reason":{}}}"#, self.finish_reason());
        Frames {
            opening: Vec::new(),
            head: format!(r#"{head}{{"index":0,"text":""#).into(),
            tail: format!(r#"","logprobs":null,"finish_reason":null}}{tail}"#).into(),
            numbered: None,
            closing: self.closing(&head, &end),
        }
    }

    /// The chunk with the finish reason, the usage if it was asked for, and the end mark.
    fn closing(&self, head: &str, end: &str) -> Vec<Bytes> {
        let mut closing = vec![format!("{head}{end}{}", self.chunk_tail()).into()];
        if self.wants_usage {
            closing.push(format!("{head}],\"usage\":{}}}\n\n", self.usage.completion()).into());
        }
        closing.push(Bytes::from_static(b"data: [DONE]\n\n"));
        closing
    }

    /// OpenAI's chunks carry a null usage when the last one is to carry a real one.
    fn chunk_tail(&self) -> &'static str {
        if self.wants_usage { "],\"usage\":null}\n\n" } else { "]}\n\n" }
    }
}

impl Usage {
    fn total(self) -> u64 {
        self.prompt + self.completion
    }

    fn completion(self) -> String {
        let Self { prompt, completion } = self;
        let total = self.total();
        format!(r#"{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{total}}}"#)
    }
}
