//! Networks: an address and how many of its leading bits count.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A network such as `10.0.0.0/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether `ip` is in it. An IPv4 address in IPv6 form counts as IPv4.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(ip)) => {
                same(ours.to_bits().into(), ip.to_bits().into(), 32, self.bits)
            }
            (IpAddr::V6(ours), IpAddr::V6(ip)) => same(ours.to_bits(), ip.to_bits(), 128, self.bits),
            _ => false,
        }
    }
}

/// Whether the first `bits` of two numbers of `width` bits are the same.
fn same(a: u128, b: u128, width: u32, bits: u8) -> bool {
    (a ^ b).checked_shr(width.saturating_sub(bits.into())).unwrap_or(0) == 0
}

impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().map_err(drop)?)),
            None => (text, None),
        };
        let address = address.parse::<IpAddr>().map_err(drop)?.to_canonical();
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        if bits > width { Err(()) } else { Ok(Self { address, bits }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(network: &str, ip: &str, expected: bool) {
        let network: Network = network.parse().expect("a network");
        assert_eq!(network.contains(ip.parse().expect("an address")), expected, "{network} and {ip}");
    }

    #[test]
    fn a_network_holds_what_shares_its_leading_bits() {
        check("10.0.0.0/8", "10.9.8.7", true);
        check("10.0.0.0/8", "11.0.0.1", false);
        check("10.0.0.0/8", "::ffff:10.1.1.1", true);
        check("192.168.1.5", "192.168.1.5", true);
        check("192.168.1.5", "192.168.1.4", false);
        check("fd00::/8", "fd12::1", true);
        check("::/0", "fd12::1", true);
        check("0.0.0.0/0", "::1", false);
        for bad in ["", "10.0.0.0/33", "ten", "10.0.0.0/x"] {
            assert_eq!(bad.parse::<Network>(), Err(()));
        }
    }
}
