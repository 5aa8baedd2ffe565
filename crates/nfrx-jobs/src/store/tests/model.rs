//! Any order of what may happen to jobs, crashes too: the store against a model of the rules
//! that knows nothing of it.

use proptest::prelude::*;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::*;
use crate::job::{JobChannel, Side};
use crate::spool::Object;

const LEASE: u64 = 1000;
const GRACE: u64 = 300;
const KEYS_MAX: usize = 8;

/// One thing that happens. Jobs are named by their number, as far as there are so many.
#[derive(Debug, Clone)]
enum Op {
    Create {
        kind: u8,
        priority: i64,
        delay: Option<u64>,
        life: Option<u64>,
        attempts: u32,
        retry: Option<u64>,
        payload: bool,
    },
    Claim {
        kind: Option<u8>,
    },
    Report {
        job: usize,
        says: Says,
        state: Status,
    },
    Renew {
        job: usize,
        says: Says,
    },
    Open {
        job: usize,
        says: Says,
        side: bool,
    },
    Undelivered {
        job: usize,
        says: Says,
    },
    Store {
        job: usize,
    },
    Cancel {
        job: usize,
    },
    Pass {
        millis: u64,
    },
    Crash,
}

/// By which right a worker speaks.
#[derive(Debug, Clone, Copy)]
enum Says {
    Nothing,
    TheToken,
    AnOldToken,
}

fn says() -> impl Strategy<Value = Says> {
    prop_oneof![1 => Just(Says::Nothing), 4 => Just(Says::TheToken), 1 => Just(Says::AnOldToken)]
}

fn op() -> impl Strategy<Value = Op> {
    let job = 0..6_usize;
    let create = (
        0..3_u8,
        -1..2_i64,
        prop::option::weighted(0.2, 1..2000_u64),
        prop::option::weighted(0.2, 1..6000_u64),
    )
        .prop_flat_map(|(kind, priority, delay, life)| {
            (1..4_u32, prop::option::weighted(0.3, 1..900_u64), prop::bool::weighted(0.2)).prop_map(
                move |(attempts, retry, payload)| Op::Create {
                    kind,
                    priority,
                    delay,
                    life,
                    attempts,
                    retry,
                    payload,
                },
            )
        });
    prop_oneof![
        4 => create,
        5 => prop::option::of(0..3_u8).prop_map(|kind| Op::Claim { kind }),
        4 => (job.clone(), says(), prop::sample::select(&Status::ALL[..]))
            .prop_map(|(job, says, state)| Op::Report { job, says, state }),
        2 => (job.clone(), says()).prop_map(|(job, says)| Op::Renew { job, says }),
        2 => (job.clone(), says(), any::<bool>()).prop_map(|(job, says, side)| Op::Open { job, says, side }),
        1 => (job.clone(), says()).prop_map(|(job, says)| Op::Undelivered { job, says }),
        2 => job.clone().prop_map(|job| Op::Store { job }),
        1 => job.prop_map(|job| Op::Cancel { job }),
        4 => (1..1500_u64).prop_map(|millis| Op::Pass { millis }),
        1 => Just(Op::Crash),
    ]
}

/// A job as the rules have it.
#[derive(Debug, Clone)]
struct Known {
    kind: u8,
    priority: i64,
    status: Status,
    attempt: u32,
    attempts: u32,
    retry: Option<u64>,
    token: Option<String>,
    old_token: String,
    token_used: bool,
    until: u64,
    ready_at: Option<u64>,
    ends_at: Option<u64>,
    waits_for_payload: bool,
}

/// What the rules say of a step: done, refused, or no claim of the speaker's.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Done,
    Refused,
    Lost,
}

impl Known {
    fn held(&self) -> bool {
        !matches!(self.status, Status::Queued | Status::Completed | Status::Failed | Status::Canceled)
    }

    fn ended(&self) -> bool {
        matches!(self.status, Status::Completed | Status::Failed | Status::Canceled)
    }

    fn can_be_claimed(&self) -> bool {
        self.status == Status::Queued && self.ready_at.is_none() && !self.waits_for_payload
    }

    fn speaks(&self, says: Says) -> Option<String> {
        match says {
            Says::Nothing => None,
            Says::TheToken => Some(self.token.clone().unwrap_or_else(|| "none".to_owned())),
            Says::AnOldToken => Some(self.old_token.clone()),
        }
    }

    /// What a worker does to it, who needs to hold the job.
    fn by_worker(&mut self, says: Says, now: u64, step: impl FnOnce(&mut Self)) -> Verdict {
        let said = self.speaks(says);
        let is_lost = match (&said, &self.token) {
            (Some(said), Some(token)) => said != token,
            (Some(_), None) => true,
            (None, token) => token.is_some() && self.token_used && self.held(),
        };
        if is_lost {
            return Verdict::Lost;
        }
        if !self.held() {
            return Verdict::Refused;
        }
        step(self);
        if self.held() {
            self.until = now + LEASE;
            self.token_used |= said.is_some();
        }
        Verdict::Done
    }

    fn requeue(&mut self) {
        self.old_token = self.token.take().unwrap_or_default();
        (self.status, self.ready_at) = (Status::Queued, None);
    }

    fn pass(&mut self, now: u64) {
        if self.ended() {
            return;
        }
        if self.ends_at.is_some_and(|ends| ends <= now) {
            self.status = Status::Failed;
        } else if self.held() && self.until <= now {
            if self.attempt < self.attempts {
                self.requeue();
                self.attempt += 1;
            } else {
                self.status = Status::Failed;
            }
        } else if self.ready_at.is_some_and(|ready| ready <= now) {
            self.ready_at = None;
        }
    }
}

/// A store and the model of it.
struct World {
    store: Engine,
    /// Where the store is, if a crash leaves it.
    folder: Option<TempDir>,
    known: Vec<Known>,
    now: u64,
    tokens: u32,
}

fn engine(folder: Option<&TempDir>) -> Engine {
    match folder {
        Some(folder) => Engine::durable(folder.path()).expect("it is nobody else's"),
        None => Engine::in_memory().expect("memory"),
    }
}

impl World {
    fn new(folder: Option<TempDir>) -> Self {
        Self { store: engine(folder.as_ref()), folder, known: Vec::new(), now: NOW.0, tokens: 0 }
    }

    async fn run(&mut self, op: Op) {
        match op {
            Op::Create { kind, priority, delay, life, attempts, retry, payload } => {
                let now = self.now;
                let made = Order {
                    priority,
                    not_before: delay.map(|delay| Millis(now + delay)),
                    expires_at: life.map(|life| Millis(now + life)),
                    max_attempts: attempts,
                    retry_delay: retry.map(Millis),
                    payload_keys: payload.then(|| "p".to_owned()).into_iter().collect(),
                    ..order(&kind.to_string())
                };
                let id = self.known.len().to_string();
                let new = NewJob { now: Millis(now), ..new_job(&id, made) };
                assert!(matches!(self.store.create(new).await.expect("works"), Created::New(_)));
                self.known.push(Known {
                    kind,
                    priority,
                    status: Status::Queued,
                    attempt: 1,
                    attempts,
                    retry,
                    token: None,
                    old_token: "never".to_owned(),
                    token_used: false,
                    until: 0,
                    ready_at: delay.map(|delay| now + delay),
                    ends_at: life.map(|life| now + life),
                    waits_for_payload: payload,
                });
            }
            Op::Claim { kind } => self.claim(kind).await,
            Op::Report { job, says, state } => {
                let change = Change::Report { state, progress: None, error: None };
                let now = self.now;
                self.by_worker(job, says, change, |known| match (state, known.retry) {
                    (Status::Queued, _) => known.requeue(),
                    (Status::Failed, Some(retry)) if known.attempt < known.attempts => {
                        let wait = retry << (known.attempt - 1);
                        known.requeue();
                        known.attempt += 1;
                        known.ready_at = Some(now + wait);
                    }
                    _ => known.status = state,
                })
                .await;
            }
            Op::Renew { job, says } => {
                if self.known.get(job).is_some_and(|known| known.status == Status::Canceled) {
                    // Its worker learns of that, and nothing else happens.
                    return;
                }
                self.by_worker(job, says, Change::Renew { lease: None }, |_| {}).await;
            }
            Op::Open { job, says, side } => {
                let channel = JobChannel {
                    id: "c".to_owned(),
                    expires_at: Millis(0),
                    properties: None,
                    spooled: false,
                    revision: 0,
                };
                let (side, next) = match side {
                    true => (Side::Payload, Status::AwaitingPayload),
                    false => (Side::Result, Status::AwaitingResult),
                };
                let change = Change::Open { side, key: "p".to_owned(), channel, keys_max: KEYS_MAX };
                self.by_worker(job, says, change, |known| known.status = next).await;
            }
            Op::Undelivered { job, says } => {
                let Some(known) = self.known.get_mut(job) else { return };
                let token = known.speaks(says).unwrap_or_default();
                let is_it = known.status == Status::Claimed && known.token.as_ref() == Some(&token);
                if is_it {
                    known.requeue();
                }
                self.by_server(job, Change::Undelivered { token }, is_it).await;
            }
            Op::Store { job } => {
                let Some(known) = self.known.get_mut(job) else { return };
                let may = !known.ended();
                known.waits_for_payload &= !may;
                let object = Object {
                    file: "f".to_owned(),
                    bytes: 1,
                    sha256: String::new(),
                    content_type: None,
                    stored_at: Millis(self.now),
                };
                let key = "p".to_owned();
                let change =
                    Change::Store { side: Side::Payload, key, object, channel: None, keys_max: KEYS_MAX };
                self.by_server(job, change, may).await;
            }
            Op::Cancel { job } => {
                let Some(known) = self.known.get_mut(job) else { return };
                if !known.ended() {
                    known.status = Status::Canceled;
                }
                self.by_server(job, Change::Cancel, true).await;
            }
            Op::Pass { millis } => {
                self.now += millis;
                let now = self.now;
                self.known.iter_mut().for_each(|known| known.pass(now));
                let for_ever = Retention { done: Millis(u64::MAX), failed: Millis(u64::MAX) };
                self.store.sweep(for_ever, Millis(now)).await.expect("works");
            }
            Op::Crash => self.crash().await,
        }
    }

    async fn claim(&mut self, kind: Option<u8>) {
        self.tokens += 1;
        let token = format!("t{}", self.tokens);
        let fits = |known: &Known| known.can_be_claimed() && kind.is_none_or(|kind| known.kind == kind);
        let fitting = self.known.iter().enumerate().filter(|(_, known)| fits(known));
        let best = fitting.min_by_key(|(nth, known)| (-known.priority, *nth)).map(|(nth, _)| nth);
        let kinds = kind.map(|kind| kind.to_string()).into_iter().collect();
        let seeker = Arc::new(Seeker { kinds, ..seeker() });
        let got = self.store.claim(seeker, token.clone(), Millis(self.now)).await.expect("works");
        assert_eq!(got.map(|job| job.id), best.map(|nth| nth.to_string()), "the best that fits is given");
        if let Some(known) = best.and_then(|nth| self.known.get_mut(nth)) {
            (known.status, known.token, known.token_used) = (Status::Claimed, Some(token), false);
            known.until = self.now + LEASE;
        }
    }

    async fn by_worker(&mut self, job: usize, says: Says, change: Change, step: impl FnOnce(&mut Known)) {
        let Some(known) = self.known.get_mut(job) else { return };
        let said = known.speaks(says);
        let verdict = known.by_worker(says, self.now, step);
        let step =
            Step { id: job.to_string(), change, worker: Some(said), owner: None, now: Millis(self.now) };
        let found = match self.store.change(step).await.expect("works") {
            Ok(_) => Verdict::Done,
            Err(Refused::ClaimLost) => Verdict::Lost,
            Err(_) => Verdict::Refused,
        };
        assert_eq!(found, verdict, "{job}: {:?}", self.known[job]);
    }

    async fn by_server(&mut self, job: usize, change: Change, may: bool) {
        let step = Step { id: job.to_string(), change, worker: None, owner: None, now: Millis(self.now) };
        let done = self.store.change(step).await.expect("works");
        assert_eq!(done.is_ok(), may, "{job}: {:?}", self.known[job]);
    }

    /// The process is gone and another begins where it was.
    async fn crash(&mut self) {
        if self.folder.is_none() {
            return;
        }
        // Its folder is locked as long as it lives.
        self.store = engine(None);
        self.store = engine(self.folder.as_ref());
        self.store.resume(Millis(GRACE), Millis(self.now)).await.expect("works");
        for known in self.known.iter_mut().filter(|known| known.held()) {
            known.until = known.until.max(self.now + GRACE);
        }
    }

    /// Every job is as the rules have it.
    async fn compare(&self) {
        for (nth, known) in self.known.iter().enumerate() {
            let job = self.store.get(nth.to_string()).await.expect("works").expect("none is lost");
            assert_eq!((job.status, job.attempt), (known.status, known.attempt), "{nth}: {known:?}");
            if known.held() {
                let claim = job.claim.as_ref().expect("it is held");
                assert_eq!(
                    (Some(&claim.token), claim.until),
                    (known.token.as_ref(), Millis(known.until)),
                    "{nth}"
                );
            }
            assert_eq!(job.is_ready(), known.can_be_claimed(), "{nth}: {known:?}");
            assert_eq!(job.finished_at.is_some(), known.ended(), "{nth}");
        }
    }
}

fn follow(folder: Option<TempDir>, ops: Vec<Op>) {
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut world = World::new(folder);
        for op in ops {
            world.run(op).await;
            world.compare().await;
        }
    });
}

// Seen to fail: with a lease that outlives its end, with the oldest job given whatever its
// priority, with an attempt that is not counted, and with a claim that a crash forgets.
proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_store_in_memory_keeps_the_rules(ops in prop::collection::vec(op(), 1..60)) {
        follow(None, ops);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn the_store_on_the_disk_keeps_the_rules_through_crashes(ops in prop::collection::vec(op(), 1..60)) {
        follow(Some(tempfile::tempdir().expect("a folder")), ops);
    }
}
