//! Which headers cross the tunnel: none that belong to a connection, none that could be
//! taken for the relay's own.

use http::header::{self, HeaderMap, HeaderName};

/// What relay and agent tell each other stands under this prefix (decision 4).
pub(crate) const RESERVED: &str = "nfrx-";

/// Names a failure, in a head without a body or in trailers.
pub(crate) const ERROR: HeaderName = HeaderName::from_static("nfrx-error");

/// RFC 9110 §7.6.1, and what proxies have added to it.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
];

/// Strips what must not cross.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    for name in ["keep-alive", "proxy-connection", "http2-settings"] {
        headers.remove(name);
    }
    let reserved: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with(RESERVED)).cloned().collect();
    for name in reserved {
        headers.remove(name);
    }
}
