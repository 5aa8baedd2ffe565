//! The calls that an old agent has, and how far each is: `open`, then the message, then one
//! answer.

use std::collections::HashMap;
use std::task::Context;

use super::call::{Answered, Call};
use crate::server::failure::Failure;
use crate::v1::{Frame, UNAUTHORIZED};

/// All calls of one agent.
pub(super) struct Calls {
    answer_bytes_max: usize,
    running: HashMap<String, Running>,
}

struct Running {
    /// The message that goes once the agent has opened the call; gone since.
    message: Option<String>,
    answer: Answered,
}

impl Calls {
    pub(super) fn new(answer_bytes_max: usize) -> Self {
        Self { answer_bytes_max, running: HashMap::new() }
    }

    /// Takes a call, and gives its first frame; none when nobody waits for it any more.
    pub(super) fn add(&mut self, call: Call, cx: &mut Context<'_>) -> Option<String> {
        let Call { sid, open, message, mut answer } = call;
        // Notes whom to wake when its caller leaves.
        if answer.poll_closed(cx).is_ready() {
            return None;
        }
        self.running.insert(sid, Running { message: Some(message), answer });
        Some(open)
    }

    /// Forgets the calls whose callers left, and tells which.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>, mut gone: impl FnMut(&str)) {
        self.running.retain(|sid, running| {
            let left = running.answer.poll_closed(cx).is_ready();
            if left {
                gone(sid);
            }
            !left
        });
    }

    /// What an agent said; gives what is to be said to it. What is about no call is passed
    /// over, as pings and pongs are.
    pub(super) fn take(&mut self, frame: &Frame<'_>) -> Vec<String> {
        let Some(mut running) = self.running.remove(&frame.sid) else { return Vec::new() };
        let close = Frame::close(&frame.sid, "done").text();
        match (running.message.take(), frame.t.as_str()) {
            (Some(message), "open.ok") => {
                self.running.insert(frame.sid.clone(), running);
                vec![message]
            }
            (Some(_), "open.fail") if frame.code == UNAUTHORIZED => {
                let _ = running.answer.send(Err(Failure::Unauthorized));
                Vec::new()
            }
            (Some(_), _) => {
                let _ = running.answer.send(Err(Failure::NotOpened));
                Vec::new()
            }
            (None, "rpc") => {
                let _ = running.answer.send(self.answer(frame));
                vec![close]
            }
            // An end without an answer is no success (KD-123).
            (None, _) => {
                let _ = running.answer.send(Err(Failure::Upstream));
                vec![close]
            }
        }
    }

    fn answer(&self, frame: &Frame<'_>) -> Result<String, Failure> {
        let payload = frame.payload.ok_or(Failure::Upstream)?.get();
        if payload.len() > self.answer_bytes_max {
            return Err(Failure::AnswerTooLong);
        }
        // An unreachable provider: the error an old agent makes has lost the call's id (KD-135).
        if payload.len() < 1024 && is_nameless_failure(payload) {
            return Err(Failure::Upstream);
        }
        Ok(payload.to_owned())
    }
}

fn is_nameless_failure(payload: &str) -> bool {
    let value: serde_json::Value = serde_json::from_str(payload).unwrap_or_default();
    value.get("id").is_some_and(serde_json::Value::is_null)
        && value["error"]["data"]["mcp"] == "MCP_UPSTREAM_ERROR"
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    /// `said` are the agent's frames for the call `s`; gives what came of it.
    fn check(said: &[&str], expected: Result<&str, Failure>) {
        let mut calls = Calls::new(100);
        let (answer, mut answered) = oneshot::channel();
        let call = Call { sid: "s".into(), open: "open".into(), message: "message".into(), answer };
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert_eq!(calls.add(call, &mut cx).as_deref(), Some("open"));
        for text in said {
            calls.take(&serde_json::from_str(text).expect("a frame"));
        }
        assert_eq!(answered.try_recv().expect("it is over"), expected.map(str::to_owned), "{said:?}");
        assert!(calls.running.is_empty());
    }

    #[test]
    fn only_a_frame_with_a_payload_is_an_answer() {
        let ok = r#"{"t":"open.ok","sid":"s"}"#;
        let other = r#"{"t":"rpc","sid":"other","payload":1}"#;
        check(&[ok, other, r#"{"t":"rpc","sid":"s","payload":[1.0]}"#], Ok("[1.0]"));
        // Seen to fail: with an empty answer made up where there is none.
        check(&[ok, r#"{"t":"close","sid":"s","msg":"done"}"#], Err(Failure::Upstream));
        check(&[ok, r#"{"t":"rpc","sid":"s"}"#], Err(Failure::Upstream));
        check(&[ok, r#"{"t":"open.ok","sid":"s"}"#], Err(Failure::Upstream));
        check(&[r#"{"t":"open.fail","sid":"s","code":"MCP_UNAUTHORIZED"}"#], Err(Failure::Unauthorized));
        check(&[r#"{"t":"open.fail","sid":"s"}"#], Err(Failure::NotOpened));
        check(&[r#"{"t":"rpc","sid":"s","payload":1}"#], Err(Failure::NotOpened));
        let long = format!(r#"{{"t":"rpc","sid":"s","payload":"{}"}}"#, "x".repeat(99));
        check(&[ok, &long], Err(Failure::AnswerTooLong));
        let nameless =
            r#"{"t":"rpc","sid":"s","payload":{"id":null,"error":{"data":{"mcp":"MCP_UPSTREAM_ERROR"}}}}"#;
        check(&[ok, nameless], Err(Failure::Upstream));
    }
}
