//! Spans as OTLP writes them: protobuf, of which this is all that is needed.

use std::time::{SystemTime, UNIX_EPOCH};

use nfrx_spi::{BuildInfo, Span, SpanKind, SpanValue};

/// One export request: all spans under one resource.
pub(super) fn request(service: &str, build: BuildInfo, spans: &[Span]) -> Vec<u8> {
    let resource = message(|resource| {
        attribute(resource, 1, "service.name", &SpanValue::Text(service.to_owned()));
        attribute(resource, 1, "service.version", &SpanValue::Text(build.version.to_owned()));
    });
    let scope = message(|scope| {
        bytes(scope, 1, b"nfrx");
        bytes(scope, 2, build.version.as_bytes());
    });
    let of_scope = message(|of_scope| {
        bytes(of_scope, 1, &scope);
        spans.iter().for_each(|one| bytes(of_scope, 2, &span(one)));
    });
    let of_resource = message(|of_resource| {
        bytes(of_resource, 1, &resource);
        bytes(of_resource, 2, &of_scope);
    });
    message(|request| bytes(request, 1, &of_resource))
}

fn span(of: &Span) -> Vec<u8> {
    message(|span| {
        bytes(span, 1, &of.trace.0);
        bytes(span, 2, &of.id.0);
        if let Some(parent) = of.parent {
            bytes(span, 4, &parent.0);
        }
        bytes(span, 5, of.name.as_bytes());
        let kind = match of.kind {
            SpanKind::Internal => 1,
            SpanKind::Server => 2,
            SpanKind::Client => 3,
        };
        number(span, 6, kind);
        fixed(span, 7, nanos(of.start));
        fixed(span, 8, nanos(of.end));
        for (name, value) in &of.attributes {
            attribute(span, 9, name, value);
        }
        if let Some(error) = &of.error {
            attribute(span, 9, "error.type", &SpanValue::Text(error.clone()));
            // A status with the code of an error.
            bytes(span, 15, &message(|status| number(status, 3, 2)));
        }
    })
}

fn attribute(to: &mut Vec<u8>, field: u32, name: &str, value: &SpanValue) {
    let value = message(|any| match value {
        SpanValue::Text(text) => bytes(any, 1, text.as_bytes()),
        // Negative numbers take ten bytes, as in any protobuf.
        SpanValue::Number(value) => number(any, 3, *value as u64),
    });
    let pair = message(|pair| {
        bytes(pair, 1, name.as_bytes());
        bytes(pair, 2, &value);
    });
    bytes(to, field, &pair);
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn message(fill: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut message = Vec::new();
    fill(&mut message);
    message
}

/// A field of bytes, a text or a message.
fn bytes(to: &mut Vec<u8>, field: u32, value: &[u8]) {
    varint(to, u64::from(field << 3 | 2));
    varint(to, value.len() as u64);
    to.extend_from_slice(value);
}

fn number(to: &mut Vec<u8>, field: u32, value: u64) {
    varint(to, u64::from(field << 3));
    varint(to, value);
}

/// A field of eight bytes.
fn fixed(to: &mut Vec<u8>, field: u32, value: u64) {
    varint(to, u64::from(field << 3 | 1));
    to.extend_from_slice(&value.to_le_bytes());
}

fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_texts_are_written_as_protobuf_has_them() {
        assert_eq!(message(|to| number(to, 1, 150)), [0x08, 0x96, 0x01]);
        assert_eq!(message(|to| bytes(to, 2, b"testing")), *b"\x12\x07testing");
        assert_eq!(message(|to| fixed(to, 7, 1)), [0x39, 1, 0, 0, 0, 0, 0, 0, 0]);
        // Seen to fail: with the tag written as one byte.
        assert_eq!(message(|to| number(to, 16, 0)), [0x80, 0x01, 0x00]);
    }
}
