//! Which headers pass between the tunnel and a server. The relay has judged them by the same
//! rules; an agent does not rely on it.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use nfrx_tunnel::strip_connection_headers;

use crate::offer::CALLER_HEADER;

/// What was said to the relay alone, and what the client towards the server sets itself.
const NOT_FOR_SERVERS: [HeaderName; 7] = [
    header::COOKIE,
    header::HOST,
    header::EXPECT,
    header::FORWARDED,
    HeaderName::from_static("x-user-roles"),
    HeaderName::from_static("x-nfrx-key"),
    CALLER_HEADER,
];

/// Headers by which a server names places of its own network (KD-24).
const NOT_FOR_CLIENTS: [HeaderName; 3] = [header::LOCATION, header::CONTENT_LOCATION, header::ALT_SVC];

/// What a request must say if the server may not stream its answers.
const JSON_ONLY: HeaderValue = HeaderValue::from_static("application/json");

/// Leaves what may go to a server.
pub(super) fn to_server(headers: &mut HeaderMap, pass_authorization: bool, allow_streaming: bool) {
    strip_connection_headers(headers);
    for name in &NOT_FOR_SERVERS {
        headers.remove(name);
    }
    if !pass_authorization {
        headers.remove(header::AUTHORIZATION);
    }
    if !allow_streaming {
        headers.insert(header::ACCEPT, JSON_ONLY);
    }
}

/// Leaves what may go to the relay.
pub(super) fn to_relay(headers: &mut HeaderMap) {
    strip_connection_headers(headers);
    for name in &NOT_FOR_CLIENTS {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_passes_no_secret_of_the_relay_on_whatever_the_relay_sends() {
        let all =
            ["cookie", "x-nfrx-key", "x-user-roles", "authorization", "mcp-session-id", "nfrx-x", "accept"];
        let headers: HeaderMap =
            all.iter().map(|name| (HeaderName::from_static(name), HeaderValue::from_static("v"))).collect();
        let names = |headers: &HeaderMap| {
            let mut names: Vec<_> = headers.keys().map(|name| name.as_str().to_owned()).collect();
            names.sort_unstable();
            names
        };
        let mut closed = headers.clone();
        to_server(&mut closed, false, false);
        assert_eq!(names(&closed), ["accept", "mcp-session-id"]);
        assert_eq!(closed[header::ACCEPT], "application/json");
        let mut open = headers;
        to_server(&mut open, true, true);
        assert_eq!((names(&open).len(), &open[header::ACCEPT]), (3, &HeaderValue::from_static("v")));
    }
}
