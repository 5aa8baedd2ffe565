//! Who is at the other end of a connection: the socket's address, what a trusted proxy
//! says of it, and whether it is this machine.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use nfrx_runtime::address::{host_name, is_local_name};

use super::side::ROLES;
use crate::config::{Network, OriginConfig};

const FORWARDED_FOR: &str = "x-forwarded-for";
/// How names of headers begin in which proxies say what they were asked.
const X_FORWARDED: &str = "x-forwarded-";
/// Other headers in which proxies and tunnels name who asked them.
const CLIENT_NAMED: [&str; 6] =
    ["forwarded", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip", "fly-client-ip"];

/// The peer of one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    /// The socket's address.
    pub(crate) address: SocketAddr,
    /// Who is behind it: what a trusted proxy says, else the socket's own address.
    pub(crate) client: IpAddr,
    /// Whether the socket's other end is a trusted proxy.
    pub(crate) trusted: bool,
    /// Whether somebody stands between whom we don't trust: a proxy that says it is
    /// one, and brings strangers from its own address.
    pub(crate) is_relayed: bool,
    /// Whether the client is on this machine.
    pub(crate) is_local: bool,
    /// Whether `Host` is a name that no stranger's page can have in a browser here: an
    /// address, a name of the local network, or an allowed one.
    pub(crate) host_is_private: bool,
    /// Whether the request only reads, or says that a page of our own makes it: only then
    /// a browser's session counts. The front door finds out.
    pub(crate) is_own_page: bool,
}

/// Which peers are proxies to be believed, and which host names are ours.
pub(crate) struct Proxies {
    trusted: Vec<Network>,
    hosts: Vec<String>,
}

impl Proxies {
    /// Believes these networks.
    pub(crate) fn new(trusted: &[Network], origin: &OriginConfig) -> Self {
        let public = origin.public_url.as_ref().and_then(|url| url.parse::<http::Uri>().ok());
        let public = public.and_then(|uri| uri.host().map(str::to_ascii_lowercase));
        let hosts = origin.allowed_hosts.iter().map(|host| host.to_ascii_lowercase()).chain(public).collect();
        Self { trusted: trusted.to_vec(), hosts }
    }

    /// The peer of a request with these headers for this host.
    pub(crate) fn peer(&self, address: SocketAddr, headers: &HeaderMap, host: &str) -> Peer {
        let socket = address.ip().to_canonical();
        let trusted = self.trusts(socket);
        let named = if trusted { self.nearest_stranger(headers) } else { None };
        let client = named.unwrap_or(socket);
        let is_relayed = named.is_none() && says_relayed(headers);
        // A proxy elsewhere that names a loopback address means its own machine, or was
        // told so by a stranger.
        let is_local = socket.is_loopback() && client.is_loopback() && !is_relayed;
        let host_is_private = self.is_private(host);
        Peer { address, client, trusted, is_relayed, is_local, host_is_private, is_own_page: false }
    }

    /// Drops what only a trusted proxy may say, so that no handler believes a stranger.
    pub(crate) fn launder(&self, peer: &Peer, headers: &mut HeaderMap) {
        if peer.trusted {
            return;
        }
        let forged =
            |name: &str| name == ROLES || CLIENT_NAMED.contains(&name) || name.starts_with(X_FORWARDED);
        let names: Vec<_> = headers.keys().filter(|name| forged(name.as_str())).cloned().collect();
        for name in names {
            headers.remove(name);
        }
    }

    fn trusts(&self, ip: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(ip))
    }

    /// The last address in `X-Forwarded-For` that is not a trusted proxy: everything
    /// before it may be made up.
    fn nearest_stranger(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let values: Vec<_> =
            headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).collect();
        let mut nearest = None;
        for item in values.iter().flat_map(|value| value.split(',')).rev() {
            let ip = item.trim().trim_matches(['[', ']']).parse::<IpAddr>().ok()?.to_canonical();
            nearest = Some(ip);
            if !self.trusts(ip) {
                break;
            }
        }
        nearest
    }

    /// A page of a stranger that had its name resolve to this machine (DNS rebinding)
    /// would show its own name here.
    fn is_private(&self, host: &str) -> bool {
        is_local_name(host) || self.hosts.contains(&host_name(host))
    }
}

/// Whether somebody passed the request on. Many proxies say so in only one of these, and
/// one on this machine must make nobody local.
fn says_relayed(headers: &HeaderMap) -> bool {
    let says = |name: &str| name == "via" || CLIENT_NAMED.contains(&name) || name.starts_with(X_FORWARDED);
    headers.keys().any(|name| says(name.as_str()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn peer(trusted: &str, socket: &str, forwarded: &str, host: &str) -> Peer {
        let trusted: Vec<_> =
            trusted.split_whitespace().map(|text| text.parse().expect("a network")).collect();
        let mut headers = HeaderMap::new();
        if !forwarded.is_empty() {
            headers.insert(FORWARDED_FOR, HeaderValue::from_str(forwarded).expect("a value"));
        }
        let origin = OriginConfig {
            public_url: Some("https://Relay.example.org/x".into()),
            ..OriginConfig::default()
        };
        Proxies::new(&trusted, &origin).peer(SocketAddr::new(socket.parse().expect("ip"), 1), &headers, host)
    }

    /// `expected` is the client's address, and `local` if it is on this machine.
    #[track_caller]
    fn check(trusted: &str, socket: &str, forwarded: &str, expected: &str) {
        let found = peer(trusted, socket, forwarded, "localhost");
        let local = if found.is_local { " local" } else { "" };
        assert_eq!(format!("{}{local}", found.client), expected);
    }

    #[test]
    fn only_a_trusted_proxy_says_who_is_behind_it() {
        check("", "9.9.9.9", "127.0.0.1", "9.9.9.9");
        check("10.0.0.0/8", "10.0.0.1", "6.6.6.6, 5.5.5.5, 10.0.0.2", "5.5.5.5");
        check("10.0.0.0/8", "10.0.0.1", "", "10.0.0.1");
        check("10.0.0.0/8", "10.0.0.1", "127.0.0.1, nonsense", "10.0.0.1");
    }

    #[test]
    fn a_proxy_on_this_machine_makes_nobody_local() {
        check("", "127.0.0.1", "", "127.0.0.1 local");
        check("", "::ffff:127.0.0.1", "", "127.0.0.1 local");
        // Seen to fail: without the look at forwarded headers.
        check("", "127.0.0.1", "5.5.5.5", "127.0.0.1");
        check("127.0.0.1", "127.0.0.1", "5.5.5.5", "5.5.5.5");
        check("127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.1 local");
    }

    #[test]
    fn whatever_a_proxy_says_of_itself_makes_its_clients_strangers() {
        for name in ["via", "forwarded", "x-real-ip", "cf-connecting-ip", "x-forwarded-proto", "x-client-ip"]
        {
            let headers = HeaderMap::from_iter([(
                http::HeaderName::from_static(name),
                HeaderValue::from_static("127.0.0.1"),
            )]);
            let peer = Proxies::new(&[], &OriginConfig::default()).peer(
                SocketAddr::from(([127, 0, 0, 1], 1)),
                &headers,
                "localhost",
            );
            // Seen to fail: with `X-Forwarded-For` and `Forwarded` looked at alone.
            assert!(peer.is_relayed && !peer.is_local, "{name}");
        }
    }

    #[test]
    fn a_proxy_elsewhere_knows_of_nobody_on_this_machine() {
        // Seen to fail: without the look at the socket.
        check("10.0.0.0/8", "10.0.0.1", "127.0.0.1", "127.0.0.1");
        check("10.0.0.0/8", "10.0.0.1", "::1, 10.0.0.2", "::1");
    }

    #[test]
    fn names_that_a_stranger_can_own_are_not_private() {
        let private = |host| peer("", "127.0.0.1", "", host).host_is_private;
        for host in [
            "localhost:8080",
            "127.0.0.1",
            "[::1]:80",
            "::1",
            "den",
            "den.lan:1",
            "RELAY.example.org:8443",
            "a.test.",
        ] {
            assert!(private(host), "{host}");
        }
        for host in ["evil.example:8080", "localhost.evil.example", "notlocal.com", "lan.evil.com"] {
            assert!(!private(host), "{host}");
        }
    }
}
