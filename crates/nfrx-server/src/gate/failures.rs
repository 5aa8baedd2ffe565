//! Refused logins per address: ten at once, then one a second.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nfrx_spi::ApiError;
use tokio::time::Instant;

/// How many failures an address has at once.
const AT_ONCE: u32 = 10;
/// How long until it has one more.
const EVERY: Duration = Duration::from_secs(1);
/// How many addresses are remembered; beyond, those that are whole again are forgotten,
/// and if none is, all share one entry.
const ADDRESSES_MAX: usize = 10_000;

/// Counts failures by address.
#[derive(Default)]
pub(super) struct Failures(Mutex<Table>);

#[derive(Default)]
struct Table {
    /// The moment at which an address is whole again.
    whole_at: HashMap<IpAddr, Instant>,
    /// When a full table was last searched for entries to forget: at most once a step,
    /// or strangers with many addresses would have us search all the time.
    swept: Option<Instant>,
}

impl Failures {
    /// Counts a failure; an error when the address has none left.
    ///
    /// Each entry is the moment at which its address is whole again: every failure
    /// moves it one step into the future, never more than all the steps there are.
    pub(super) fn note(&self, ip: IpAddr) -> Result<(), ApiError> {
        let now = Instant::now();
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.sweep(now);
        let full = table.whole_at.len() >= ADDRESSES_MAX;
        let key = if full { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { network(ip) };
        let at = table.whole_at.entry(key).or_insert(now);
        let next = (*at).max(now) + EVERY;
        if next > now + EVERY * AT_ONCE {
            return Err(ApiError::TooManyLogins { retry_after: EVERY });
        }
        *at = next;
        Ok(())
    }
}

impl Table {
    fn sweep(&mut self, now: Instant) {
        let is_due = self.swept.is_none_or(|swept| now >= swept + EVERY);
        if self.whole_at.len() >= ADDRESSES_MAX && is_due {
            self.swept = Some(now);
            self.whole_at.retain(|_, at| *at > now);
        }
    }
}

/// Who has one IPv6 address usually has all of its /64.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[tokio::test(start_paused = true)]
    async fn ten_at_once_then_one_a_second_for_each_network() {
        let failures = Failures::default();
        let many = |from: &str| (0..20).filter(|_| failures.note(ip(from)).is_ok()).count();
        assert_eq!(many("10.0.0.1"), 10);
        assert_eq!((many("10.0.0.2"), many("2001:db8::1"), many("2001:db8::2")), (10, 10, 0));
        tokio::time::advance(Duration::from_secs(3)).await;
        // Seen to fail: with `whole_at` moved also by refused failures.
        assert_eq!(many("10.0.0.1"), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_is_bounded() {
        let failures = Failures::default();
        for n in 0..30_000_u32 {
            let _ = failures.note(IpAddr::from(n.to_be_bytes()));
        }
        assert!(failures.0.lock().expect("not poisoned").whole_at.len() <= ADDRESSES_MAX + 1);
    }
}
