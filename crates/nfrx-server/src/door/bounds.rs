//! How many connections there may be, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use nfrx_spi::metrics::Gauge;

use crate::config::Limits;
use crate::telemetry::{Bound, Telemetry};

/// Counts connections.
pub(crate) struct Bounds {
    all_max: usize,
    address_max: usize,
    open: Mutex<Open>,
    gauge: Arc<Gauge>,
}

#[derive(Default)]
struct Open {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A connection's place; dropping it gives it back.
pub(crate) struct Permit {
    bounds: Arc<Bounds>,
    address: IpAddr,
}

impl Bounds {
    /// These limits, or what the process's file limit leaves: a fifth stays for what is
    /// not a connection.
    pub(crate) fn new(limits: &Limits, telemetry: &Telemetry) -> Arc<Self> {
        let files = nfrx_runtime::file_limit().map_or(usize::MAX, |max| max / 5 * 4);
        Arc::new(Self {
            all_max: limits.connections_max.min(files),
            address_max: limits.connections_per_address_max,
            open: Mutex::default(),
            gauge: telemetry.connections.with([]),
        })
    }

    /// A place for a connection from `address`, or the bound that it is over.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Permit, Bound> {
        let address = address.to_canonical();
        // Whoever comes from this machine is mostly a proxy, which brings everybody.
        let address_max = if address.is_loopback() { self.all_max } else { self.address_max };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.all >= self.all_max {
            return Err(Bound::Connections);
        }
        let from_address = open.by_address.entry(address).or_default();
        if *from_address >= address_max {
            return Err(Bound::ConnectionsPerAddress);
        }
        *from_address += 1;
        open.all += 1;
        self.gauge.add(1);
        Ok(Permit { bounds: Arc::clone(self), address })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = self.bounds.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all -= 1;
        if let Some(from_address) = open.by_address.get_mut(&self.address) {
            *from_address -= 1;
            if *from_address == 0 {
                open.by_address.remove(&self.address);
            }
        }
        self.bounds.gauge.add(-1);
    }
}

#[cfg(test)]
mod tests {
    use nfrx_runtime::metrics_text::Registry;

    use super::*;

    #[test]
    fn places_are_bounded_and_given_back() {
        let limits = Limits { connections_max: 5, connections_per_address_max: 2, ..Limits::default() };
        let telemetry =
            Telemetry::new(&mut Registry::default(), nfrx_runtime::build_info()).expect("new names");
        let bounds = Bounds::new(&limits, &telemetry);
        let admit = |from: &str| bounds.admit(from.parse().expect("an address"));
        let held = [admit("9.9.9.9"), admit("9.9.9.9")];
        assert_eq!(admit("::ffff:9.9.9.9").err(), Some(Bound::ConnectionsPerAddress));
        // Seen to fail: with this machine bounded as any address.
        let local: Vec<_> = (0..3).map(|_| admit("127.0.0.1")).collect();
        assert!(held.iter().chain(&local).all(Result::is_ok));
        assert_eq!(admit("8.8.8.8").err(), Some(Bound::Connections));
        drop((held, local));
        // Seen to fail: without the permit's drop.
        assert!(admit("9.9.9.9").is_ok());
        assert!(bounds.open.lock().expect("not poisoned").by_address.is_empty());
    }
}
