//! A map that remembers so many entries and forgets the one that was used longest ago.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// The map.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    entries_max: usize,
    tick: u64,
    by_key: HashMap<K, (u64, V)>,
    /// The keys by when they were used last.
    by_use: BTreeMap<u64, K>,
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    /// An empty map for at most `entries_max` entries.
    pub(crate) fn new(entries_max: usize) -> Self {
        Self { entries_max, tick: 0, by_key: HashMap::new(), by_use: BTreeMap::new() }
    }

    /// Adds or replaces an entry, which is then the newest.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.remove(&key);
        while self.by_key.len() >= self.entries_max.max(1) {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            self.by_key.remove(&oldest);
        }
        self.tick += 1;
        self.by_use.insert(self.tick, key.clone());
        self.by_key.insert(key, (self.tick, value));
    }

    /// An entry, which is the newest from then on.
    pub(crate) fn touch<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let (used, value) = self.by_key.get_mut(key)?;
        self.tick += 1;
        if let Some(key) = self.by_use.remove(used) {
            self.by_use.insert(self.tick, key);
        }
        *used = self.tick;
        Some(value)
    }

    /// An entry, as it is.
    pub(crate) fn peek<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.by_key.get(key).map(|(_, value)| value)
    }

    /// Forgets an entry.
    pub(crate) fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let (used, value) = self.by_key.remove(key)?;
        self.by_use.remove(&used);
        Some(value)
    }

    /// The entries, the one used longest ago first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.by_use.values().filter_map(|key| self.by_key.get(key).map(|(_, value)| (key, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Seen to fail: without the removal of the oldest.
    #[test]
    fn the_one_used_longest_ago_is_forgotten_first() {
        let mut recent = Recent::new(3);
        for key in ["a", "b", "c"] {
            recent.insert(key, key.to_uppercase());
        }
        assert_eq!(recent.touch("a").map(|value| value.as_str()), Some("A"));
        assert_eq!(recent.peek("b").map(String::as_str), Some("B"));
        recent.insert("d", "D".to_owned());
        recent.insert("c", "C2".to_owned());
        let left: Vec<_> = recent.iter().map(|(key, value)| (*key, value.as_str())).collect();
        assert_eq!(left, [("a", "A"), ("d", "D"), ("c", "C2")]);
        assert_eq!((recent.remove("d").is_some(), recent.remove("d").is_some()), (true, false));
        assert_eq!(recent.by_use.len(), recent.by_key.len());
    }
}
