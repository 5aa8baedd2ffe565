//! Which headers cross a tunnel, and how a failure is written in them.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use nfrx_spi::{BodyError, CallError, TIMINGS};

/// Headers of one connection, never of the message (KD-68).
static HOP_BY_HOP: [HeaderName; 10] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// Headers whose value is another one in each message, or soon.
static ONCE: [HeaderName; 3] =
    [header::DATE, HeaderName::from_static("traceparent"), HeaderName::from_static("x-request-id")];

/// The prefix of what relay and agent tell each other; stripped from all else.
const RESERVED: &str = "nfrx-";

/// On a request to a worker: the client wants a stream. A hint that protocol v1 has a
/// member for; it crosses no tunnel as a header.
pub const STREAM_HINT: HeaderName = HeaderName::from_static("nfrx-stream");

/// Three numbers of microseconds and two commas are shorter.
const TIMINGS_BYTES_MAX: usize = 64;

/// In a head or a trailer: the code of a failure (decision 4).
const ERROR: HeaderName = HeaderName::from_static("nfrx-error");

/// For what an agent logs of a request: the id under which its server knows it.
pub(crate) fn request_span(headers: &HeaderMap) -> tracing::Span {
    let id = headers.get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or("-");
    tracing::info_span!("request", request_id = id)
}

/// Leaves the headers of the message itself: none of a connection, and none under the
/// prefix by which relay and agent speak to each other.
pub fn strip_connection_headers(headers: &mut HeaderMap) {
    // `Connection` may not take what describes the body along: it is needed to judge it.
    let named = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse::<HeaderName>().ok())
        .filter(|name| !name.as_str().starts_with("content-"));
    let named: Vec<HeaderName> = named.collect();
    for name in named {
        headers.remove(name);
    }
    strip_where(headers, |name| HOP_BY_HOP.contains(name) || name.as_str().starts_with(RESERVED));
}

/// Takes headers out by their names. Few are there, and mostly none has to go: one look at
/// each costs less than a search for each name that may not pass.
pub fn strip_where(headers: &mut HeaderMap, goes: impl Fn(&HeaderName) -> bool) {
    let gone: Vec<HeaderName> = headers.keys().filter(|name| goes(name)).cloned().collect();
    for name in gone {
        headers.remove(name);
    }
}

/// Says of values that come once that HTTP/2 need not remember them: among a table full of
/// them each new one would be compared with all.
pub(crate) fn spare_table(headers: &mut HeaderMap) {
    for name in &ONCE {
        if let Some(value) = headers.get_mut(name) {
            value.set_sensitive(true);
        }
    }
}

/// The head of an answer that tells of a failure before the head.
pub(crate) fn failure(error: CallError) -> Response<()> {
    let status = match error {
        CallError::Draining | CallError::Busy => StatusCode::SERVICE_UNAVAILABLE,
        CallError::Lost | CallError::Unreachable | CallError::Upstream => StatusCode::BAD_GATEWAY,
        CallError::Timeout => StatusCode::GATEWAY_TIMEOUT,
        CallError::RequestBody => StatusCode::BAD_REQUEST,
        CallError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        CallError::Refused => StatusCode::FORBIDDEN,
    };
    let mut head = Response::new(());
    *head.status_mut() = status;
    head.headers_mut().insert(ERROR, HeaderValue::from_static(error.code()));
    head
}

/// The failure that a head tells of, if it does.
pub(crate) fn failure_in(headers: &HeaderMap) -> Option<CallError> {
    headers.get(ERROR).map(|code| CallError::from_code(code.to_str().unwrap_or_default()))
}

/// The trailer of an answer that broke off.
pub(crate) fn break_off(error: &BodyError) -> HeaderMap {
    let code = match error {
        BodyError::IdleTimeout => CallError::Timeout.code(),
        BodyError::Aborted
        | BodyError::Upstream
        | BodyError::ReaderStalled
        | BodyError::TooLarge { .. }
        | BodyError::Io(_) => CallError::Upstream.code(),
    };
    HeaderMap::from_iter([(ERROR, HeaderValue::from_static(code))])
}

/// The part of trailers that tells of an agent's timings, if they do.
pub(crate) fn timings_in(trailers: &HeaderMap) -> Option<HeaderMap> {
    let value = trailers.get(TIMINGS).filter(|value| value.len() <= TIMINGS_BYTES_MAX)?;
    Some(HeaderMap::from_iter([(TIMINGS, value.clone())]))
}

/// The failure that trailers tell of, if they do.
pub(crate) fn break_off_in(trailers: &HeaderMap) -> Option<BodyError> {
    failure_in(trailers).map(|error| match error {
        CallError::Timeout => BodyError::IdleTimeout,
        _ => BodyError::Upstream,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(given: &[(&'static str, &'static str)], expected: &[&str]) {
        let pair = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let mut headers: HeaderMap = given.iter().map(pair).collect();
        strip_connection_headers(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, expected);
    }

    #[test]
    fn only_headers_of_the_message_cross() {
        check(
            &[
                ("connection", "x-private, keep-alive"),
                ("x-private", "1"),
                ("accept", "*/*"),
                ("te", "trailers"),
            ],
            &["accept"],
        );
        check(&[("nfrx-error", "refused"), ("nfrx-anything", "1"), ("x-nfrx", "1")], &["x-nfrx"]);
    }

    #[test]
    fn connection_cannot_name_what_describes_the_body() {
        check(&[("connection", "content-length"), ("content-length", "5")], &["content-length"]);
    }

    // Seen to fail: with a name taken out of the list.
    #[test]
    fn only_values_that_come_once_are_not_to_be_remembered() {
        let names = ["x-request-id", "content-type", "date", "traceparent"];
        let value = HeaderValue::from_static("v");
        let mut headers: HeaderMap =
            names.iter().map(|name| (HeaderName::from_static(name), value.clone())).collect();
        spare_table(&mut headers);
        let kept: Vec<_> = names.iter().filter(|name| !headers[**name].is_sensitive()).collect();
        assert_eq!(kept, [&"content-type"]);
    }

    #[test]
    fn a_failure_is_read_as_it_was_written() {
        use CallError::{Busy, Draining, Refused, Timeout, Unreachable, Upstream};
        for error in [Busy, Draining, Refused, Timeout, Unreachable, Upstream] {
            assert_eq!(failure_in(failure(error).headers()), Some(error));
        }
        assert_eq!(failure_in(&HeaderMap::new()), None);
        assert!(matches!(break_off_in(&break_off(&BodyError::IdleTimeout)), Some(BodyError::IdleTimeout)));
        assert!(matches!(break_off_in(&break_off(&BodyError::Aborted)), Some(BodyError::Upstream)));
    }
}
