//! Picking a worker and taking a slot on it, in one step; and giving the slot back.

use std::sync::Arc;

use super::{ANY, Entry, Levels, State, TakeError, Ticket, Wish, WorkerKey};
use crate::worker::Worker;

/// How many wanted labels are remembered with what suits them, besides twice as many as
/// are offered: finding out again costs a look at each offered label.
const CANDIDATES_MAX: usize = 4096;

/// The offered labels that suit a wanted one, best score first.
#[derive(Debug)]
pub(super) struct Candidates {
    version: u64,
    groups: Vec<Vec<u32>>,
}

impl State {
    /// Takes a slot on the best worker, or says why there is none. Never waits.
    pub(crate) fn take(&mut self, wish: Wish<'_>) -> Result<(WorkerKey, Arc<Worker>), TakeError> {
        let known = match self.candidates.get(wish.label) {
            Some(known) if known.version == self.version => known,
            _ => {
                self.learn(wish.label);
                self.candidates.get(wish.label).ok_or(TakeError::NoWorker)?
            }
        };
        let found = match wish.worker {
            None => known.groups.iter().find_map(|group| self.least_busy(group, wish.exclude)),
            Some(id) => self.ids.get(id).copied().filter(|at| {
                let entry = &self.workers[*at];
                entry.has_room()
                    && !wish.exclude.contains(&entry.worker.key())
                    && known.groups.iter().any(|group| entry.offers_one_of(group))
            }),
        };
        match found {
            Some(at) => Ok(self.occupy(at)),
            None if self.is_supported(&known.groups.concat(), wish.worker, wish.exclude) => {
                Err(TakeError::Busy)
            }
            None => Err(TakeError::NoWorker),
        }
    }

    /// Whether a connected worker serves this, whatever its load.
    pub(crate) fn supports(&mut self, wish: Wish<'_>) -> bool {
        let labels = self.suitable(wish.label);
        self.is_supported(&labels, wish.worker, wish.exclude)
    }

    /// The offered labels that suit, in any order.
    pub(super) fn suitable(&mut self, label: &str) -> Vec<u32> {
        self.learn(label);
        self.candidates.get(label).map_or(Vec::new(), |known| known.groups.concat())
    }

    /// Whether an offered label suits a wanted one at all.
    pub(super) fn suits(&self, wanted: &str, offered: u32) -> bool {
        let score = match offered {
            ANY => self.scorer.score_any(wanted),
            _ => self.scorer.score(wanted, &self.labels[offered].name),
        };
        score >= self.min_score
    }

    /// Whether a connected worker that is not excluded suits, whatever its load.
    pub(super) fn is_supported(&self, labels: &[u32], target: Option<&str>, exclude: &[WorkerKey]) -> bool {
        if let Some(id) = target {
            return self
                .entry_by_id(id)
                .is_some_and(|entry| !exclude.contains(&entry.worker.key()) && entry.offers_one_of(labels));
        }
        labels.iter().any(|label| {
            let tried = exclude.iter().filter(|key| self.entry(**key).is_some_and(|e| e.offers(*label)));
            self.labels[*label].members.len() > tried.count()
        })
    }

    /// How many workers besides `held` suit and have a free slot, `max` at the most. Those
    /// that are excluded are few, and not told apart.
    pub(crate) fn room_beside(&mut self, held: WorkerKey, wish: Wish<'_>, max: usize) -> usize {
        if wish.worker.is_some() {
            return 0;
        }
        let suitable = self.suitable(wish.label);
        let free = suitable.iter().map(|label| self.labels[*label].free.len()).sum::<usize>();
        let itself = self.entry(held).is_some_and(Entry::has_room);
        free.saturating_sub(usize::from(itself)).min(max)
    }

    /// Whether work that has a slot there may go on sending.
    pub(crate) fn still_serves(&self, key: WorkerKey) -> bool {
        self.entry(key).is_some_and(|entry| entry.is_ready() && entry.in_flight <= entry.capacity)
    }

    /// Frees a slot; it goes to whoever waits for it. The slot of a worker that is gone
    /// is nobody's.
    pub(crate) fn release(&mut self, key: WorkerKey) {
        let Some(entry) = self.workers.get_mut(key.at).filter(|entry| entry.worker.key() == key) else {
            return;
        };
        let load = entry.in_flight.saturating_sub(1);
        self.set_load(key.at, load);
        self.serve_waiters(key.at);
    }

    /// Counts a request on a worker that has room.
    pub(super) fn occupy(&mut self, at: u32) -> (WorkerKey, Arc<Worker>) {
        let load = self.workers[at].in_flight + 1;
        self.set_load(at, load);
        let worker = Arc::clone(&self.workers[at].worker);
        (worker.key(), worker)
    }

    fn set_load(&mut self, at: u32, load: u32) {
        self.take_from_index(at);
        let entry = &mut self.workers[at];
        entry.in_flight = load;
        entry.worker.set_in_flight(load);
        self.put_in_index(at);
    }

    /// Puts a worker that has room where picking finds it.
    pub(super) fn put_in_index(&mut self, at: u32) {
        let entry = &mut self.workers[at];
        if entry.indexed || !entry.has_room() {
            return;
        }
        entry.indexed = true;
        let skipped = usize::from(!self.any_indexed);
        for (nth, offer) in (0..).zip(&mut entry.labels).skip(skipped) {
            let place = super::Place { worker: at, nth };
            offer.position = self.labels[offer.label].free.put(entry.in_flight, place);
        }
    }

    /// Takes a worker out, before its load, labels or readiness change.
    pub(super) fn take_from_index(&mut self, at: u32) {
        if !std::mem::take(&mut self.workers[at].indexed) {
            return;
        }
        let level = self.workers[at].in_flight;
        let skipped = usize::from(!self.any_indexed);
        for nth in skipped..self.workers[at].labels.len() {
            let offer = &self.workers[at].labels[nth];
            let (label, position) = (offer.label, offer.position);
            if let Some(moved) = self.labels[label].free.take_out(level, position) {
                self.workers[moved.worker].labels[moved.nth as usize].position = position;
            }
        }
    }

    /// The least busy worker under labels of one score, ties at random.
    fn least_busy(&self, labels: &[u32], exclude: &[WorkerKey]) -> Option<u32> {
        let skip = |at: u32| !exclude.is_empty() && exclude.contains(&self.workers[at].worker.key());
        let free = |label: &u32| -> &Levels { &self.labels[*label].free };
        if let [label] = labels {
            return free(label).least_busy(skip).map(|(_, _, worker)| worker);
        }
        let (mut best, mut equals): (Option<(u32, u32)>, usize) = (None, 0);
        for (load, count, worker) in labels.iter().filter_map(|label| free(label).least_busy(skip)) {
            if best.is_none_or(|(least, _)| load < least) {
                (best, equals) = (Some((load, worker)), count);
            } else if best.is_some_and(|(least, _)| load == least) {
                equals += count;
                if fastrand::usize(..equals) < count {
                    best = Some((load, worker));
                }
            }
        }
        best.map(|(_, worker)| worker)
    }

    /// Finds out what suits a wanted label, unless that is known.
    fn learn(&mut self, wanted: &str) {
        let version = self.version;
        if self.candidates.get(wanted).is_some_and(|known| known.version == version) {
            return;
        }
        let groups = self.groups_for(wanted);
        if groups.iter().flatten().any(|label| *label == ANY) {
            self.index_any();
        }
        if groups.is_empty() {
            // Nobody serves it: not kept, or clients could fill the cache with nonsense.
            self.candidates.remove(wanted);
        } else if let Some(known) = self.candidates.get_mut(wanted) {
            *known = Candidates { version, groups };
        } else {
            if self.candidates.len() >= CANDIDATES_MAX + 2 * self.labels.len() {
                self.candidates.clear();
            }
            self.candidates.insert(Arc::from(wanted), Candidates { version, groups });
        }
    }

    /// From here on workers are found under [`ANY`], too. Before that, every worker is
    /// spared the cost of standing there.
    fn index_any(&mut self) {
        if self.any_indexed {
            return;
        }
        let all: Vec<u32> = self.workers.iter().map(|(at, _)| at).collect();
        all.iter().for_each(|at| self.take_from_index(*at));
        self.any_indexed = true;
        all.iter().for_each(|at| self.put_in_index(*at));
    }

    fn groups_for(&self, wanted: &str) -> Vec<Vec<u32>> {
        let any = self.scorer.score_any(wanted);
        let any_suits = any >= self.min_score;
        let mut scored: Vec<(f64, u32)> = self
            .labels
            .iter()
            .filter(|(at, _)| *at != ANY)
            .map(|(at, label)| (self.scorer.score(wanted, &label.name), at))
            // Where any worker will do, only a better label than none tells them apart.
            .filter(|(score, _)| *score >= self.min_score && !(any_suits && *score <= any))
            .collect();
        if any_suits {
            scored.push((any, ANY));
        }
        scored.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        scored
            .chunk_by(|(a, _), (b, _)| a == b)
            .map(|group| group.iter().map(|(_, at)| *at).collect())
            .collect()
    }

    /// The ticket for a waiter: its own, unless somebody waits with it already.
    pub(super) fn fresh_ticket(&mut self, wanted: Ticket) -> Ticket {
        if self.order.binary_search(&wanted).is_ok() { self.draw_ticket() } else { wanted }
    }
}
