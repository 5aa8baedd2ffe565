//! A peer somebody else started, given by its URL. Its processes are unknown, so it has no costs.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use tokio::net::lookup_host;

use super::Target;

/// Names a peer: `name=http://host:port/base`.
///
/// The base stands before `/v1/…`. Behind it must be a simulated backend like ours.
pub(crate) async fn peer(argument: &str) -> Result<Target> {
    let (name, host, base) = split(argument)?;
    let addr = resolve(host).await.with_context(|| format!("cannot find peer {name}"))?;
    let target = Target {
        name: name.to_owned(),
        addr,
        host: host.to_owned(),
        base: base.to_owned(),
        processes: Vec::new(),
    };
    target.ready().await
}

/// Name, authority and base path.
fn split(argument: &str) -> Result<(&str, &str, &str)> {
    let wanted = || format!("a peer is given as name=http://host:port/base, not as {argument:?}");
    let (name, url) = argument.split_once('=').with_context(wanted)?;
    let rest = url.strip_prefix("http://").with_context(wanted)?;
    let (host, base) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if name.is_empty() || host.is_empty() {
        bail!(wanted());
    }
    Ok((name, host, base.trim_end_matches('/')))
}

async fn resolve(host: &str) -> Result<SocketAddr> {
    let with_port = if host.parse::<SocketAddr>().is_ok() || host.contains(':') {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    lookup_host(with_port).await?.next().context("the name has no address")
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_peer_has_a_name_an_authority_and_perhaps_a_base() {
        assert_eq!(split("old=http://127.0.0.1:8080").unwrap(), ("old", "127.0.0.1:8080", ""));
        assert_eq!(split("x=http://relay.test/api/llm/").unwrap(), ("x", "relay.test", "/api/llm"));
        for wrong in ["http://a:1", "x=https://a:1", "x=a:1", "=http://a:1", "x=http:///base"] {
            assert!(split(wrong).is_err(), "{wrong}");
        }
    }
}
