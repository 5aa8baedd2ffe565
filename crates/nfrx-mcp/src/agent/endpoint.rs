//! The address of a Streamable HTTP server, kept exactly as it was written: some servers
//! redirect, or know nothing, when a slash is missing (KD-150).

use http::uri::PathAndQuery;
use nfrx_agent::BaseUrl;

/// Where a server is: its origin, and the target of requests there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    base: BaseUrl,
    path: String,
    query: String,
}

/// A text that is no address of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be an http:// or https:// address without user name or fragment, such as `http://127.0.0.1:7777/mcp`"
)]
pub struct EndpointError;

impl Endpoint {
    /// Reads an address.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let text = text.trim();
        let host_at = text.find("://").ok_or(EndpointError)? + 3;
        let path_at = text[host_at..].find(['/', '?', '#']).map_or(text.len(), |at| host_at + at);
        let base = BaseUrl::parse(&text[..path_at]).map_err(|_| EndpointError)?;
        let (path, query) = match text[path_at..].split_once('?') {
            Some((path, query)) => (path, format!("?{query}")),
            None => (&text[path_at..], String::new()),
        };
        let path = if path.is_empty() { "/" } else { path };
        let target = format!("{path}{query}");
        if target.contains('#') || PathAndQuery::try_from(target).is_err() {
            return Err(EndpointError);
        }
        Ok(Self { base, path: path.to_owned(), query })
    }

    /// The server's origin, with an empty path.
    pub fn base(&self) -> &BaseUrl {
        &self.base
    }

    /// The target of a request for what is `below` the address (`/` or empty for the address
    /// itself), with the client's query behind the address's own.
    pub(crate) fn target(&self, below: &str, query: Option<&str>) -> String {
        let mut target = match below {
            "" | "/" => self.path.clone(),
            below => format!("{}{below}", self.path.trim_end_matches('/')),
        };
        target.push_str(&self.query);
        if let Some(query) = query {
            target.push(if self.query.is_empty() { '?' } else { '&' });
            target.push_str(query);
        }
        target
    }

    /// The target that a redirect from `target` leads to, if it is at this same host and
    /// port: an agent asks nobody else, whatever an answer says (KD-75, KD-150).
    pub(crate) fn redirected(&self, target: &str, location: &str) -> Option<String> {
        let location = location.split('#').next().unwrap_or_default();
        let next = if location.starts_with("//") {
            return None;
        } else if location.starts_with('/') {
            location.to_owned()
        } else if location.contains("://") {
            let other = Self::parse(location).ok()?;
            if other.base != self.base {
                return None;
            }
            format!("{}{}", other.path, other.query)
        } else if location.starts_with('?') {
            format!("{}{location}", target.split('?').next().unwrap_or_default())
        } else {
            let path = target.split('?').next().unwrap_or_default();
            let folder = path.rfind('/').map_or("", |at| &path[..at]);
            format!("{folder}/{location}")
        };
        PathAndQuery::try_from(&next).ok()?;
        Some(next)
    }
}

impl std::fmt::Display for Endpoint {
    /// Without the query, which may hold a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.base, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        Endpoint::parse(text).expect("a good address")
    }

    #[test]
    fn an_address_is_asked_for_exactly_as_it_was_written() {
        let target = |text: &str, below: &str, query| endpoint(text).target(below, query);
        assert_eq!(target("http://h:1/mcp/", "/", None), "/mcp/");
        assert_eq!(target("http://h:1/mcp", "", None), "/mcp");
        assert_eq!(target("http://h:1", "/", Some("a=b")), "/?a=b");
        assert_eq!(target("http://h:1/mcp?token=t", "/", Some("a=b")), "/mcp?token=t&a=b");
        assert_eq!(target("http://h:1/mcp/", "/x%2Fy", None), "/mcp/x%2Fy");
        assert_eq!(endpoint("http://h:1/mcp?token=t").to_string(), "http://h:1/mcp");
        for bad in ["", "h:1/mcp", "ftp://h/", "http://u:p@h/", "http://h/#x", "http://h/a b"] {
            assert_eq!(Endpoint::parse(bad), Err(EndpointError), "`{bad}`");
        }
    }

    #[test]
    fn a_redirect_is_followed_to_the_same_host_and_port_only() {
        let at = endpoint("http://h:1/mcp/");
        let to = |location: &str| at.redirected("/mcp/?a=b", location);
        assert_eq!(to("/mcp").as_deref(), Some("/mcp"));
        assert_eq!(to("http://h:1/mcp?x=1").as_deref(), Some("/mcp?x=1"));
        assert_eq!(to("?s=1").as_deref(), Some("/mcp/?s=1"));
        assert_eq!(to("../mcp").as_deref(), Some("/mcp/../mcp"));
        // Seen to fail: without the comparison of origins.
        for elsewhere in
            ["http://h:2/mcp", "https://h:1/mcp", "//other/mcp", "http://other/mcp", "http://u@h:1/"]
        {
            assert_eq!(to(elsewhere), None, "{elsewhere}");
        }
    }
}
