//! A message of protocol v1: read as any reader of JSON does, its chunks and headers are
//! again what they were once they were written anew, and its heads are bounded.

use http::{HeaderMap, HeaderName};
use nfrx_tunnel::fuzzing::v1::{self as fuzzing, Read};
use serde::de::IgnoredAny;

use crate::json::Json;

/// The bytes of a head in all, with what HTTP/2 counts for each line.
const HEAD_BYTES_MAX: usize = 64 * 1024;

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let kind = fuzzing::kind(text);
    if let Some(read) = fuzzing::read(text) {
        assert!(serde_json::from_str::<IgnoredAny>(text).is_ok(), "what is no JSON was read");
        // An array is read as the members in their order, and passes for a message.
        if let Some(message @ Json::Members(_)) = Json::read(data) {
            assert_eq!(kind.as_ref(), Some(&read.kind), "a message has two types");
            same(&read, &message);
        }
        chunk(&read);
        head(read);
    }
    if let Some((_, Some(request))) = fuzzing::request(text) {
        judge(request.headers());
    }
}

/// The members are those that any reader finds.
fn same(read: &Read, message: &Json) {
    let text = |name| message.last(name).and_then(Json::text).unwrap_or_default();
    assert_eq!(
        (&*read.kind, &*read.request_id, &*read.data),
        (text("type"), text("request_id"), text("data"))
    );
    let status = match message.last("status") {
        Some(Json::Count(status)) => *status,
        _ => 0,
    };
    assert_eq!(u64::from(read.status), status);
    let headers = message.last("headers").map_or(&[][..], Json::members);
    let mut given: Vec<_> = headers.iter().map(|(name, value)| (&**name, value.text())).collect();
    // Of a doubled name the last value counts.
    given.reverse();
    given.sort_by_key(|(name, _)| *name);
    given.dedup_by_key(|(name, _)| *name);
    let found = read.headers.iter().flatten().map(|(name, value)| (&**name, Some(&**value)));
    assert!(found.eq(given), "the headers are others");
}

/// A chunk is its bytes, and is read as it was written.
fn chunk(read: &Read) {
    let Some(bytes) = fuzzing::bytes(&read.data) else { return };
    let written = fuzzing::write_chunk(&read.request_id, &bytes);
    let again = fuzzing::read(&written).expect("our own");
    assert_eq!((&*again.kind, &again.request_id), ("http_proxy_response_chunk", &read.request_id));
    assert_eq!(again.data, read.data, "base64 has one form");
}

/// A head has no headers of a connection, and is read as it was written.
fn head(read: Read) {
    let Some(head) = fuzzing::head(read.status, read.headers) else { return };
    assert!(head.status().as_u16() >= 200);
    judge(head.headers());
    let status = head.status().as_u16();
    let written = fuzzing::write_head(&read.request_id, status, head.headers());
    let again = fuzzing::read(&written).expect("our own");
    assert_eq!((again.status, &again.request_id), (status, &read.request_id));
    let again = fuzzing::head(again.status, again.headers).expect("as large as before");
    assert_eq!(again.headers(), head.headers());
}

/// What passes to the other side.
fn judge(headers: &HeaderMap) {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
    assert!(bytes <= HEAD_BYTES_MAX, "{bytes} bytes of headers");
    let for_the_tunnel = |name: &HeaderName| {
        ["connection", "transfer-encoding", "upgrade", "te"].contains(&name.as_str())
            || name.as_str().starts_with("nfrx-")
    };
    assert!(!headers.keys().any(for_the_tunnel), "{headers:?}");
}
