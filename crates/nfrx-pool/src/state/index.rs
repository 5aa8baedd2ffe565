//! Who has a free slot, least busy first.
//!
//! The workers that offer one label and have a free slot stand in levels by how many
//! requests are with them. Moving a worker is constant work whatever the number of
//! workers: it leaves its level by swapping with the last, and a bit set knows which
//! levels are not empty.
//!
//! Among equals one is chosen at random out of a few that stand side by side, and those few
//! change one by one. So all of them get their share of the work, as from a choice among all,
//! but many requests in a row meet connections, and engines, that worked just now: what lies
//! in memory for a worker that has rested is in no cache, which doubles the cost of a request.

/// The most requests one worker may have: what the bit set can tell apart. More than
/// any backend serves at once; a worker that claims more is given this many.
pub(crate) const SLOTS_MAX: u32 = 64 * 64;

/// Among how many equals one is chosen.
const CHOICE: usize = 16;
/// So many workers come to a level before the choice in it moves on by one.
const MOVES_PER_TURN: u32 = 16;

/// A worker's mention under one of its labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The worker's number.
    pub(crate) worker: u32,
    /// Which of the worker's labels it is.
    pub(crate) nth: u32,
}

/// Workers with a free slot and the same load.
#[derive(Debug, Default)]
struct Level {
    places: Vec<Place>,
    /// Where the few begin among which one is chosen.
    from: usize,
    /// How many workers came since it moved.
    moves: u32,
}

impl Level {
    fn put(&mut self, place: Place) -> u32 {
        self.places.push(place);
        self.moves += 1;
        if self.moves == MOVES_PER_TURN {
            self.moves = 0;
            self.from = if self.from + 1 < self.places.len() { self.from + 1 } else { 0 };
        }
        (self.places.len() - 1) as u32
    }

    /// All places, beginning with the chosen one.
    fn chosen_first(&self) -> impl Iterator<Item = &Place> {
        let len = self.places.len();
        let chosen = match len {
            0 | 1 => 0,
            _ => (self.from + fastrand::usize(..len.min(CHOICE))) % len,
        };
        let (before, after) = self.places.split_at(chosen);
        after.iter().chain(before)
    }
}

/// Workers with a free slot, by load.
#[derive(Debug, Default)]
pub(crate) struct Levels {
    levels: Vec<Level>,
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
            self.levels.resize_with(at + 1, Level::default);
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (level % 64);
        self.summary |= 1 << word;
        self.len += 1;
        self.levels[at].put(place)
    }

    /// Takes a place out. Gives the place that now stands at its position, if any.
    pub(crate) fn take_out(&mut self, level: u32, position: u32) -> Option<Place> {
        let places = &mut self.levels[level as usize].places;
        places.swap_remove(position as usize);
        self.len -= 1;
        if places.is_empty() {
            let word = level as usize / 64;
            self.words[word] &= !(1 << (level % 64));
            if self.words[word] == 0 {
                self.summary &= !(1 << word);
            }
        }
        self.levels[level as usize].places.get(position as usize).copied()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The least busy worker that is not refused by `skip`, with its load and how many are as
    /// busy as it.
    pub(crate) fn least_busy(&self, skip: impl Fn(u32) -> bool) -> Option<(u32, usize, u32)> {
        let mut from = 0;
        while let Some(level) = self.occupied_from(from) {
            let bucket = &self.levels[level as usize];
            if let Some(found) = bucket.chosen_first().find(|place| !skip(place.worker)) {
                return Some((level, bucket.places.len(), found.worker));
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

    /// One request after the other, `together` at a time: how many each worker got.
    fn shares(workers: usize, together: usize, requests: usize) -> Vec<usize> {
        fastrand::seed(7);
        let mut levels = levels(&vec![0; workers]);
        let mut positions: Vec<u32> = (0..workers as u32).collect();
        let (mut shares, mut running) = (vec![0; workers], std::collections::VecDeque::new());
        for _ in 0..requests {
            let Some((0, _, worker)) = levels.least_busy(|_| false) else {
                panic!("nobody is idle");
            };
            let position = positions[worker as usize];
            if let Some(moved) = levels.take_out(0, position) {
                positions[moved.worker as usize] = position;
            }
            shares[worker as usize] += 1;
            running.push_back(worker);
            if running.len() == together
                && let Some(worker) = running.pop_front()
            {
                positions[worker as usize] = levels.put(0, Place { worker, nth: 0 });
            }
        }
        shares
    }

    #[test]
    fn equals_are_chosen_at_random() {
        let levels = levels(&[0; 8]);
        let seen: std::collections::HashSet<_> =
            (0..400).filter_map(|_| levels.least_busy(|_| false)).map(|found| found.2).collect();
        assert_eq!(seen.len(), 8);
    }

    // Seen to fail with a choice among all (814 workers were met).
    #[test]
    fn few_of_many_idle_workers_are_met_by_requests_in_a_row() {
        let met = shares(1000, 8, 1600).iter().filter(|share| **share > 0).count();
        assert!((CHOICE..=CHOICE + 8 + 1600 / MOVES_PER_TURN as usize).contains(&met), "{met} workers");
    }

    // Seen to fail when the choice never moves on (workers without any request), and with a
    // choice of one.
    #[test]
    fn idle_workers_get_equal_shares_in_the_long_run() {
        // A hundred turns of each.
        let even = 100 * MOVES_PER_TURN as usize;
        for (workers, together) in [(3, 1), (17, 4), (100, 1), (100, 50), (200, 8), (200, 200)] {
            let shares = shares(workers, together, workers * even);
            let (least, most) = (shares.iter().min().copied(), shares.iter().max().copied());
            let is_even = least >= Some(even / 2) && most <= Some(even * 2);
            assert!(is_even, "{workers} workers, {together} at once: {least:?} to {most:?}");
        }
    }
}
