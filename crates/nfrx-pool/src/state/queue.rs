//! Those who wait for a slot, in lines.
//!
//! Waiters that any slot fits alike stand in one line, by ticket. A line is listed under
//! each offered label that suits it (or under its target worker), by its first ticket,
//! so that a freed slot compares the heads of lines and looks at no waiter.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::task::Waker;

use nfrx_spi::WorkerRef;

use super::{ANY, State, TakeError, Ticket, Wish, WorkerKey};
use crate::worker::Worker;

/// What the waiters of a line have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct LineKey {
    label: Arc<str>,
    target: Option<Arc<str>>,
    exclude: Vec<WorkerKey>,
}

#[derive(Debug)]
pub(super) struct Line {
    key: LineKey,
    /// The offered labels that suit.
    pub(super) labels: Vec<u32>,
    waiters: BTreeMap<Ticket, u32>,
}

/// Names a waiter; an old name of a place that is used again matches nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WaiterId {
    at: u32,
    count: u64,
}

#[derive(Debug)]
pub(super) struct Waiter {
    count: u64,
    ticket: Ticket,
    stage: Stage,
}

enum Stage {
    Waiting {
        line: u32,
        waker: Option<Waker>,
    },
    /// A slot is taken for it.
    Granted(WorkerKey, Arc<Worker>),
    Refused(TakeError),
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Waiting { line, .. } => write!(f, "Waiting({line})"),
            Self::Granted(key, _) => write!(f, "Granted({key:?})"),
            Self::Refused(error) => write!(f, "Refused({error:?})"),
        }
    }
}

/// How a waiter stands.
pub(crate) enum Turn {
    /// It waits on; its waker is noted.
    Waiting,
    /// It has a slot, and is forgotten.
    Granted(WorkerKey, Arc<Worker>),
    /// It gets none, and is forgotten.
    Refused(TakeError),
}

impl State {
    /// How many wait.
    pub(crate) fn queue_len(&self) -> usize {
        self.order.len()
    }

    /// How many wait for each label. Who asked for an alias counts under one of the labels
    /// that suit it.
    pub(crate) fn waiting_by_label(&self) -> HashMap<Arc<str>, usize> {
        let mut waiting = HashMap::new();
        for (_, line) in self.lines.iter() {
            let asked = Some(&line.key.label).filter(|label| self.is_offered(label));
            let suits = || line.labels.iter().find(|label| **label != ANY).map(|at| &self.labels[*at].name);
            let name = asked.or_else(suits).unwrap_or(&line.key.label);
            *waiting.entry(Arc::clone(name)).or_default() += line.waiters.len();
        }
        waiting
    }

    /// How many wait for this worker and no other.
    pub(crate) fn waiting_for(&self, worker: &str) -> usize {
        let lines = self.targets.get(worker).into_iter().flatten();
        lines.map(|(_, line)| self.lines[*line].waiters.len()).sum()
    }

    /// Adds a waiter for whom no slot is free. Who comes again (`again`) is let in
    /// though the queue is full: it was let in before.
    pub(crate) fn enqueue(
        &mut self,
        wish: Wish<'_>,
        ticket: Ticket,
        again: bool,
    ) -> Result<WaiterId, TakeError> {
        if !again && self.order.len() >= self.queue_max {
            return Err(TakeError::Busy);
        }
        let ticket = self.fresh_ticket(ticket);
        let line = self.line_for(wish);
        self.waiter_count += 1;
        let count = self.waiter_count;
        let at = self.waiters.insert(Waiter { count, ticket, stage: Stage::Waiting { line, waker: None } });
        self.edit_line(line, |waiters| {
            waiters.insert(ticket, at);
        });
        let rank = self.order.partition_point(|other| *other < ticket);
        self.order.insert(rank, ticket);
        Ok(WaiterId { at, count })
    }

    /// Asks how a waiter stands, and whom to wake when that changes.
    pub(crate) fn poll_waiter(&mut self, id: WaiterId, waker: &Waker) -> Turn {
        let Some(waiter) = self.waiters.get_mut(id.at).filter(|waiter| waiter.count == id.count) else {
            return Turn::Refused(TakeError::NoWorker);
        };
        if let Stage::Waiting { waker: noted, .. } = &mut waiter.stage {
            match noted {
                Some(noted) => noted.clone_from(waker),
                None => *noted = Some(waker.clone()),
            }
            return Turn::Waiting;
        }
        match self.waiters.remove(id.at).map(|waiter| waiter.stage) {
            Some(Stage::Granted(key, worker)) => Turn::Granted(key, worker),
            Some(Stage::Refused(error)) => Turn::Refused(error),
            _ => Turn::Refused(TakeError::NoWorker),
        }
    }

    /// The place among all who wait, from 1; `None` once it waits no more.
    pub(crate) fn position(&self, id: WaiterId) -> Option<usize> {
        let waiter = self.waiters.get(id.at).filter(|waiter| waiter.count == id.count)?;
        self.order.binary_search(&waiter.ticket).ok().map(|rank| rank + 1)
    }

    /// A waiter is gone: its place, or the slot it never took, is free.
    pub(crate) fn abandon(&mut self, id: WaiterId) {
        if self.waiters.get(id.at).is_none_or(|waiter| waiter.count != id.count) {
            return;
        }
        let Some(waiter) = self.waiters.remove(id.at) else { return };
        match waiter.stage {
            Stage::Waiting { line, .. } => self.leave_line(line, waiter.ticket),
            Stage::Granted(key, worker) => {
                self.discard(worker);
                self.release(key);
            }
            Stage::Refused(_) => {}
        }
    }

    /// Gives the free slots of a worker to those who wait for them, first come first.
    pub(super) fn serve_waiters(&mut self, at: u32) {
        while !self.order.is_empty() && self.workers[at].has_room() {
            let Some((ticket, line)) = self.first_in_line(at) else { return };
            let waiter = self.lines[line].waiters[&ticket];
            self.leave_line(line, ticket);
            let (key, worker) = self.occupy(at);
            self.settle(waiter, Stage::Granted(key, worker));
        }
    }

    /// A label appeared: the lines it suits are listed under it.
    pub(super) fn let_lines_know(&mut self, label: u32) {
        let suited: Vec<u32> = self
            .lines
            .iter()
            .filter(|(_, line)| !line.labels.contains(&ANY) && self.suits(&line.key.label, label))
            .map(|(at, _)| at)
            .collect();
        for line in suited {
            self.lines[line].labels.push(label);
            if self.lines[line].key.target.is_none() {
                let head = self.head(line);
                self.labels[label].lines.extend(head.map(|ticket| (ticket, line)));
            }
        }
    }

    /// The lines that may have lost their last worker when one withdrew these labels.
    pub(super) fn lines_in_doubt(&self, withdrawn: &[u32], id: &str) -> Vec<u32> {
        let mut lines: Vec<u32> = self.targets.get(id).into_iter().flatten().map(|(_, line)| *line).collect();
        for label in withdrawn.iter().map(|label| &self.labels[*label]) {
            let listed = label.lines.iter().map(|(_, line)| *line);
            let alone = label.members.is_empty();
            lines.extend(listed.filter(|line| alone || !self.lines[*line].key.exclude.is_empty()));
        }
        lines.sort_unstable();
        lines.dedup();
        lines
    }

    /// Tells the waiters of lines that no worker serves any more.
    pub(super) fn refuse_unsupported(&mut self, lines: Vec<u32>) {
        for at in lines {
            let line = &self.lines[at];
            if self.is_supported(&line.labels, line.key.target.as_deref(), &line.key.exclude) {
                continue;
            }
            let waiters: Vec<(Ticket, u32)> = line.waiters.iter().map(|(t, w)| (*t, *w)).collect();
            for (ticket, waiter) in waiters {
                self.leave_line(at, ticket);
                self.settle(waiter, Stage::Refused(TakeError::NoWorker));
            }
        }
    }

    /// The first waiter that a slot of this worker fits.
    fn first_in_line(&self, at: u32) -> Option<(Ticket, u32)> {
        let entry = &self.workers[at];
        let key = entry.worker.key();
        let open = |line: &Line| !line.key.exclude.contains(&key);
        let labels = entry.labels.iter().filter_map(|offer| {
            self.labels[offer.label].lines.iter().find(|(_, line)| open(&self.lines[*line]))
        });
        let targeted = self.targets.get(entry.worker.id()).and_then(|lines| {
            lines.iter().find(|(_, line)| {
                let line = &self.lines[*line];
                open(line) && entry.offers_one_of(&line.labels)
            })
        });
        labels.chain(targeted).min().copied()
    }

    fn line_for(&mut self, wish: Wish<'_>) -> u32 {
        let mut exclude = wish.exclude.to_vec();
        exclude.sort_unstable();
        let key = LineKey { label: Arc::from(wish.label), target: wish.worker.map(Arc::from), exclude };
        if let Some(known) = self.line_keys.get(&key) {
            return *known;
        }
        let labels = self.suitable(wish.label);
        let at = self.lines.insert(Line { key: key.clone(), labels, waiters: BTreeMap::new() });
        self.line_keys.insert(key, at);
        at
    }

    /// Takes a waiter out of its line, and the line away once it is empty.
    fn leave_line(&mut self, line: u32, ticket: Ticket) {
        self.edit_line(line, |waiters| {
            waiters.remove(&ticket);
        });
        if let Ok(rank) = self.order.binary_search(&ticket) {
            self.order.remove(rank);
        }
        if self.lines[line].waiters.is_empty()
            && let Some(gone) = self.lines.remove(line)
        {
            self.line_keys.remove(&gone.key);
        }
    }

    /// Changes who stands in a line, and lists it again if its head changed.
    fn edit_line(&mut self, at: u32, edit: impl FnOnce(&mut BTreeMap<Ticket, u32>)) {
        let before = self.head(at);
        edit(&mut self.lines[at].waiters);
        let after = self.head(at);
        if before == after {
            return;
        }
        let line = &self.lines[at];
        let Some(target) = &line.key.target else {
            for label in &line.labels {
                let lines = &mut self.labels[*label].lines;
                before.map(|ticket| lines.remove(&(ticket, at)));
                lines.extend(after.map(|ticket| (ticket, at)));
            }
            return;
        };
        let lines = self.targets.entry(Arc::clone(target)).or_default();
        before.map(|ticket| lines.remove(&(ticket, at)));
        lines.extend(after.map(|ticket| (ticket, at)));
        if lines.is_empty() {
            self.targets.remove(target);
        }
    }

    fn head(&self, line: u32) -> Option<Ticket> {
        self.lines[line].waiters.first_key_value().map(|(ticket, _)| *ticket)
    }

    fn settle(&mut self, waiter: u32, stage: Stage) {
        let before = std::mem::replace(&mut self.waiters[waiter].stage, stage);
        if let Stage::Waiting { waker: Some(waker), .. } = before {
            self.leftovers.wakers.push(waker);
        }
    }
}
