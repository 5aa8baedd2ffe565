//! The messages of protocol v1, laid open for the fuzzer and the counts of
//! instructions, and for nobody else.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Request, Response};
use nfrx_spi::{Body, Registration};

use super::frame::{self, Frame, Kind, Outgoing, RequestFrame};

/// A message of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Its type.
    pub kind: String,
    /// The request that it belongs to.
    pub request_id: String,
    /// A chunk's text, in base64.
    pub data: String,
    /// The status of an answer's head.
    pub status: u16,
    /// Its headers, as they are written.
    pub headers: Option<BTreeMap<String, String>>,
    /// Code and text of an error.
    pub error: Option<(String, String)>,
}

/// Reads a message as the relay does.
pub fn read(text: &str) -> Option<Read> {
    let Frame { kind, request_id, data, status, headers, error } = serde_json::from_str(text).ok()?;
    Some(Read {
        kind: kind.into_owned(),
        request_id: request_id.into_owned(),
        data: data.into_owned(),
        status,
        headers,
        error: error.map(|error| (error.code, error.message)),
    })
}

/// Reads a message's type alone.
pub fn kind(text: &str) -> Option<String> {
    serde_json::from_str::<Kind<'_>>(text).ok().map(|read| read.kind.into_owned())
}

/// Reads a request as the agent does: its id, and the request if it is one.
pub fn request(text: &str) -> Option<(String, Option<Request<Body>>)> {
    let frame: RequestFrame<'_> = serde_json::from_str(text).ok()?;
    Some((frame.request_id.clone(), super::agent::request(frame)))
}

/// The bytes of a chunk.
pub fn bytes(data: &str) -> Option<Vec<u8>> {
    frame::bytes(data)
}

/// The head of an answer.
pub fn head(status: u16, headers: Option<BTreeMap<String, String>>) -> Option<Response<()>> {
    super::relay::head(status, headers)
}

/// The head of an answer, of its message, as the relay takes it.
pub fn read_head(text: &str) -> Option<Response<()>> {
    let Frame { status, headers, .. } = serde_json::from_str(text).ok()?;
    super::relay::head(status, headers)
}

/// The bytes of a chunk, of its message, as the relay takes them.
pub fn read_chunk(text: &str) -> Option<Vec<u8>> {
    let frame: Frame<'_> = serde_json::from_str(text).ok()?;
    frame::bytes(&frame.data)
}

/// A request as the relay writes it, whose body is at hand.
pub fn write_request(request_id: &str, headers: &HeaderMap, body: &[u8]) -> String {
    let mut text = super::relay::opening(request_id, "POST", "/v1/chat/completions", headers, true);
    text.push_str(",\"body\":\"");
    STANDARD.encode_string(body, &mut text);
    text.push_str("\"}");
    text
}

/// An answer's head as an agent writes it.
pub fn write_head(request_id: &str, status: u16, headers: &HeaderMap) -> String {
    let headers = frame::to_map(headers);
    Outgoing::HttpProxyResponseHeaders { request_id, status, headers }.text()
}

/// A chunk as an agent writes it.
pub fn write_chunk(request_id: &str, bytes: &[u8]) -> String {
    frame::chunk(request_id, bytes)
}

/// A registration as it is read of the first message; `None` when that is none.
pub fn register(text: &str) -> Option<Registration> {
    (kind(text)? == "register").then(|| serde_json::from_str(text).ok()).flatten()
}
