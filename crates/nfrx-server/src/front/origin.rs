//! Pages of other sites: which names are ours, and whose scripts may call us
//! (decision 19).

use http::header::{ORIGIN, UPGRADE};
use http::{Method, Uri, request};
use nfrx_runtime::address::host_name;
use nfrx_spi::ApiError;

use crate::config::OriginConfig;
use crate::gate::Peer;

/// Names and origins that are ours or allowed.
pub(super) struct Origins {
    hosts: Vec<String>,
    public: Option<String>,
    allowed: OriginList,
}

impl Origins {
    pub(super) fn new(config: &OriginConfig) -> Self {
        let public = config.public_url.as_deref().and_then(|url| {
            let uri: Uri = url.parse().ok()?;
            Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?).to_ascii_lowercase())
        });
        let own = config.public_url.as_deref().and_then(|url| url.parse::<Uri>().ok());
        let own = own.and_then(|uri| uri.host().map(str::to_ascii_lowercase));
        // `PUBLIC_URL` alone does not close other names: it is what people are shown.
        let hosts = match config.allowed_hosts.is_empty() {
            true => Vec::new(),
            false => config.allowed_hosts.iter().map(|host| host_name(host)).chain(own).collect(),
        };
        Self { hosts, public, allowed: OriginList::new(&config.allowed_origins) }
    }

    /// Refuses names that are not ours, and what pages of other sites may not do. With
    /// `own_pages_of`, such pages may do nothing, and our own only under a name that no
    /// stranger's page can have in that peer's browser.
    pub(super) fn check(
        &self,
        parts: &request::Parts,
        host: &str,
        own_pages_of: Option<&Peer>,
    ) -> Result<(), ApiError> {
        if !self.serves(host) {
            return Err(ApiError::Forbidden("this host name is not in ALLOWED_HOSTS".to_owned()));
        }
        let Some(origin) = parts.headers.get(ORIGIN) else { return Ok(()) };
        let reads_only =
            parts.method == Method::GET && !parts.headers.contains_key(UPGRADE) && own_pages_of.is_none();
        let origin = origin.to_str().unwrap_or_default();
        let is_rebound = own_pages_of.is_some_and(|peer| !peer.host_is_private);
        let is_own = self.is_public(origin) || (self.is_host(origin, host) && !is_rebound);
        if reads_only || is_own || self.allowed.holds(origin) {
            return Ok(());
        }
        Err(ApiError::Forbidden("pages of this origin may not call: see ALLOWED_ORIGINS".to_owned()))
    }

    /// Whether a browser's session may count for this request: it only reads, or the browser
    /// says that a page of our own sends it. One that says nothing is no page.
    pub(super) fn is_own_page(&self, parts: &request::Parts, host: &str) -> bool {
        if parts.method == Method::GET && !parts.headers.contains_key(UPGRADE) {
            return true;
        }
        let origin = parts.headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
        origin.is_some_and(|origin| self.is_public(origin) || self.is_host(origin, host))
    }

    /// Whether the host is one of ours. Without a list every one is.
    fn serves(&self, host: &str) -> bool {
        if self.hosts.is_empty() {
            return true;
        }
        let name = host_name(host);
        let is_loopback =
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        is_loopback || self.hosts.contains(&name)
    }

    fn is_public(&self, origin: &str) -> bool {
        self.public.as_deref().is_some_and(|public| public.eq_ignore_ascii_case(origin))
    }

    fn is_host(&self, origin: &str, host: &str) -> bool {
        let authority = origin.split_once("://").map_or("", |(_, authority)| authority);
        !authority.is_empty() && authority.eq_ignore_ascii_case(host)
    }
}

/// Origins, `*` alone for any, one `*` inside an entry for any text.
pub(super) struct OriginList(Vec<String>);

impl OriginList {
    pub(super) fn new(origins: &[String]) -> Self {
        Self(origins.iter().map(|origin| origin.to_ascii_lowercase()).collect())
    }

    pub(super) fn is_any(&self) -> bool {
        self.0.iter().any(|entry| entry == "*")
    }

    pub(super) fn holds(&self, origin: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        self.0.iter().any(|entry| match entry.split_once('*') {
            None => *entry == origin,
            Some((head, tail)) => {
                origin.len() >= head.len() + tail.len() && origin.starts_with(head) && origin.ends_with(tail)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Proxies;

    /// `request` is `METHOD host origin`.
    fn ask(config: &OriginConfig, request: &str) -> bool {
        let parts: Vec<_> = request.split(' ').collect();
        let mut builder = http::Request::builder().method(parts[0]).uri("/");
        if parts[2] != "-" {
            builder = builder.header(ORIGIN, parts[2]);
        }
        if parts.get(3).is_some() {
            builder = builder.header(UPGRADE, "websocket");
        }
        let (parts_of, ()) = builder.body(()).expect("a request").into_parts();
        Origins::new(config).check(&parts_of, parts[1], None).is_ok()
    }

    /// The same for a route of our own pages only.
    fn ask_strictly(config: &OriginConfig, method: &str, host: &str, origin: &str) -> bool {
        let builder = http::Request::builder().method(method).uri("/").header(ORIGIN, origin);
        let (parts, ()) = builder.body(()).expect("a request").into_parts();
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let peer = Proxies::new(&[], config).peer(address, &parts.headers, host);
        Origins::new(config).check(&parts, host, Some(&peer)).is_ok()
    }

    #[test]
    fn where_only_our_own_pages_are_served_others_may_not_even_read() {
        let config = OriginConfig {
            public_url: Some("https://relay.example".into()),
            allowed_origins: vec!["https://ours.example".into()],
            ..OriginConfig::default()
        };
        for method in ["GET", "POST"] {
            let ask = |host, origin| ask_strictly(&config, method, host, origin);
            assert!(ask("localhost:1", "http://localhost:1") && ask("10.0.0.1", "http://10.0.0.1"));
            assert!(ask("relay.example", "https://relay.example") && ask("x", "https://ours.example"));
            assert!(!ask("localhost:1", "http://evil.example"));
            // Seen to fail: without the look at the host, a name that was made to point here.
            assert!(!ask("evil.example", "http://evil.example"));
        }
    }

    #[test]
    fn pages_of_other_sites_may_only_read() {
        let config = OriginConfig {
            allowed_origins: vec!["https://*.Ours.example".into()],
            public_url: Some("https://relay.example:8443/x".into()),
            ..OriginConfig::default()
        };
        assert!(ask(&config, "POST a:1 -") && ask(&config, "POST a:1 http://a:1"));
        assert!(ask(&config, "GET a:1 http://evil"));
        // Seen to fail: with upgrades taken for reading.
        assert!(!ask(&config, "GET a:1 http://evil upgrade"));
        assert!(!ask(&config, "POST a:1 http://evil") && !ask(&config, "POST a:1 null"));
        assert!(!ask(&config, "POST a:1 http://a:2"));
        assert!(ask(&config, "POST a:1 https://x.ours.example"));
        assert!(ask(&config, "POST a:1 https://relay.example:8443"));
    }

    #[test]
    fn only_allowed_host_names_are_served_when_there_is_a_list() {
        let config = OriginConfig { allowed_hosts: vec!["relay.example".into()], ..OriginConfig::default() };
        assert!(ask(&config, "GET relay.example:8080 -") && ask(&config, "GET localhost:1 -"));
        assert!(ask(&config, "GET 127.0.0.1 -") && ask(&config, "GET [::1]:80 -"));
        assert!(!ask(&config, "GET evil.example -"));
    }
}
