//! Uploads: audio to transcribe, documents to convert. They are read as they come and not
//! kept, so they may be of any length; of a form only its beginning is looked at.

use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Map, Value, json};

use crate::body::{Frames, TokenStream};
use crate::refusal::Refusal;
use crate::request::Plan;

/// Fields of a form are found in as many of its first bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Headers that tell the simulation what to do, as the members of JSON requests do.
const PREFIX: &str = "x-sim-";

/// What was seen of an upload.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    bytes: u64,
    head: Vec<u8>,
    hash: Option<Hash>,
}

/// FNV-1a: slow and simple, the same however the bytes were cut.
#[derive(Debug)]
struct Hash(u64);

impl Hash {
    const START: Self = Self(0xcbf2_9ce4_8422_2325);

    fn take(&mut self, bytes: &[u8]) {
        self.0 = bytes
            .iter()
            .fold(self.0, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    }
}

/// The hash that an answer with `x-sim-hash` tells of its upload.
pub fn upload_hash(bytes: &[u8]) -> String {
    let mut hash = Hash::START;
    hash.take(bytes);
    hash.to_string()
}

impl std::fmt::Display for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The members `x_sim_…` of a JSON request, from the headers `x-sim-…` of an upload.
pub(crate) fn members(headers: &HeaderMap) -> String {
    let member = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        let key = name.as_str().strip_prefix(PREFIX)?.replace('-', "_");
        let text = value.to_str().ok()?;
        let value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
        Some((format!("x_sim_{key}"), value))
    };
    Value::Object(headers.iter().filter_map(member).collect::<Map<_, _>>()).to_string()
}

impl Upload {
    pub(crate) fn new(hashed: bool) -> Self {
        Self { hash: hashed.then_some(Hash::START), ..Self::default() }
    }

    pub(crate) fn take(&mut self, data: &[u8]) {
        self.bytes += data.len() as u64;
        let room = HEAD_BYTES_MAX - self.head.len();
        self.head.extend_from_slice(&data[..data.len().min(room)]);
        if let Some(hash) = &mut self.hash {
            hash.take(data);
        }
    }

    /// The value of a field near the beginning of the form.
    fn field(&self, name: &str) -> Option<String> {
        let head = String::from_utf8_lossy(&self.head);
        let (_, part) = head.split_once(&format!("name=\"{name}\""))?;
        let (_, value) = part.split_once("\r\n\r\n")?;
        Some(value.split("\r\n").next()?.to_owned())
    }

    /// Whether the form asks for a stream of events.
    pub(crate) fn streams(&self) -> bool {
        self.field("stream").is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// The answer of a speech recogniser.
    pub(crate) fn transcript(&self) -> Bytes {
        self.told(json!({ "text": format!("simulated transcript of {} bytes", self.bytes) }))
    }

    /// The answer of a document converter.
    pub(crate) fn document(&self) -> Bytes {
        let text = format!("simulated document of {} bytes", self.bytes);
        let document = json!({ "filename": "simulated", "md_content": text });
        self.told(json!({ "document": document, "status": "success", "errors": [], "processing_time": 0.0 }))
    }

    fn told(&self, mut answer: Value) -> Bytes {
        if let Some(hash) = &self.hash {
            answer["x_sim_hash"] = hash.to_string().into();
        }
        answer.to_string().into()
    }

    /// A transcript word by word, in the events of OpenAI's API, and the whole at the end.
    pub(crate) fn stream(&self, plan: Plan, seed: u64) -> Result<TokenStream, Refusal> {
        let words = plan.words(seed);
        let text = String::from_utf8_lossy(&plan.text(&words)?).into_owned();
        let done = json!({ "type": "transcript.text.done", "text": text });
        let frames = Frames {
            opening: Vec::new(),
            head: Bytes::from_static(br#"data: {"type":"transcript.text.delta","delta":""#),
            tail: Bytes::from_static(b"\"}\n\n"),
            numbered: None,
            closing: vec![format!("data: {done}\n\n").into()],
        };
        Ok(TokenStream::new(frames, plan, words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_members() {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("x-sim-status", "503"), ("x-sim-early", "true"), ("x-sim-raw", "a b"), ("x", "1")]
        {
            headers.insert(name, value.parse().unwrap());
        }
        assert_eq!(members(&headers), r#"{"x_sim_early":true,"x_sim_raw":"a b","x_sim_status":503}"#);
    }

    #[test]
    fn the_hash_is_that_of_the_whole_however_it_came() {
        let mut upload = Upload::new(true);
        b"hello".chunks(2).for_each(|piece| upload.take(piece));
        assert_eq!(upload.hash.map(|hash| hash.to_string()), Some(upload_hash(b"hello")));
        assert_ne!(upload_hash(b"hello"), upload_hash(b"hellp"));
    }
}
