//! The requests that are asked, and the right answer to each: what a backend says that is
//! asked without a relay.

use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use nfrx_testkit::fault::Dice;
use nfrx_testkit::http::{HttpClient, post};
use nfrx_testkit::relay::{API_KEY, Kind};
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// How long a backend is listened to that has been asked to fall silent.
const SILENT_AFTER: Duration = Duration::from_millis(300);

/// A request with its right answer.
pub(crate) struct Entry {
    /// What kind of backend it is for.
    pub(crate) kind: Kind,
    /// How its answer is compared.
    pub(crate) form: Form,
    /// What the backend is asked to do wrong, for a tally.
    pub(crate) fault: Option<&'static str>,
    /// What a backend answers.
    pub(crate) right: Right,
    /// As a client sends it.
    pub(crate) request: Request<Bytes>,
}

/// How an answer is compared with the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Byte for byte.
    Bytes,
    /// Byte for byte, but events of the queue may come before.
    Events,
    /// As JSON: the relay puts it together from parts.
    Joined,
}

/// What a backend answers.
pub(crate) struct Right {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
    /// Whether it comes to its end.
    pub(crate) whole: bool,
}

/// Faults that a backend is asked for, as members of a request.
const FAULTS: [(&str, &str, u64); 6] = [
    ("backend status", "x_sim_status", 500),
    ("backend status", "x_sim_status", 429),
    ("backend died before its head", "x_sim_die_after", 0),
    ("backend died within its answer", "x_sim_die_after", 7),
    ("backend silent before its head", "x_sim_stall_after", 0),
    ("backend silent within its answer", "x_sim_stall_after", 7),
];

/// All entries: sound ones first, then as many with each fault.
pub(crate) async fn learn(seed: u64, backend: std::net::SocketAddr) -> Result<Vec<Entry>> {
    let mut dice = Dice::new(seed, "catalog");
    let mut drafts: Vec<Draft> = (0..24).map(|nth| Draft::chat(&mut dice, nth % 2 == 0)).collect();
    drafts.extend((0..6).map(|_| Draft::embeddings(&mut dice)));
    drafts.extend((0..10).map(|_| Draft::transcription(&mut dice)));
    drafts.extend((0..4).map(|_| Draft::conversion(&mut dice)));
    for (name, member, value) in FAULTS {
        for stream in [true, false] {
            let mut draft = Draft::chat(&mut dice, stream);
            draft.fault(name, member, value);
            drafts.push(draft);
        }
        if value != 7 {
            let mut draft = Draft::transcription(&mut dice);
            draft.fault(name, member, value);
            drafts.push(draft);
        }
    }
    let mut entries = Vec::new();
    for draft in drafts {
        entries.push(draft.learn(backend).await?);
    }
    Ok(entries)
}

/// A request that has not been asked yet.
struct Draft {
    kind: Kind,
    path: &'static str,
    form: Form,
    fault: Option<&'static str>,
    body: Draught,
}

enum Draught {
    Json(Value),
    /// A form, with headers for the backend.
    Upload {
        form: Bytes,
        headers: Vec<(String, String)>,
    },
}

const BOUNDARY: &str = "soak-boundary";

impl Draft {
    fn chat(dice: &mut Dice, stream: bool) -> Self {
        let mut body = json!({
            "model": "demo",
            "messages": [{ "role": "user", "content": "x".repeat(dice.bytes(1 << 15) as usize) }],
            "x_sim_tokens": dice.within(8..120),
            "x_sim_token_bytes": dice.pick(&[0, 0, 0, 2_000]),
        });
        if stream {
            body["stream"] = true.into();
            body["x_sim_flush"] = true.into();
            body["x_sim_tokens_per_second"] = (*dice.pick(&[0, 0, 500])).into();
        }
        let form = if stream { Form::Events } else { Form::Bytes };
        let path = "/v1/chat/completions";
        Self { kind: Kind::Llm, path, form, fault: None, body: Draught::Json(body) }
    }

    fn embeddings(dice: &mut Dice) -> Self {
        let inputs: Vec<String> = (0..dice.within(1..60)).map(|nth| format!("input {nth}")).collect();
        let body = json!({ "model": "demo", "dimensions": 8, "input": inputs });
        let path = "/v1/embeddings";
        Self { kind: Kind::Llm, path, form: Form::Joined, fault: None, body: Draught::Json(body) }
    }

    /// An upload that names its model first, or after its file: that one waits on disk.
    fn transcription(dice: &mut Dice) -> Self {
        let model = part("name=\"model\"", b"demo");
        let bytes = dice.bytes(1 << 18) as usize;
        let file = part("name=\"file\"; filename=\"a.wav\"", &dice.noise(bytes));
        let parts = if dice.one_in(4) { [file, model] } else { [model, file] };
        Self::upload(Kind::Asr, "/v1/audio/transcriptions", &parts)
    }

    fn conversion(dice: &mut Dice) -> Self {
        let bytes = dice.bytes(1 << 18) as usize;
        let file = part("name=\"files\"; filename=\"a.pdf\"", &dice.noise(bytes));
        Self::upload(Kind::Docling, "/v1/convert/file", &[file])
    }

    fn upload(kind: Kind, path: &'static str, parts: &[Vec<u8>]) -> Self {
        let form = [parts.concat(), format!("--{BOUNDARY}--\r\n").into_bytes()].concat().into();
        let headers = vec![("x-sim-hash".to_owned(), "true".to_owned())];
        Self { kind, path, form: Form::Bytes, fault: None, body: Draught::Upload { form, headers } }
    }

    fn fault(&mut self, name: &'static str, member: &str, value: u64) {
        self.fault = Some(name);
        match &mut self.body {
            Draught::Json(body) => body[member] = value.into(),
            Draught::Upload { headers, .. } => headers.push((member.replace('_', "-"), value.to_string())),
        }
    }

    fn request(&self) -> Request<Bytes> {
        match &self.body {
            Draught::Json(body) => post(self.path, Some(API_KEY), body),
            Draught::Upload { form, headers } => {
                let mut request = Request::post(self.path)
                    .header("host", "relay.test")
                    .header("authorization", format!("Bearer {API_KEY}"))
                    .header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"));
                for (name, value) in headers {
                    request = request.header(name, value);
                }
                request.body(form.clone()).expect("our own headers")
            }
        }
    }

    /// Asks the backend itself.
    async fn learn(self, backend: std::net::SocketAddr) -> Result<Entry> {
        let request = self.request();
        let mut right = Right { status: StatusCode::OK, body: Vec::new(), whole: false };
        let mut client = HttpClient::over(TcpStream::connect(backend).await?).await?;
        // An error before the head, or silence there, is the backend's answer, too.
        if let Ok(Ok(answer)) = tokio::time::timeout(SILENT_AFTER, client.send(request.clone())).await {
            right.status = answer.status();
            let mut body = answer.into_body();
            loop {
                match tokio::time::timeout(SILENT_AFTER, body.frame()).await {
                    Ok(Some(Ok(frame))) => right.body.extend(frame.into_data().unwrap_or_default()),
                    Ok(None) => break right.whole = true,
                    Ok(Some(Err(_))) | Err(_) => break,
                }
            }
        }
        let sound = self.fault.is_none_or(|fault| fault == "backend status");
        anyhow::ensure!(right.whole == sound, "the backend did not do as it was asked: {:?}", self.fault);
        let mut request = request;
        let path = format!("/api/{}{}", self.kind.plugin(), self.path);
        *request.uri_mut() = path.parse().context("a path of ours")?;
        Ok(Entry { kind: self.kind, form: self.form, fault: self.fault, right, request })
    }
}

fn part(disposition: &str, content: &[u8]) -> Vec<u8> {
    let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n");
    [head.as_bytes(), content, b"\r\n"].concat()
}
