//! The frames that a waiting client of a stream gets: its place in the queue, and an
//! error that came too late for a status.

use bytes::Bytes;
use nfrx_spi::ApiError;
use serde::Serialize;

/// `event: nfrx.queue` (HTTP contract §4.3); serialised, never pasted (KD-71).
pub(super) fn position(request_id: &str, model: &str, position: usize) -> Bytes {
    #[derive(Serialize)]
    struct QueueEvent<'a> {
        #[serde(rename = "type")]
        kind: &'static str,
        request_id: &'a str,
        model: &'a str,
        position: usize,
    }
    frame("nfrx.queue", &QueueEvent { kind: "nfrx.queue", request_id, model, position })
}

/// `event: error` for a failure of the relay after a queue event (KD-7). SDKs read the
/// same object as from a status.
pub(super) fn error(error: &ApiError) -> Bytes {
    let mut body = error.open_ai();
    body["error"]["status"] = error.status().as_u16().into();
    frame("error", &body)
}

/// `event: error` for an upstream's own error status: its status and what it said.
pub(super) fn upstream_error(status: u16, body: &[u8]) -> Bytes {
    let mut value = ApiError::UpstreamError.open_ai();
    value["error"]["status"] = status.into();
    match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(said) => value["error"]["upstream"] = said,
        Err(_) => value["error"]["upstream"] = String::from_utf8_lossy(body).into(),
    }
    frame("error", &value)
}

fn frame(event: &str, data: &impl Serialize) -> Bytes {
    // Plain data always serialises, and JSON text holds no raw line end.
    let data = serde_json::to_string(data).unwrap_or_default();
    Bytes::from(format!("event: {event}\ndata: {data}\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_name_cannot_forge_an_event() {
        let frame = position("r", "a\"\n\ndata: x", 3);
        assert_eq!(
            frame,
            "event: nfrx.queue\ndata: {\"type\":\"nfrx.queue\",\"request_id\":\"r\",\
             \"model\":\"a\\\"\\n\\ndata: x\",\"position\":3}\n\n"
        );
    }

    #[test]
    fn a_late_error_carries_the_status_it_would_have_had() {
        let text = String::from_utf8(error(&ApiError::Timeout).to_vec()).expect("UTF-8");
        assert!(text.starts_with("event: error\ndata: {") && text.contains("\"status\":504"), "{text}");
        let text = String::from_utf8(upstream_error(429, b"slow down").to_vec()).expect("UTF-8");
        assert!(text.contains("\"status\":429") && text.contains("\"upstream\":\"slow down\""), "{text}");
    }
}
