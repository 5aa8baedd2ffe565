//! What is measured: the figures, and the requests that make them.

use std::time::Duration;

use crate::http::Request;
use crate::swarm::{DEMO, model};
use crate::target::Target;

/// Where generation requests go; every target serves it.
const CHAT: &str = "/v1/chat/completions";
const TRANSCRIPTIONS: &str = "/v1/audio/transcriptions";

/// What makes a request's answer small, with the simulated backend.
const SMALL: &str = r#","max_tokens":16,"x_sim_tokens":16"#;

/// Tokens of one stream at full speed: short enough to end soon after its window.
const STREAM_TOKENS: u64 = 500;
/// The text of a streamed token. With the JSON around it an event is 240 bytes long, which the
/// simulated backend's constant parts leave nothing to choose about.
const TOKEN_BYTES: u64 = 8;
/// What a stream has besides its tokens: the role, the finish reason, the end mark.
pub(crate) const STREAM_EVENTS_MORE: u64 = 3;

const MIB: usize = 1 << 20;
/// Downloads and uploads have this size.
const BULK_BYTES: usize = 64 * MIB;
/// A relay holds a JSON request whole, up to its limit of 16 MiB.
const JSON_BYTES: usize = 16 * MIB - 64 * 1024;

/// One thing to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) work: Work,
}

/// What clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// So many connections ask, and ask again as soon as they have the answer.
    Requests(usize),
    /// The same, and the requests of all together go to so many models in turn.
    Models { connections: usize, models: u32 },
    /// The same as the first with streams at full speed.
    Streams(usize),
    /// So many streams at once, of so many tokens per second each.
    Paced { streams: usize, per_second: u64 },
    /// One connection, answers of 64 MiB.
    Download,
    /// One connection, one upload of 64 MiB.
    Upload,
    /// One connection, 64 MiB in JSON requests of nearly 16 MiB.
    UploadJson,
}

/// What costs are divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Request,
    Chunk,
    Mib,
}

/// All figures, in the order they are measured in.
pub(crate) const FIGURES: &[Figure] = &[
    figure("small-c1", "small requests, one after the other", Work::Requests(1)),
    figure("small-c16", "small requests, 16 connections", Work::Requests(16)),
    figure("small-c64", "small requests, 64 connections", Work::Requests(64)),
    figure("streams-16", "16 streams at full speed, each chunk a write of its own", Work::Streams(16)),
    figure("streams-64", "64 streams at full speed, each chunk a write of its own", Work::Streams(64)),
    figure("paced-200", "200 streams of 50 chunks/s", Work::Paced { streams: 200, per_second: 50 }),
    figure("download", "answers of 64 MiB", Work::Download),
    figure("upload", "an upload of 64 MiB (audio)", Work::Upload),
    figure("upload-json", "64 MiB in JSON requests of nearly 16 MiB", Work::UploadJson),
];

const fn figure(name: &'static str, about: &'static str, work: Work) -> Figure {
    Figure { name, about, work }
}

impl Figure {
    pub(crate) fn unit(&self) -> Unit {
        match self.work {
            Work::Requests(_) | Work::Models { .. } => Unit::Request,
            Work::Streams(_) | Work::Paced { .. } => Unit::Chunk,
            Work::Download | Work::Upload | Work::UploadJson => Unit::Mib,
        }
    }

    /// The requests to send in turn, and how many events the answer to each has.
    pub(crate) fn requests(&self, target: &Target) -> (Vec<Request>, u64) {
        if let Work::Models { models, .. } = self.work {
            let request = |number| chat_request(target, &chat(&model(number), "", SMALL));
            return ((0..models).map(request).collect(), 0);
        }
        let (request, events) = self.request(target, Duration::ZERO);
        (vec![request], events)
    }

    /// The first request to send, and how many events its answer has. `runs` is how long a paced
    /// stream is to go on.
    pub(crate) fn request(&self, target: &Target, runs: Duration) -> (Request, u64) {
        let json = |body: String| chat_request(target, &body);
        match self.work {
            Work::Requests(_) | Work::Models { .. } => (small(target), 0),
            Work::Streams(_) => {
                (json(stream(STREAM_TOKENS, r#","x_sim_flush":true"#)), STREAM_TOKENS + STREAM_EVENTS_MORE)
            }
            Work::Paced { per_second, .. } => {
                let tokens = (runs.as_secs_f64() * per_second as f64).ceil() as u64;
                let pace = format!(r#","x_sim_tokens_per_second":{per_second}"#);
                (json(stream(tokens, &pace)), tokens + STREAM_EVENTS_MORE)
            }
            Work::Download => {
                let tokens = BULK_BYTES / MIB;
                let size = format!(r#","x_sim_tokens":{tokens},"x_sim_token_bytes":{MIB}"#);
                (json(chat(DEMO, "", &size)), 0)
            }
            Work::Upload => (upload(target), 0),
            Work::UploadJson => (upload_json(target), 0),
        }
    }
}

/// A small request, answered as soon as possible.
pub(crate) fn small(target: &Target) -> Request {
    chat_request(target, &chat(DEMO, "", SMALL))
}

/// A stream that says two words, and nothing more for a quarter of an hour.
pub(crate) fn slow_stream(target: &Target) -> Request {
    chat_request(target, &stream(2, r#","x_sim_tokens_per_second":0.001"#))
}

/// A stream of so many tokens at such a pace.
pub(crate) fn short_stream(target: &Target, tokens: u64, per_second: u64) -> Request {
    chat_request(target, &stream(tokens, &format!(r#","x_sim_tokens_per_second":{per_second}"#)))
}

fn chat_request(target: &Target, body: &str) -> Request {
    target.request(CHAT, "application/json", body.as_bytes())
}

/// A chat request of about 300 bytes, plus `more` text in its message and `members` at its end.
fn chat(model: &str, more: &str, members: &str) -> String {
    format!(
        r#"{{"model":"{model}","messages":[{{"role":"system","content":"You are a helpful assistant that answers in short, plain sentences and says so when it does not know."}},{{"role":"user","content":"Where does the river meet the sea, and which way does the path through the valley go?{more}"}}]{members}}}"#
    )
}

fn stream(tokens: u64, members: &str) -> String {
    let size = format!(
        r#","stream":true,"max_tokens":{tokens},"x_sim_tokens":{tokens},"x_sim_token_bytes":{TOKEN_BYTES}{members}"#
    );
    chat(DEMO, "", &size)
}

/// A request whose answer has 64 MiB, made as it leaves: the backend answers others meanwhile.
pub(crate) fn long_stream(target: &Target) -> Request {
    const PIECE: usize = 16 * 1024;
    let tokens = BULK_BYTES / PIECE;
    let size = format!(
        r#","stream":true,"max_tokens":{tokens},"x_sim_tokens":{tokens},"x_sim_token_bytes":{PIECE}"#
    );
    chat_request(target, &chat(DEMO, "", &size))
}

/// A request of nearly 16 MiB.
pub(crate) fn upload_json(target: &Target) -> Request {
    let body = chat(DEMO, &"x".repeat(JSON_BYTES), r#","max_tokens":1,"x_sim_tokens":1"#);
    chat_request(target, &body)
}

fn upload(target: &Target) -> Request {
    speech(target, BULK_BYTES)
}

/// A request to transcribe so many bytes.
pub(crate) fn speech(target: &Target, bytes: usize) -> Request {
    const BOUNDARY: &str = "nfrx-bench-boundary";
    let begin = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ndemo\r\n--{BOUNDARY}\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"speech.wav\"\r\n\
         Content-Type: audio/wav\r\n\r\n"
    );
    let mut body = begin.into_bytes();
    body.resize(body.len() + bytes, b'~');
    body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    target.request(TRANSCRIPTIONS, &format!("multipart/form-data; boundary={BOUNDARY}"), &body)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{BULK_BYTES, DEMO, FIGURES, JSON_BYTES, SMALL, chat, stream};

    #[test]
    fn names_of_figures_are_unique() {
        let names: BTreeSet<_> = FIGURES.iter().map(|figure| figure.name).collect();
        assert_eq!(names.len(), FIGURES.len());
    }

    #[test]
    fn requests_are_json_of_the_size_they_claim() {
        let small = chat(DEMO, "", SMALL);
        assert!((250..350).contains(&small.len()), "{} bytes", small.len());
        for body in [small, stream(5, r#","x_sim_flush":true"#)] {
            serde_json::from_str::<serde_json::Value>(&body).unwrap();
        }
        let big = chat(DEMO, &"x".repeat(JSON_BYTES), "").len();
        assert!(big < 16 << 20 && 4 * big > BULK_BYTES - (1 << 20));
    }
}
