//! A large pool: taking a slot, and handing one over.

use std::collections::VecDeque;
use std::future::Future as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use nfrx_pool::fuzzing::{Idle, config};
use nfrx_pool::{Pool, Slot, TakeError, Waiting};
use nfrx_spi::{Caller, Joined, Newcomer, Registration, Scopes, WorkerIntake as _};

use crate::Operation;

const WORKERS: usize = 10_000;
/// Models in all.
pub const MODELS: usize = 1_000;
/// How many of them each worker offers.
pub const MODELS_EACH: usize = 4;
/// Requests in the queue.
const WAITING: usize = 1_000;

/// Wants, takes and frees a slot; each time of another model.
pub(crate) fn take() -> Operation {
    let (pool, joined) = pool(WORKERS, 4, 0);
    let models: Vec<Arc<str>> = (0..MODELS).map(|nth| model(nth).into()).collect();
    let mut turns = (0..MODELS).cycle();
    Box::new(move || {
        let _connected = &joined;
        let model = Arc::clone(&models[turns.next().expect("it never ends")]);
        drop(pool.take(&pool.want(model)).expect("most are free"));
    })
}

/// Frees the only slot, which the next waiter gets, and waits anew behind the others.
pub(crate) fn hand_over() -> Operation {
    let (pool, joined) = pool(1, 1, WAITING);
    let model: Arc<str> = model(0).into();
    let mut slot = Some(pool.take(&pool.want(Arc::clone(&model))).expect("it is free"));
    let mut cx = Context::from_waker(Waker::noop());
    let mut queue: VecDeque<_> = VecDeque::with_capacity(WAITING);
    let wait = move |cx: &mut Context<'_>| {
        let mut waiting = pool.wait(&pool.want(Arc::clone(&model)));
        assert!(poll(&mut waiting, cx).is_pending(), "the slot is taken");
        waiting
    };
    for _ in 0..WAITING {
        queue.push_back(wait(&mut cx));
    }
    Box::new(move || {
        let _connected = &joined;
        let mut cx = Context::from_waker(Waker::noop());
        slot.take();
        let mut next = queue.pop_front().expect("somebody waits");
        let Poll::Ready(Ok(handed)) = poll(&mut next, &mut cx) else { panic!("it was its turn") };
        slot = Some(handed);
        queue.push_back(wait(&mut cx));
    })
}

fn poll(waiting: &mut Waiting, cx: &mut Context<'_>) -> Poll<Result<Slot, TakeError>> {
    Pin::new(waiting).poll(cx)
}

/// The name of a model.
pub fn model(nth: usize) -> String {
    format!("family{}:7b-q{nth}", nth / 4)
}

/// A pool and its workers' places in it, each with so many slots.
pub fn pool(workers: usize, slots: u32, queue_max: usize) -> (Pool, Vec<Joined>) {
    let pool = Pool::new(config(workers, queue_max));
    let caller = Caller {
        peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        key: None,
        scopes: Arc::new(Scopes::default()),
    };
    let join = |nth: usize| {
        let registration = Registration {
            worker_id: format!("w{nth}"),
            models: (0..MODELS_EACH).map(|m| model((nth * 7 + m * 251) % MODELS)).collect(),
            max_concurrency: slots,
            ..Registration::default()
        };
        let newcomer =
            Newcomer { registration, tunnel: Arc::new(Idle), caller: caller.clone(), resume: None };
        let joined = pool.join(newcomer).expect("there is room");
        joined.membership.open();
        joined
    };
    let joined = (0..workers).map(join).collect();
    (pool, joined)
}
