//! Messages of protocol v1: requests as a server writes and an agent reads them, answers
//! the other way.

use std::hint::black_box;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use nfrx_tunnel::fuzzing::v1;

use crate::Operation;

const ID: &str = "0b9f3c52-7a0e-4d5c-8f7e-2d1c0a9b8e7f";
/// The bytes of an event of a stream, and of a small request.
const CHUNK_BYTES: usize = 240;

fn headers() -> HeaderMap {
    let lines = [
        ("content-type", "application/json"),
        ("accept", "text/event-stream"),
        ("user-agent", "client/1.0 (of somebody)"),
        ("x-request-id", ID),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("cache-control", "no-cache"),
    ];
    let line = |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    lines.into_iter().map(line).collect()
}

fn bytes() -> Vec<u8> {
    (0..CHUNK_BYTES).map(|nth| b'a' + (nth % 26) as u8).collect()
}

pub(crate) fn write_request() -> Operation {
    let (headers, body) = (headers(), bytes());
    Box::new(move || {
        let text = v1::write_request(ID, black_box(&headers), black_box(&body));
        assert!(text.len() > CHUNK_BYTES, "the body is in it");
    })
}

pub(crate) fn read_request() -> Operation {
    let text = v1::write_request(ID, &headers(), &bytes());
    let lines = headers().len();
    Box::new(move || {
        let Some((id, Some(request))) = v1::request(black_box(&text)) else { panic!("it is one") };
        assert!(id == ID && request.headers().len() == lines, "as it was written");
    })
}

pub(crate) fn write_head() -> Operation {
    let headers = headers();
    Box::new(move || {
        let text = v1::write_head(ID, 200, black_box(&headers));
        assert!(text.len() > ID.len(), "the id is in it");
    })
}

pub(crate) fn read_head() -> Operation {
    let text = v1::write_head(ID, 200, &headers());
    let lines = headers().len();
    Box::new(move || {
        let head = v1::read_head(black_box(&text)).expect("it is one");
        assert!(head.headers().len() == lines, "as it was written");
    })
}

pub(crate) fn write_chunk() -> Operation {
    let bytes = bytes();
    Box::new(move || {
        let text = v1::write_chunk(ID, black_box(&bytes));
        assert!(text.len() > CHUNK_BYTES, "the bytes are in it");
    })
}

pub(crate) fn read_chunk() -> Operation {
    let text = v1::write_chunk(ID, &bytes());
    Box::new(move || {
        let bytes = v1::read_chunk(black_box(&text)).expect("it is one");
        assert!(bytes.len() == CHUNK_BYTES, "as it was written");
    })
}
