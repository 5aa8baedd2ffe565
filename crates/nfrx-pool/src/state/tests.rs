use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use nfrx_spi::{Joined, StatusUpdate, WorkerRef, WorkerRegistry};
use proptest::prelude::*;

use crate::testing::{Bench, FakeTunnel, newcomer, poll};
use crate::{Slot, TakeError, Waiting, Want};

const MODELS: [&str; 4] = ["m:7b-a", "m:7b-b", "m:8b", "phi"];
const WORKERS: [&str; 3] = ["a", "b", "c"];

/// One thing that happens to a pool. Numbers choose among what is there.
#[derive(Debug, Clone)]
enum Step {
    Join {
        worker: usize,
        models: u8,
        slots: u32,
    },
    Leave(usize),
    Update {
        worker: usize,
        models: Option<u8>,
        slots: u32,
        draining: bool,
    },
    Hold(usize, bool),
    Take(Wanted),
    Wait(Wanted),
    Poll(usize),
    Free(usize),
    GoAway(usize),
    /// A request fails where it is, and waits for another worker.
    Again(usize),
}

#[derive(Debug, Clone)]
struct Wanted {
    model: usize,
    target: Option<usize>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let wanted = || {
        (0..MODELS.len(), proptest::option::weighted(0.3, 0..WORKERS.len()))
            .prop_map(|(model, target)| Wanted { model, target })
    };
    let worker = || 0..WORKERS.len();
    let step = prop_oneof![
        3 => (worker(), 0..16u8, 0..4u32).prop_map(|(worker, models, slots)| Step::Join { worker, models, slots }),
        1 => worker().prop_map(Step::Leave),
        2 => (worker(), proptest::option::of(0..16u8), 0..4u32, proptest::bool::weighted(0.2))
            .prop_map(|(worker, models, slots, draining)| Step::Update { worker, models, slots, draining }),
        1 => (worker(), any::<bool>()).prop_map(|(worker, held)| Step::Hold(worker, held)),
        2 => wanted().prop_map(Step::Take),
        6 => wanted().prop_map(Step::Wait),
        4 => (0..64usize).prop_map(Step::Poll),
        4 => (0..64usize).prop_map(Step::Free),
        1 => (0..64usize).prop_map(Step::GoAway),
        2 => (0..64usize).prop_map(Step::Again),
    ];
    proptest::collection::vec(step, 1..80)
}

fn models(bits: u8) -> Vec<&'static str> {
    MODELS.iter().enumerate().filter(|(nth, _)| bits & 1 << nth != 0).map(|(_, model)| *model).collect()
}

/// What the naive model knows of a worker.
struct Worker {
    models: Vec<&'static str>,
    slots: u32,
    draining: bool,
    held: bool,
    joined: Joined,
}

/// A request, wherever it stands.
struct Asking {
    want: Want,
    model: &'static str,
    target: Option<&'static str>,
    /// Connections tried, by epoch.
    tried: Vec<u64>,
    order: usize,
}

/// The pool, and beside it what should be so.
struct Trial {
    bench: Bench,
    /// Whether any worker will do (a `min_score` of 0).
    any: bool,
    workers: BTreeMap<&'static str, Worker>,
    /// In order of asking; those granted a slot they have not taken are among them.
    waiting: Vec<(Asking, Waiting)>,
    /// With the epoch of the connection they are on.
    running: Vec<(Asking, Slot)>,
    asked: usize,
    /// How much was with each connection, by epoch, after the last step.
    loads: BTreeMap<u64, usize>,
}

impl Trial {
    fn new(any: bool) -> Self {
        let bench = Bench::with(|config| {
            config.queue_max = 1000;
            config.min_score = if any { 0.0 } else { 0.01 };
        });
        Self {
            bench,
            any,
            workers: BTreeMap::new(),
            waiting: vec![],
            running: vec![],
            asked: 0,
            loads: BTreeMap::new(),
        }
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Join { worker, models: bits, slots } => self.join(WORKERS[worker], models(bits), slots),
            Step::Leave(worker) => drop(self.workers.remove(WORKERS[worker])),
            Step::Update { worker, models: bits, slots, draining } => {
                let Some(worker) = self.workers.get_mut(WORKERS[worker]) else { return };
                (worker.slots, worker.draining) = (slots, draining);
                worker.models = bits.map_or(worker.models.clone(), models);
                worker.joined.membership.update(StatusUpdate {
                    max_concurrency: slots,
                    models: bits.map(|bits| models(bits).into_iter().map(str::to_owned).collect()),
                    status: draining.then(|| "draining".to_owned()),
                    agent_config: None,
                });
            }
            Step::Hold(worker, held) => {
                let Some(known) = self.workers.get_mut(WORKERS[worker]) else { return };
                known.held = held;
                let pool = &self.bench.pool;
                assert!(if held {
                    pool.drain_worker(WORKERS[worker])
                } else {
                    pool.undrain_worker(WORKERS[worker])
                });
            }
            Step::Take(wanted) => self.take(&wanted),
            Step::Wait(wanted) => self.wait(&wanted),
            Step::Poll(nth) => self.poll(nth),
            Step::Free(nth) => {
                if let Some(nth) = nth.checked_rem(self.running.len()) {
                    self.running.swap_remove(nth);
                }
            }
            Step::GoAway(nth) => {
                if let Some(nth) = nth.checked_rem(self.waiting.len()) {
                    self.waiting.remove(nth);
                }
            }
            Step::Again(nth) => {
                if let Some(nth) = nth.checked_rem(self.running.len()) {
                    let (mut asking, slot) = self.running.swap_remove(nth);
                    asking.want.exclude(&slot);
                    asking.tried.push(slot.key().epoch);
                    drop(slot);
                    self.ask(asking);
                }
            }
        }
    }

    fn join(&mut self, id: &'static str, models: Vec<&'static str>, slots: u32) {
        let mut asks = newcomer(id, &models, slots, &FakeTunnel::new("nfrx.h2"));
        let old = self.workers.remove(id);
        asks.resume = old.as_ref().map(|old| old.joined.resume.clone());
        let joined = self.bench.try_join(asks).unwrap();
        joined.membership.open();
        let held = old.as_ref().is_some_and(|old| old.held);
        // The old connection's end comes late, and must touch nothing.
        drop(old);
        self.workers.insert(id, Worker { models, slots, draining: false, held, joined });
    }

    fn asking(&mut self, wanted: &Wanted) -> Asking {
        let (model, target) = (MODELS[wanted.model], wanted.target.map(|target| WORKERS[target]));
        let mut want = self.bench.pool.want(model);
        if let Some(target) = target {
            want = want.on_worker(target);
        }
        self.asked += 1;
        Asking { want, model, target, tried: vec![], order: self.asked }
    }

    fn take(&mut self, wanted: &Wanted) {
        let asking = self.asking(wanted);
        let expected = self.best(&asking);
        match self.bench.pool.take(&asking.want) {
            Ok(slot) => self.starts(asking, slot, &expected),
            Err(error) => self.fails(&asking, error, &expected),
        }
    }

    fn wait(&mut self, wanted: &Wanted) {
        let asking = self.asking(wanted);
        self.ask(asking);
    }

    fn ask(&mut self, asking: Asking) {
        let expected = self.best(&asking);
        let mut waiting = self.bench.pool.wait(&asking.want);
        match poll(&mut waiting) {
            Poll::Ready(Ok(slot)) => self.starts(asking, slot, &expected),
            Poll::Ready(Err(error)) => self.fails(&asking, error, &expected),
            Poll::Pending => {
                assert!(expected.is_empty() && self.is_supported(&asking), "it waits for nothing");
                let rank = self.waiting.partition_point(|(other, _)| other.order < asking.order);
                self.waiting.insert(rank, (asking, waiting));
            }
        }
    }

    fn poll(&mut self, nth: usize) {
        let Some(nth) = nth.checked_rem(self.waiting.len()) else { return };
        match poll(&mut self.waiting[nth].1) {
            Poll::Pending => {}
            Poll::Ready(Ok(slot)) => {
                let (asking, _) = self.waiting.remove(nth);
                assert!(slot.pool().read(|state| state.entry(slot.key()).is_some()), "its worker is gone");
                self.running.push((asking, slot));
            }
            Poll::Ready(Err(error)) => {
                self.waiting.remove(nth);
                assert_eq!(error, TakeError::NoWorker);
            }
        }
    }

    fn starts(&mut self, asking: Asking, slot: Slot, expected: &[&str]) {
        assert!(expected.contains(&slot.worker().id()), "{} is not among {expected:?}", slot.worker().id());
        self.running.push((asking, slot));
    }

    fn fails(&self, asking: &Asking, error: TakeError, expected: &[&str]) {
        assert!(expected.is_empty(), "{expected:?} had room");
        let reason = if self.is_supported(asking) { TakeError::Busy } else { TakeError::NoWorker };
        assert_eq!(error, reason);
    }

    /// The score that a worker gives a request, if it may have it at all.
    fn fits(&self, asking: &Asking, id: &str) -> Option<u32> {
        let worker = self.workers.get(id)?;
        if asking.target.is_some_and(|target| target != id) || asking.tried.contains(&worker.joined.epoch) {
            return None;
        }
        let alias = asking.model.starts_with("m:7b") && worker.models.iter().any(|m| m.starts_with("m:7b"));
        if worker.models.contains(&asking.model) {
            Some(2)
        } else {
            alias.then_some(1).or(self.any.then_some(0))
        }
    }

    fn is_supported(&self, asking: &Asking) -> bool {
        WORKERS.iter().any(|id| self.fits(asking, id).is_some())
    }

    fn has_room(&self, id: &str) -> bool {
        let worker = &self.workers[id];
        !worker.draining && !worker.held && self.bench.pool.in_flight(id) < worker.slots
    }

    /// Who may be given this now: the best score, then the least busy.
    fn best(&self, asking: &Asking) -> Vec<&'static str> {
        let free = WORKERS.into_iter().filter(|id| self.workers.contains_key(id) && self.has_room(id));
        let rank = |id: &&str| self.fits(asking, id).map(|s| (u32::MAX - s, self.bench.pool.in_flight(id)));
        let ranked: Vec<_> = free.filter_map(|id| Some((rank(&id)?, id))).collect();
        let best = ranked.iter().map(|(rank, _)| *rank).min();
        ranked.into_iter().filter(|(rank, _)| Some(*rank) == best).map(|(_, id)| id).collect()
    }

    /// What must hold after each step.
    fn check(&mut self) {
        let really_waits = |waiting: &Waiting| waiting.position().is_some();
        let mut rank = 0;
        for (asking, waiting) in &self.waiting {
            if !really_waits(waiting) {
                continue;
            }
            rank += 1;
            assert_eq!(waiting.position(), Some(rank), "places follow the order of asking");
            assert!(self.is_supported(asking), "it waits for a worker that is not there");
            assert!(self.best(asking).is_empty(), "it waits while a slot that fits is free");
        }
        assert_eq!(self.bench.pool.queue_len(), rank);
        for (id, worker) in &self.workers {
            let on = |slot: &&(Asking, Slot)| slot.1.key().epoch == worker.joined.epoch;
            let taken = self.running.iter().filter(on).count();
            let counted = self.bench.pool.in_flight(id) as usize;
            let granted = self.waiting.iter().filter(|(_, waiting)| !really_waits(waiting)).count();
            assert!(taken <= counted && counted <= taken + granted, "slots are lost or made up");
            let before = self.loads.insert(worker.joined.epoch, counted).unwrap_or(0);
            assert!(counted <= before.max(worker.slots as usize), "more than the worker takes");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    // Seen to fail: without `serve_waiters` in `change` or in `release`, without the
    // release in `abandon`, with a worker's key compared without its epoch, with lines not
    // told of a new label.
    #[test]
    fn whatever_happens_slots_and_waiters_are_where_they_belong(steps in steps(), any in any::<bool>()) {
        let mut trial = Trial::new(any);
        for step in steps {
            trial.apply(step);
            trial.check();
        }
        trial.waiting.clear();
        trial.running.clear();
        for id in WORKERS {
            prop_assert_eq!(trial.bench.pool.in_flight(id), 0, "a slot of {} leaked", id);
        }
        prop_assert_eq!(trial.bench.pool.queue_len(), 0);
    }

    /// One freed slot goes to the earliest waiter that it fits.
    #[test]
    fn a_freed_slot_goes_to_the_first_it_fits(wanted in proptest::collection::vec(0..MODELS.len(), 1..40)) {
        let bench = Bench::with(|config| config.queue_max = 1000);
        let (_a, _) = bench.join("a", &["m:7b-a", "phi"], 1);
        let (_b, _) = bench.join("b", &["m:8b", "phi"], 0);
        let mut busy = Some(bench.pool.take(&bench.pool.want("phi")).unwrap());
        let mut waiting: Vec<(usize, Pin<Box<Waiting>>)> =
            wanted.iter().map(|model| (*model, Box::pin(bench.pool.wait(&bench.pool.want(MODELS[*model]))))).collect();
        while let Some(first) = waiting.iter().position(|(model, _)| *model != 2) {
            drop(busy.take());
            for (nth, (_, waits)) in waiting.iter_mut().enumerate() {
                match waits.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
                    Poll::Ready(slot) => {
                        prop_assert_eq!(nth, first);
                        busy = Some(slot.unwrap());
                    }
                    Poll::Pending => prop_assert_ne!(nth, first),
                }
            }
            waiting.remove(first);
        }
    }
}
