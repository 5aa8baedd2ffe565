//! Which headers pass between relay and backend.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use nfrx_tunnel::{strip_client_headers, strip_connection_headers, strip_where};

/// Headers by which a backend names places of its own network, where no client can
/// follow (KD-24).
static NOT_FOR_CLIENTS: [HeaderName; 3] =
    [header::LOCATION, header::CONTENT_LOCATION, HeaderName::from_static("alt-svc")];

/// Leaves what may go to the backend, and adds its key.
pub(super) fn to_backend(headers: &mut HeaderMap, key: Option<&HeaderValue>) {
    strip_client_headers(headers);
    if let Some(key) = key {
        headers.insert(header::AUTHORIZATION, key.clone());
    }
}

/// Leaves what may go to the relay. Each value stays one of its own, `Set-Cookie`
/// included (KD-25).
pub(super) fn to_relay(headers: &mut HeaderMap) {
    strip_connection_headers(headers);
    strip_where(headers, |name| NOT_FOR_CLIENTS.contains(name));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    fn names(map: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = map.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    // Seen to fail: with names taken out of the lists, one by one.
    #[test]
    fn only_what_concerns_the_backend_reaches_it() {
        let mut headers = map(&[
            ("authorization", "Bearer of-the-client"),
            ("proxy-authorization", "x"),
            ("cookie", "a=b"),
            ("host", "worker"),
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("expect", "100-continue"),
            ("forwarded", "for=1.2.3.4"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-user-roles", "admin"),
            ("nfrx-request", "1"),
            ("nfrx-error", "timeout"),
            ("content-type", "application/json"),
            ("x-request-id", "r-1"),
        ]);
        let key = HeaderValue::from_static("Bearer of-the-backend");
        to_backend(&mut headers, Some(&key));
        assert_eq!(names(&headers), ["authorization", "content-type", "x-request-id"]);
        assert_eq!(headers[header::AUTHORIZATION], key);
    }

    #[test]
    fn without_a_backend_key_none_is_sent() {
        let mut headers = map(&[("authorization", "Bearer of-the-client")]);
        to_backend(&mut headers, None);
        assert!(headers.is_empty());
    }

    #[test]
    fn answers_keep_every_cookie_apart_and_name_no_place() {
        let mut headers = map(&[
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("nfrx-error", "timeout"),
            ("trailer", "nfrx-error"),
            ("location", "http://10.0.0.5:11434/elsewhere"),
            ("content-type", "text/event-stream"),
        ]);
        to_relay(&mut headers);
        assert_eq!(names(&headers), ["content-type", "set-cookie"]);
        assert_eq!(headers.get_all(header::SET_COOKIE).iter().count(), 2);
    }

    #[test]
    fn connection_names_no_header_that_describes_the_body() {
        let mut headers = map(&[("connection", "content-length, content-type"), ("content-length", "5")]);
        to_relay(&mut headers);
        assert_eq!(names(&headers), ["content-length"]);
    }
}
