//! What a scripted worker answers: what the simulated backend would, as far as it is asked here.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use nfrx_spi::{Body, BodyError, BoxFuture, CallError};
use nfrx_tunnel::AgentService;
use serde::Deserialize;
use tokio::time::{Instant, Sleep, sleep_until};

/// An event as long as the simulated backend's.
const TOKEN: &str = concat!(
    "data: {\"id\":\"chatcmpl-swarm-0000000000000000\",\"object\":\"chat.completion.chunk\",",
    "\"created\":1700000000,\"model\":\"demo\",\"system_fingerprint\":\"simulated\",\"choices\":[",
    "{\"index\":0,\"delta\":{\"content\":\"six wo\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n"
);
const END: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";
const WHOLE: &str = concat!(
    "{\"id\":\"chatcmpl-swarm-0000000000000000\",\"object\":\"chat.completion\",\"created\":1700000000,",
    "\"model\":\"demo\",\"system_fingerprint\":\"simulated\",\"choices\":[{\"index\":0,\"message\":",
    "{\"role\":\"assistant\",\"content\":\"an answer of some words, as a small one has\"},",
    "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":9,\"total_tokens\":18}}"
);

/// Answers every request at once, or with a paced stream.
pub(super) struct Script;

/// The members of a request that count.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ask {
    stream: bool,
    x_sim_tokens: u32,
    x_sim_tokens_per_second: f64,
}

impl AgentService for Script {
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        Box::pin(async move {
            let body = request.into_body().collect().await.map_err(|_| CallError::Refused)?;
            let ask: Ask = serde_json::from_slice(&body.to_bytes()).map_err(|_| CallError::Refused)?;
            let (kind, body) = if ask.stream {
                ("text/event-stream", Body::stream(Tokens::new(&ask)))
            } else {
                ("application/json", Body::from(Bytes::from_static(WHOLE.as_bytes())))
            };
            let mut response = Response::new(body);
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            Ok(response)
        })
    }
}

/// The role, the tokens, the finish reason and the end mark; each token when it is due.
struct Tokens {
    tokens: u32,
    sent: u32,
    interval: Duration,
    start: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Tokens {
    fn new(ask: &Ask) -> Self {
        let rate = ask.x_sim_tokens_per_second;
        let interval = if rate > 0.0 { Duration::from_secs_f64(1.0 / rate) } else { Duration::ZERO };
        let start = Instant::now();
        Self { tokens: ask.x_sim_tokens, sent: 0, interval, start, sleep: Box::pin(sleep_until(start)) }
    }
}

impl http_body::Body for Tokens {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let event = match self.sent.checked_sub(self.tokens) {
            Some(1) => END,
            Some(2) => DONE,
            Some(3) => return Poll::Ready(None),
            _ => {
                // The first event is the role's; the first token comes with it.
                let due = self.start + self.interval * self.sent.saturating_sub(1);
                if self.sleep.deadline() != due {
                    self.sleep.as_mut().reset(due);
                }
                if due > Instant::now() {
                    ready!(self.sleep.as_mut().poll(cx));
                }
                TOKEN
            }
        };
        self.sent += 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(event.as_bytes())))))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tokio::time::Instant;

    use super::{Ask, DONE, TOKEN, Tokens, WHOLE};

    #[tokio::test(start_paused = true)]
    async fn a_stream_has_the_events_and_the_pace_that_were_asked_for() {
        let start = Instant::now();
        let ask = Ask { stream: true, x_sim_tokens: 3, x_sim_tokens_per_second: 20.0 };
        let mut tokens = Tokens::new(&ask);
        let mut events = Vec::new();
        while let Some(frame) = tokens.frame().await {
            events.push((start.elapsed(), frame.unwrap().into_data().unwrap()));
        }
        let times: Vec<_> = events.iter().map(|(at, _)| at.as_millis() / 10 * 10).collect();
        // Seen to fail: with the first token an interval late, and without the finish reason.
        assert_eq!(times, [0, 0, 50, 100, 100, 100]);
        assert_eq!(events[5].1, DONE);
    }

    #[test]
    fn answers_are_json_and_a_token_is_as_long_as_the_backends() {
        // Seen to fail: with a longer token, and with a brace less.
        assert_eq!(TOKEN.len(), 240);
        let event = TOKEN.strip_prefix("data: ").unwrap();
        for text in [event, WHOLE] {
            serde_json::from_str::<serde_json::Value>(text).unwrap();
        }
    }
}
