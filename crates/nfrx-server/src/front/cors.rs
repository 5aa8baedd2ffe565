//! Cross-origin requests (HTTP contract §1.6): only with `ALLOWED_ORIGINS`.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Response, request};
use nfrx_spi::Body;

use super::origin::OriginList;

/// The rule.
pub(super) struct Cors {
    allowed: OriginList,
}

impl Cors {
    /// `None` without origins: then nothing of this is said.
    pub(super) fn new(origins: &[String]) -> Option<Self> {
        (!origins.is_empty()).then(|| Self { allowed: OriginList::new(origins) })
    }

    /// The answer to a preflight; it never reaches drain or gate.
    /// `serves` says whether a method is served at the path, beside the usual ones.
    pub(super) fn preflight(
        &self,
        parts: &request::Parts,
        serves: impl Fn(&Method) -> bool,
    ) -> Option<Response<Body>> {
        let asked = parts.headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
        if parts.method != Method::OPTIONS {
            return None;
        }
        let mut response = Response::new(Body::empty());
        let headers = response.headers_mut();
        for name in ["Access-Control-Request-Method", "Access-Control-Request-Headers"] {
            headers.append(VARY, HeaderValue::from_static(name));
        }
        let fits = matches!(asked.as_bytes(), b"GET" | b"POST" | b"OPTIONS")
            || Method::from_bytes(asked.as_bytes()).is_ok_and(|method| serves(&method));
        if fits && self.allow_origin(parts.headers.get(ORIGIN)).is_some() {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, asked.clone());
            if let Some(names) = parts.headers.get(ACCESS_CONTROL_REQUEST_HEADERS).and_then(canonical) {
                headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names);
            }
        }
        Some(response)
    }

    /// Says on every answer whether the page at `origin` may read it.
    pub(super) fn decorate(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        headers.append(VARY, HeaderValue::from_static("Origin"));
        if let Some(value) = self.allow_origin(origin) {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, value);
        }
    }

    fn allow_origin(&self, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
        let origin = origin?;
        if self.allowed.is_any() {
            return Some(HeaderValue::from_static("*"));
        }
        self.allowed.holds(origin.to_str().ok()?).then(|| origin.clone())
    }
}

/// Names as Go writes them (`X-Request-Id`), joined by `, `.
fn canonical(names: &HeaderValue) -> Option<HeaderValue> {
    let word = |word: &str| {
        let (first, rest) = word.split_at_checked(1).unwrap_or((word, ""));
        format!("{}{}", first.to_ascii_uppercase(), rest.to_ascii_lowercase())
    };
    let name = |name: &str| name.trim().split('-').map(word).collect::<Vec<_>>().join("-");
    let names: Vec<_> = names.to_str().ok()?.split(',').map(name).filter(|name| !name.is_empty()).collect();
    if names.is_empty() { None } else { HeaderValue::from_str(&names.join(", ")).ok() }
}
