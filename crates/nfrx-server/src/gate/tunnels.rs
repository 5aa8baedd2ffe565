//! Connections that agents keep with named keys: so many for each key, and told when their
//! key is good no longer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nfrx_spi::metrics::{MetricFamily, MetricKind, Sample, SampleValue};
use nfrx_spi::{ApiError, Collector, Revocation};

use super::Gate;

/// Keys with a series of their own; the rest share one.
const SERIES_MAX: usize = 64;

/// The open connections by their keys' names.
pub(crate) struct KeyTunnels {
    max: usize,
    open: Mutex<BTreeMap<Arc<str>, usize>>,
}

/// A place among the connections of a key; dropping it frees it.
pub(crate) struct Place {
    tunnels: Arc<KeyTunnels>,
    key: Arc<str>,
}

impl KeyTunnels {
    /// At most `max` for each key.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, open: Mutex::default() }
    }

    fn enter(self: &Arc<Self>, key: &Arc<str>) -> Result<Place, ApiError> {
        let mut open = self.lock();
        let count = open.entry(Arc::clone(key)).or_default();
        if *count >= self.max {
            return Err(ApiError::TooManyTunnels { tunnels_max: self.max });
        }
        *count += 1;
        Ok(Place { tunnels: Arc::clone(self), key: Arc::clone(key) })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.tunnels.lock();
        if let Some(count) = open.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.key);
            }
        }
    }
}

impl Collector for KeyTunnels {
    fn collect(&self) -> Vec<MetricFamily> {
        let open = self.lock();
        let sample = |key: &str, count: usize| Sample {
            labels: vec![("key", key.to_owned())],
            value: SampleValue::Number(count as f64),
        };
        let mut samples: Vec<_> =
            open.iter().take(SERIES_MAX).map(|(key, count)| sample(key, *count)).collect();
        let others: usize = open.values().skip(SERIES_MAX).sum();
        if others > 0 {
            samples.push(sample("other", others));
        }
        let (name, help) = ("nfrx_server_key_tunnels", "connections of agents by the name of their key");
        vec![MetricFamily { name, help, kind: MetricKind::Gauge, samples }]
    }
}

impl Gate {
    /// A place for a connection that an agent came in with by the key of this name, and
    /// what tells of the key's end. It is an end, too, when the key loses a scope with
    /// which the agent may have come in.
    pub(crate) fn keep(&self, key: &Arc<str>) -> Result<(Place, Revocation), ApiError> {
        let gone = || ApiError::Unauthorized("the key is not known here".to_owned());
        let (held, keys) = self.workers.standing(key).ok_or_else(gone)?;
        let place = self.tunnels.enter(key)?;
        let revocation = Revocation::new(move || {
            let (held, mut keys) = (held.clone(), keys.clone());
            Box::pin(async move {
                // Keys that can't change any more are never revoked.
                if keys.wait_for(|keys| !keys.allow_as_before(&held)).await.is_err() {
                    std::future::pending::<()>().await;
                }
            })
        });
        Ok((place, revocation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_so_many_places_and_gets_them_back() {
        let tunnels = Arc::new(KeyTunnels::new(2));
        let (a, b) = (Arc::from("a"), Arc::from("b"));
        let first = tunnels.enter(&a).map_err(|error| error.status());
        let _second = tunnels.enter(&a).map_err(|error| error.status());
        assert_eq!(tunnels.enter(&a).err().map(|error| error.status().as_u16()), Some(429));
        assert!(tunnels.enter(&b).is_ok(), "another key has its own");
        drop(first);
        // Seen to fail: without the drop of a place.
        assert!(tunnels.enter(&a).is_ok());
    }
}
