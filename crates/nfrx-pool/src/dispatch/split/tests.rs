use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use nfrx_spi::{
    ApiError, BodyError, CloseReason, Joined, PartitionError, PartitionObserver, Tunnel, WorkerRegistry,
};
use proptest::prelude::*;

use super::*;
use crate::testing::{Bench, newcomer_over, poll};
use crate::{Limits, Work};

mod numbers;
mod property;
mod world;

use numbers::Numbers;
use world::{Next, World};

#[test]
fn what_fits_its_worker_goes_there_as_it_is() {
    // Seen to fail: when a worker's other slots count as other workers.
    for workers in ["a:100/1", "a:0/1", "a:0/3", "a:7/4"] {
        let world = World::new(workers);
        assert_eq!(world.answer(7, 8), numbers(0..7), "workers were `{workers}`");
        // The client's own body, not one of ours; and nothing to report of chunks.
        assert_eq!(world.sent("a"), ["whole 0 1 2 3 4 5 6"]);
        assert!(world.told().is_empty());
    }
}

#[test]
fn each_worker_gets_what_it_likes_at_once() {
    let world = World::new("a:4/1 b:2/1 c:1/1");
    assert_eq!(world.answer(40, 8), numbers(0..40));
    for (worker, most) in [("a", 4), ("b", 2), ("c", 1)] {
        let lengths: Vec<usize> = world.sent(worker).iter().map(|body| body.split(' ').count()).collect();
        assert!(lengths.iter().all(|length| *length <= most), "{worker} was sent {lengths:?}");
        assert!(!lengths.is_empty(), "{worker} had nothing to do");
    }
    assert_eq!(world.in_flight(), 0);
}

#[test]
fn workers_without_a_wish_share_fairly() {
    let world = World::new("a:0/1 b:0/1 c:0/1");
    assert_eq!(world.answer(9, 8), numbers(0..9));
    for worker in ["a", "b", "c"] {
        assert_eq!(world.sent(worker).len(), 1, "{worker}");
    }
    // Three workers could, but only two may.
    let world = World::new("a:0/1 b:0/1 c:0/1");
    assert_eq!(world.answer(9, 2), numbers(0..9));
    let sent: usize = ["a", "b", "c"].iter().map(|worker| world.sent(worker).len()).sum();
    assert_eq!(sent, 2);
}

#[test]
fn no_more_chunks_run_at_once_than_may() {
    let world = World::new("a:1/4 b:1/4");
    for worker in ["a", "b"] {
        world.will(worker, &[Next::Hangs; 4]);
    }
    let mut running = world.run(20, 3);
    assert!(poll(&mut running).is_pending());
    // Seen to fail: without the bound on what runs.
    assert_eq!(world.in_flight(), 3);
}

#[test]
fn a_worker_that_becomes_idle_takes_what_is_left() {
    let world = World::new("a:1/1 b:1/1");
    let other = world.bench.pool.take(&world.bench.pool.want("phi")).unwrap();
    let (busy, free) = if other.worker().id() == "a" { ("a", "b") } else { ("b", "a") };
    world.will(free, &[Next::Hangs]);
    let mut running = world.run(3, 8);
    assert!(poll(&mut running).is_pending());
    assert_eq!((world.sent(free).len(), world.sent(busy).len()), (1, 0));
    drop(other);
    assert!(poll(&mut running).is_pending());
    // Seen to fail: when only the end of a chunk makes it look again.
    assert_eq!(world.sent(busy).len(), 2);
}

#[test]
fn a_failed_chunk_is_tried_elsewhere() {
    let failures = [
        Next::Fails(CallError::Lost),
        Next::Fails(CallError::Busy),
        Next::Status(500),
        Next::Status(429),
        Next::Short,
        Next::Breaks,
    ];
    for failure in failures {
        let world = World::new("a:2/1 b:2/1");
        world.will("a", &[failure]);
        assert_eq!(world.answer(8, 8), numbers(0..8), "a's failure was {failure:?}");
        assert!(world.told().contains(&"a-2".to_owned()), "{failure:?}: {:?}", world.told());
        assert_eq!(world.told().last().map(String::as_str), Some("phi 8 true"));
        assert_eq!(world.in_flight(), 0);
    }
}

#[test]
fn the_callers_own_fault_is_the_answer_and_stops_all_else() {
    let world = World::new("a:2/1 b:2/1");
    world.will("a", &[Next::Status(422)]);
    world.will("b", &[Next::Hangs]);
    let (status, body) = world.outcome(8, 8).expect("an answer of the worker");
    // Seen to fail: when a status of 4xx is tried elsewhere like any other.
    assert_eq!((status, body.as_str()), (422, "because"));
    assert_eq!(world.in_flight(), 0, "b's chunk was cancelled");
    assert_eq!(world.told().last().map(String::as_str), Some("phi 8 false"));
}

#[test]
fn a_chunk_that_every_worker_fails_ends_it_all() {
    let world = World::new("a:2/1 b:2/1 c:2/1 d:2/1 e:2/1");
    for worker in ["a", "b", "c", "d", "e"] {
        world.will(worker, &[Next::Status(503); 9]);
    }
    let (status, _) = world.outcome(2 * 5, 1).expect("an answer of a worker");
    assert_eq!(status, 503);
    // Once, and twice again.
    let failed = world.told().iter().filter(|line| line.contains('-')).count();
    assert_eq!(failed, 3);
}

#[test]
fn without_another_worker_the_first_failure_is_the_end() {
    let world = World::new("a:2/2");
    world.will("a", &[Next::Fails(CallError::Unreachable)]);
    let error = world.outcome(8, 8).expect_err("nobody else is there");
    assert_eq!(error, DispatchError::Call(CallError::Unreachable));
    assert_eq!(world.in_flight(), 0);
}

#[test]
fn answers_that_are_too_large_together_are_not_held() {
    let world = World::new("a:2/1 b:2/1");
    let spread = Spread { parallel_max: 8, answer_bytes_max: 5 };
    let error = world.finish(world.run_with(8, spread, Limits::default())).expect_err("over the bound");
    assert_eq!(error, DispatchError::AnswerTooLarge);
    assert!(matches!(ApiError::from(error), ApiError::UpstreamError));
}

#[test]
fn a_client_that_leaves_cancels_every_chunk() {
    let world = World::new("a:1/2 b:1/2");
    world.will("a", &[Next::Hangs; 2]);
    world.will("b", &[Next::Hangs; 2]);
    let mut running = world.run(9, 8);
    assert!(poll(&mut running).is_pending());
    assert_eq!((world.in_flight(), world.bench.pool.queue_len()), (4, 1));
    drop(running);
    assert_eq!((world.in_flight(), world.bench.pool.queue_len(), world.open()), (0, 0, 0));
}

#[test]
fn a_silent_worker_ends_at_the_idle_limit() {
    let world = World::new("a:1/1");
    world.will("a", &[Next::Hangs]);
    let limits = Limits { idle: Duration::from_secs(120), ..Limits::default() };
    let mut running = world.run_with(2, Spread { parallel_max: 8, answer_bytes_max: 99 }, limits);
    assert!(poll(&mut running).is_pending());
    world.bench.clock.advance(Duration::from_secs(121));
    assert!(matches!(poll(&mut running), Poll::Ready(Err(DispatchError::Timeout))));
}

#[test]
fn busy_workers_are_an_error_at_once() {
    let world = World::new("a:1/1");
    let _slot = world.bench.pool.take(&world.bench.pool.want("phi")).unwrap();
    assert_eq!(world.outcome(4, 8).expect_err("no slot"), DispatchError::QueueFull);
}

#[test]
fn a_request_for_more_does_not_overtake() {
    let world = World::new("a:1/1 b:1/1");
    let other = world.bench.pool.take(&world.bench.pool.want("phi")).unwrap();
    let busy = other.worker().id().to_owned();
    let free = if busy == "a" { "b" } else { "a" };
    world.will(free, &[Next::Hangs]);
    let mut running = world.run(3, 8);
    let early = world.bench.pool.want("phi");
    assert!(poll(&mut running).is_pending());
    // It came after the request, but before that wanted a second worker.
    let mut waiting = world.bench.pool.wait(&early);
    drop(other);
    // Seen to fail: when a wait for more keeps the request's ticket.
    assert!(poll(&mut waiting).is_ready());
    assert!(world.sent(&busy).is_empty());
}

fn numbers(range: std::ops::Range<usize>) -> String {
    range.map(|n| n.to_string()).collect::<Vec<_>>().join(" ")
}
