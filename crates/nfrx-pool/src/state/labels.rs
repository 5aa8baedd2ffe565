//! Labels: known while a connected worker offers them.

use std::sync::Arc;

use super::{ANY, Entry, Label, Offer, Place, State};
use crate::worker::Worker;

/// How many labels' first sightings are remembered after their workers left.
const SEEN_MAX: usize = 16_384;

impl State {
    /// Lets a worker, which is out of the index, offer these labels and no others. Gives
    /// the labels it offers no longer; they are still there.
    pub(super) fn offer(&mut self, at: u32, names: &[Arc<str>], now: u64) -> Vec<u32> {
        let mut labels: Vec<u32> = names.iter().map(|name| self.label(name, now)).collect();
        labels.push(ANY);
        labels.sort_unstable();
        labels.dedup();
        let lost = self.withdraw(at, &labels);
        for (nth, label) in (0..).zip(labels) {
            let members = &mut self.labels[label].members;
            members.push(Place { worker: at, nth });
            let member = (members.len() - 1) as u32;
            self.workers[at].labels.push(Offer { label, member, position: 0 });
        }
        lost
    }

    /// Takes all labels from a worker that is out of the index. Gives those that are not
    /// in `kept`, which ascends: a worker may change thousands of labels at a time, under
    /// the lock.
    pub(super) fn withdraw(&mut self, at: u32, kept: &[u32]) -> Vec<u32> {
        let mut lost = Vec::new();
        for nth in 0..self.workers[at].labels.len() {
            let Offer { label, member, .. } = self.workers[at].labels[nth];
            let members = &mut self.labels[label].members;
            members.swap_remove(member as usize);
            if let Some(moved) = members.get(member as usize).copied() {
                self.workers[moved.worker].labels[moved.nth as usize].member = member;
            }
            if kept.binary_search(&label).is_err() {
                lost.push(label);
            }
        }
        self.workers[at].labels.clear();
        lost
    }

    /// Forgets a label that nobody offers any more.
    pub(super) fn forget_if_unused(&mut self, label: u32) {
        if label == ANY || !self.labels[label].members.is_empty() {
            return;
        }
        for (_, line) in self.lines.iter_mut() {
            line.labels.retain(|suits| *suits != label);
        }
        if let Some(gone) = self.labels.remove(label) {
            self.names.remove(&gone.name);
        }
        self.version += 1;
    }

    fn label(&mut self, name: &Arc<str>, now: u64) -> u32 {
        if let Some(known) = self.names.get(name) {
            return *known;
        }
        let created = match self.seen.get(name) {
            Some(first) => *first,
            None => {
                if self.seen.len() < SEEN_MAX {
                    self.seen.insert(Arc::clone(name), now);
                }
                now
            }
        };
        let at = self.labels.insert(Label::new(Arc::clone(name), created));
        self.names.insert(Arc::clone(name), at);
        self.version += 1;
        self.let_lines_know(at);
        at
    }

    /// Whether a connected worker offers exactly this label.
    pub(crate) fn is_offered(&self, label: &str) -> bool {
        self.names.contains_key(label)
    }

    /// The workers that offer exactly this label, and when it was first seen.
    pub(crate) fn offering(&self, label: &str) -> Option<(u64, Vec<Arc<Worker>>)> {
        let label = &self.labels[*self.names.get(label)?];
        Some((label.created, self.workers_of(label)))
    }

    /// Each label with when it was first seen and who offers it.
    pub(crate) fn all_labels(&self) -> Vec<(Arc<str>, u64, Vec<Arc<Worker>>)> {
        let named = self.labels.iter().filter(|(at, _)| *at != ANY);
        named.map(|(_, label)| (Arc::clone(&label.name), label.created, self.workers_of(label))).collect()
    }

    /// Each label with how many workers offer it.
    pub(crate) fn label_counts(&self) -> Vec<(Arc<str>, usize)> {
        let named = self.labels.iter().filter(|(at, _)| *at != ANY);
        named.map(|(_, label)| (Arc::clone(&label.name), label.members.len())).collect()
    }

    /// The labels of one worker, each with when it was first seen.
    pub(crate) fn labels_of(&self, entry: &Entry) -> Vec<(Arc<str>, u64)> {
        let named =
            entry.labels.iter().filter(|offer| offer.label != ANY).map(|offer| &self.labels[offer.label]);
        named.map(|label| (Arc::clone(&label.name), label.created)).collect()
    }

    /// The first labels of one worker by name, and how many it has.
    pub(crate) fn first_labels_of(&self, entry: &Entry, count_max: usize) -> (Vec<Arc<str>>, usize) {
        let named = entry.labels.iter().filter(|offer| offer.label != ANY);
        let mut names: Vec<_> = named.map(|offer| &self.labels[offer.label].name).collect();
        let total = names.len();
        if total > count_max {
            names.select_nth_unstable(count_max);
            names.truncate(count_max);
        }
        names.sort_unstable();
        (names.into_iter().cloned().collect(), total)
    }

    fn workers_of(&self, label: &Label) -> Vec<Arc<Worker>> {
        label.members.iter().map(|place| Arc::clone(&self.workers[place.worker].worker)).collect()
    }
}
