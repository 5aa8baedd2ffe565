//! The address of a backend, checked once: everything an agent asks of its backend is
//! a path under this address.

use http::Uri;
use http::uri::Scheme;

/// Where a backend is: `http` or `https`, host, port and a base path.
///
/// Trailing slashes of the path are gone, so that joining never makes `//` (KD-49).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    tls: bool,
    host: String,
    port: u16,
    path: String,
}

/// A text that is no address of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be an http:// or https:// address without user name, query or fragment, such as `http://127.0.0.1:11434/v1`"
)]
pub struct BaseUrlError;

impl BaseUrl {
    /// Reads an address.
    pub fn parse(text: &str) -> Result<Self, BaseUrlError> {
        let text = text.trim();
        let uri: Uri = text.parse().map_err(|_| BaseUrlError)?;
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            _ => return Err(BaseUrlError),
        };
        let authority = uri.authority().ok_or(BaseUrlError)?;
        let host = authority.host();
        // A key belongs into its own option: an address is shown in logs.
        if host.is_empty() || authority.as_str().contains('@') || uri.query().is_some() || text.contains('#')
        {
            return Err(BaseUrlError);
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let path = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { tls, host: host.to_ascii_lowercase(), port, path })
    }

    /// Whether the backend is spoken to through TLS.
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// The host as a resolver takes it: an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port; the scheme's own when the address names none.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The value of the `Host` header.
    pub fn authority(&self) -> String {
        let usual = if self.tls { 443 } else { 80 };
        if self.port == usual { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// The target of a request for `path`, which begins with `/` and may have a query.
    pub fn join(&self, path: &str) -> String {
        let mut target = String::with_capacity(self.path.len() + path.len() + 1);
        target.push_str(&self.path);
        if !path.starts_with('/') {
            target.push('/');
        }
        target.push_str(path);
        target
    }

    /// The address without its last path segment; without any it is its own parent
    /// (worker protocol §10.1).
    pub fn parent(&self) -> Self {
        let cut = self.path.rfind('/').unwrap_or(0);
        Self { path: self.path[..cut].trim_end_matches('/').to_owned(), ..self.clone() }
    }
}

impl std::fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn joined(base: &str, path: &str) -> String {
        BaseUrl::parse(base).expect("a good address").join(path)
    }

    #[test]
    fn joining_never_doubles_or_loses_a_slash() {
        assert_eq!(joined("http://h:1/v1", "/models"), "/v1/models");
        assert_eq!(joined("http://h:1/v1//", "/models"), "/v1/models");
        assert_eq!(joined("http://h:1", "/models?a=b"), "/models?a=b");
        assert_eq!(joined("http://h:1/", "models"), "/models");
    }

    #[test]
    fn the_parent_has_one_segment_less() {
        let parent = |text: &str| BaseUrl::parse(text).expect("a good address").parent().to_string();
        assert_eq!(parent("http://h:1/v1"), "http://h:1");
        assert_eq!(parent("http://h:1/v1/"), "http://h:1");
        assert_eq!(parent("http://h:1/a/v1"), "http://h:1/a");
        assert_eq!(parent("http://h:1"), "http://h:1");
    }

    #[test]
    fn hosts_and_ports_are_what_the_socket_and_the_header_need() {
        let six = BaseUrl::parse("http://[::1]:8080/v1").expect("a good address");
        assert_eq!((six.host(), six.port(), six.authority().as_str()), ("::1", 8080, "[::1]:8080"));
        let tls = BaseUrl::parse("https://Den.example/v1").expect("a good address");
        assert_eq!((tls.host(), tls.port(), tls.authority().as_str()), ("den.example", 443, "den.example"));
    }

    #[test]
    fn what_is_no_plain_address_is_refused() {
        for bad in ["", "h:1/v1", "/v1", "ftp://h/v1", "http://u:p@h/v1", "http://h/v1?k=v", "http://h/#x"] {
            assert_eq!(BaseUrl::parse(bad), Err(BaseUrlError), "`{bad}`");
        }
    }
}
