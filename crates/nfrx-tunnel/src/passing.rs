//! What passes between clients and workers, whatever the service: one rule on headers for
//! the plugins at the relay and for the agents, since neither trusts the other.

use http::Uri;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALT_SVC,
    AUTHORIZATION, CACHE_CONTROL, CONTENT_LOCATION, CONTENT_TYPE, COOKIE, EXPECT, FORWARDED, HOST, HeaderMap,
    HeaderName, HeaderValue, LOCATION, REFRESH, STRICT_TRANSPORT_SECURITY, VIA,
};
use nfrx_spi::{ApiError, RequestId};

use crate::headers::{strip_connection_headers, strip_where};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// What a client says to the relay alone: who it is and where it comes from (KD-15), and
/// what concerns its own connection.
static FOR_THE_RELAY: [HeaderName; 8] = [
    AUTHORIZATION,
    COOKIE,
    EXPECT,
    FORWARDED,
    HOST,
    VIA,
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("x-user-roles"),
];

/// Addresses and names of proxies on the client's side.
const FORWARDED_PREFIX: &str = "x-forwarded-";

/// What an answer would say of the address it comes from, which is the relay's and not the
/// worker's: who may read it (HTTP contract §1.6), where else to go (KD-24), what a
/// browser shall keep or forget of this site. Our own agents drop some of them; a
/// malicious one drops none.
static OF_THE_RELAY: [HeaderName; 13] = [
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
    ALT_SVC,
    CONTENT_LOCATION,
    LOCATION,
    REFRESH,
    STRICT_TRANSPORT_SECURITY,
    HeaderName::from_static("clear-site-data"),
    HeaderName::from_static("service-worker-allowed"),
];

/// Leaves of a client's headers what a worker or a backend may see: never a key, a cookie,
/// a role, an address (KD-15), or a header of one connection (KD-68).
pub fn strip_client_headers(headers: &mut HeaderMap) {
    strip_connection_headers(headers);
    strip_where(headers, |name| FOR_THE_RELAY.contains(name) || name.as_str().starts_with(FORWARDED_PREFIX));
}

/// The worker's own path, with the client's query (KD-69).
pub fn worker_target(path: &'static str, client: &Uri) -> Result<Uri, ApiError> {
    let target = match client.query() {
        None => Ok(Uri::from_static(path)),
        Some(query) => format!("{path}?{query}").parse(),
    };
    target.map_err(|_| ApiError::BadRequest("bad request: the query can't be read".to_owned()))
}

/// Adds what every request to a worker has: the request's id, and that nothing of it is to
/// be stored (HTTP contract §4.2, §5).
pub fn mark_request(headers: &mut HeaderMap, id: &RequestId) {
    match HeaderValue::from_str(id.as_str()) {
        Ok(id) => headers.insert(X_REQUEST_ID, id),
        Err(_) => headers.remove(X_REQUEST_ID),
    };
    headers.insert(CACHE_CONTROL, NO_STORE);
}

/// Leaves of an answer's headers what a worker may say: nothing that speaks for the
/// relay's address.
pub fn strip_answer_headers(headers: &mut HeaderMap) {
    strip_where(headers, |name| OF_THE_RELAY.contains(name));
}

/// Says of a stream of events that it must not be stored, nor be gathered by a proxy in
/// front of the relay. Other answers stay as they are.
pub fn mark_event_stream(headers: &mut HeaderMap) {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
    if kind.trim().eq_ignore_ascii_case("text/event-stream") {
        headers.insert(CACHE_CONTROL, NO_STORE);
        headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(names: &[&'static str]) -> HeaderMap {
        names.iter().map(|name| (HeaderName::from_static(name), HeaderValue::from_static("v"))).collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    // Seen to fail: with names taken out of the list, and without the prefix.
    #[test]
    fn a_worker_sees_no_key_no_role_and_no_address_of_a_client() {
        let mut client = headers(&[
            "authorization",
            "proxy-authorization",
            "cookie",
            "x-user-roles",
            "forwarded",
            "via",
            "x-real-ip",
            "x-forwarded-for",
            "x-forwarded-client-cert",
            "host",
            "expect",
            "te",
            "upgrade",
            "transfer-encoding",
            "nfrx-error",
            "accept",
            "content-length",
            "x-anything",
        ]);
        strip_client_headers(&mut client);
        assert_eq!(names(&client), ["accept", "content-length", "x-anything"]);
    }

    #[test]
    fn the_query_passes_and_the_path_does_not() {
        let target = |uri: &str| worker_target("/a", &uri.parse().unwrap()).unwrap().to_string();
        assert_eq!(target("/api/x/v1/a?api-version=1&b=%20"), "/a?api-version=1&b=%20");
        assert_eq!(target("/api/x/v1/a"), "/a");
    }

    #[test]
    fn a_request_bears_the_relays_id_and_not_the_clients() {
        let mut client = headers(&["x-request-id", "cache-control"]);
        mark_request(&mut client, &RequestId::new("r-1"));
        assert_eq!((&client["x-request-id"], &client["cache-control"]), (&"r-1".parse().unwrap(), &NO_STORE));
        mark_request(&mut client, &RequestId::new("line\nbreak"));
        assert_eq!(names(&client), ["cache-control"]);
    }

    #[test]
    fn a_workers_answer_does_not_speak_for_the_relays_address() {
        let mut answer = headers(&["content-type", "set-cookie", "x-ratelimit-limit"]);
        for name in &OF_THE_RELAY {
            answer.insert(name, HeaderValue::from_static("v"));
        }
        strip_answer_headers(&mut answer);
        // Seen to fail: without the removal.
        assert_eq!(names(&answer), ["content-type", "set-cookie", "x-ratelimit-limit"]);
    }

    #[test]
    fn only_streams_of_events_are_marked() {
        let mut answer = headers(&["cache-control"]);
        mark_event_stream(&mut answer);
        assert_eq!(answer["cache-control"], "v");
        answer.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
        mark_event_stream(&mut answer);
        assert_eq!(
            (&answer["cache-control"], &answer["x-accel-buffering"]),
            (&NO_STORE, &"no".parse().unwrap())
        );
    }
}
