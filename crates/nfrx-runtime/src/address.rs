//! Addresses as operators write them, and which of them are near.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};

/// What [`listen_address`] takes, for errors.
pub const LISTEN_FORMS: &str = "`host:port`, `:port`, a port or a host";

/// Reads where to listen: `host:port`, `:port`, a bare port or a bare host (KD-54). What is
/// left out is `host` or `port`. `None` when it is nothing of that; a name is looked up.
pub fn listen_address(text: &str, host: IpAddr, port: u16) -> Option<SocketAddr> {
    let text = text.trim();
    if let Ok(addr) = text.parse() {
        return Some(addr);
    }
    if let Ok(port) = text.trim_start_matches(':').parse::<u16>() {
        return Some((host, port).into());
    }
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Some((ip, port).into());
    }
    let with_port = if text.contains(':') { text.to_owned() } else { format!("{text}:{port}") };
    with_port.to_socket_addrs().ok().and_then(|mut found| found.next())
}

/// All interfaces of this machine.
pub const ANY_HOST: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// This machine only.
pub const THIS_HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Whether an address is of this machine's own networks: loopback, private, link-local.
pub fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// Whether a `Host` is an address or a name of the local network: one that no stranger can
/// own. The page of a stranger that had its name resolve to this machine (DNS rebinding)
/// would show its own name.
pub fn is_local_name(host: &str) -> bool {
    let name = host_name(host);
    let local = ["localhost", "local", "internal", "lan", "home.arpa", "test"];
    name.parse::<IpAddr>().is_ok()
        || !name.contains('.')
        || local.iter().any(|top| name.strip_suffix(top).is_some_and(|rest| rest.ends_with('.')))
}

/// The name of `host:port`, in lower case and without brackets.
pub fn host_name(host: &str) -> String {
    let name = match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|c| c.is_ascii_digit()) && (!name.contains(':') || name.ends_with(']')) =>
        {
            name
        }
        _ => host,
    };
    name.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_of_an_address_is_filled_in() {
        let read = |text| listen_address(text, THIS_HOST, 7).map(|addr| addr.to_string());
        for (text, expected) in [
            ("9000", "127.0.0.1:9000"),
            (":9000", "127.0.0.1:9000"),
            ("0.0.0.0:1", "0.0.0.0:1"),
            ("10.1.2.3", "10.1.2.3:7"),
            ("[::1]", "[::1]:7"),
            ("[::1]:5", "[::1]:5"),
        ] {
            assert_eq!(read(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(read("a b c"), None);
    }
}
