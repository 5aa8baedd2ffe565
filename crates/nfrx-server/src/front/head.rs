//! What a request's head must be, whatever route it is for.

use http::header::HOST;
use http::{Method, Version, request};
use nfrx_spi::ApiError;

use crate::config::Limits;

/// Bytes around a header's name and value on the wire: `: ` and the line's end.
const LINE_BYTES: usize = 4;

/// Sizes, and names that a proxy or backend could take for others (`X_User_Roles`).
pub(super) fn check(parts: &request::Parts, limits: &Limits) -> Result<(), ApiError> {
    let uri_bytes = parts.uri.path_and_query().map_or(0, |path| path.as_str().len());
    if uri_bytes > limits.uri_bytes_max {
        return Err(ApiError::UriTooLong { bytes_max: limits.uri_bytes_max as u64 });
    }
    let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        name.as_str().len() + value.len() + LINE_BYTES
    };
    if parts.headers.iter().map(line).sum::<usize>() > limits.head_bytes_max {
        return Err(ApiError::HeadersTooLarge);
    }
    if parts.headers.keys().any(|name| name.as_str().contains('_')) {
        return Err(ApiError::BadRequest("header names with an underscore are not taken".to_owned()));
    }
    Ok(())
}

/// The host that was asked for. The route, the gate and the origin rule read this one
/// value, so that no two of them can be told different things.
pub(super) fn host(parts: &request::Parts) -> Result<String, ApiError> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let header = hosts.next();
    if hosts.next().is_some() {
        return Err(ApiError::BadRequest("more than one Host".to_owned()));
    }
    if let Some(authority) = parts.uri.authority() {
        return Ok(authority.as_str().rsplit('@').next().unwrap_or_default().to_owned());
    }
    match header.map(|value| value.to_str()) {
        Some(Ok(host)) => Ok(host.to_owned()),
        Some(Err(_)) => Err(ApiError::BadRequest("Host is not readable".to_owned())),
        None if parts.version == Version::HTTP_11 => Err(ApiError::BadRequest("Host is missing".to_owned())),
        None => Ok(String::new()),
    }
}

/// Whether HTTP itself knows the method (HTTP contract §1.2).
pub(super) fn is_known(method: &Method) -> bool {
    [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::HEAD,
        Method::OPTIONS,
        Method::CONNECT,
        Method::TRACE,
    ]
    .contains(method)
}
