//! Who has a free slot, least busy first.
//!
//! The workers that offer one label and have a free slot stand in levels by how many
//! requests are with them. Moving a worker is constant work whatever the number of
//! workers: it leaves its level by swapping with the last, and a bit set knows which
//! levels are not empty.

/// The most requests one worker may have: what the bit set can tell apart. More than
/// any backend serves at once; a worker that claims more is given this many.
pub(crate) const SLOTS_MAX: u32 = 64 * 64;

/// A worker's mention under one of its labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The worker's number.
    pub(crate) worker: u32,
    /// Which of the worker's labels it is.
    pub(crate) nth: u32,
}

/// Workers with a free slot, by load.
#[derive(Debug, Default)]
pub(crate) struct Levels {
    levels: Vec<Vec<Place>>,
    /// A bit per level that is not empty, and a bit per word that is not zero.
    words: Vec<u64>,
    summary: u64,
    len: usize,
}

impl Levels {
    /// Adds a place and gives its position in the level.
    pub(crate) fn put(&mut self, level: u32, place: Place) -> u32 {
        let (at, word) = (level as usize, level as usize / 64);
        if self.levels.len() <= at {
            self.levels.resize_with(at + 1, Vec::new);
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (level % 64);
        self.summary |= 1 << word;
        self.len += 1;
        self.levels[at].push(place);
        (self.levels[at].len() - 1) as u32
    }

    /// Takes a place out. Gives the place that now stands at its position, if any.
    pub(crate) fn take_out(&mut self, level: u32, position: u32) -> Option<Place> {
        let bucket = &mut self.levels[level as usize];
        bucket.swap_remove(position as usize);
        self.len -= 1;
        if bucket.is_empty() {
            let word = level as usize / 64;
            self.words[word] &= !(1 << (level % 64));
            if self.words[word] == 0 {
                self.summary &= !(1 << word);
            }
        }
        self.levels[level as usize].get(position as usize).copied()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The least busy worker that is not refused by `skip`, at random among equals, with
    /// its load and how many are as busy as it.
    pub(crate) fn least_busy(&self, skip: impl Fn(u32) -> bool) -> Option<(u32, usize, u32)> {
        let mut from = 0;
        while let Some(level) = self.occupied_from(from) {
            let bucket = &self.levels[level as usize];
            let start = if bucket.len() == 1 { 0 } else { fastrand::usize(..bucket.len()) };
            let (before, after) = bucket.split_at(start);
            if let Some(found) = after.iter().chain(before).find(|place| !skip(place.worker)) {
                return Some((level, bucket.len(), found.worker));
            }
            from = level + 1;
        }
        None
    }

    fn occupied_from(&self, level: u32) -> Option<u32> {
        let word = level / 64;
        let here = self.words.get(word as usize)? & (u64::MAX << (level % 64));
        if here != 0 {
            return Some(word * 64 + here.trailing_zeros());
        }
        let later = self.summary.checked_shr(word + 1)?;
        if later == 0 {
            return None;
        }
        let word = word + 1 + later.trailing_zeros();
        Some(word * 64 + self.words[word as usize].trailing_zeros())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(loads: &[u32]) -> Levels {
        let mut levels = Levels::default();
        for (worker, load) in (0..).zip(loads) {
            levels.put(*load, Place { worker, nth: 0 });
        }
        levels
    }

    #[test]
    fn the_least_busy_is_found_across_words_of_the_bit_set() {
        for loads in [&[5, 3, 9][..], &[64, 63, 4095], &[4095], &[130, 4000], &[64, 128]] {
            let levels = levels(loads);
            let least = loads.iter().min().copied();
            assert_eq!(levels.least_busy(|_| false).map(|found| found.0), least, "loads {loads:?}");
        }
    }

    #[test]
    fn a_skipped_worker_does_not_hide_busier_ones() {
        let levels = levels(&[0, 70, 4095]);
        assert_eq!(levels.least_busy(|worker| worker == 0).map(|found| found.2), Some(1));
        assert_eq!(levels.least_busy(|worker| worker < 2).map(|found| found.2), Some(2));
        assert_eq!(levels.least_busy(|_| true), None);
    }

    #[test]
    fn taking_out_says_who_moved() {
        let mut levels = levels(&[1, 1, 1]);
        assert_eq!(levels.take_out(1, 0), Some(Place { worker: 2, nth: 0 }));
        assert_eq!(levels.take_out(1, 1), None);
        assert_eq!(levels.take_out(1, 0), None);
        assert_eq!(levels.least_busy(|_| false), None);
    }

    #[test]
    fn equals_are_chosen_at_random() {
        let levels = levels(&[0; 8]);
        let seen: std::collections::HashSet<_> =
            (0..400).filter_map(|_| levels.least_busy(|_| false)).map(|found| found.2).collect();
        assert_eq!(seen.len(), 8);
    }
}
