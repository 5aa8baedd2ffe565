use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use nfrx_spi::metrics::SampleValue;
use nfrx_spi::{ApiError, BodyError, Collector, Joined, WorkerRegistry};

use super::*;
use crate::testing::{Bench, FakeTunnel, Piece, Reply, newcomer, poll};

const IDLE: Duration = Duration::from_secs(120);
const SECOND: Duration = Duration::from_secs(1);

fn work(pool: &Pool) -> Work {
    let request = Request::post("/chat/completions?a=1").header("x-a", "b").body(Body::from("{}")).unwrap();
    Work {
        want: pool.want("phi"),
        request,
        job_type: "llm.completion",
        metric_label: None,
        may_wait: true,
        limits: Limits { idle: IDLE, silence: Duration::ZERO, queue: 300 * SECOND },
        observer: None,
    }
}

/// Runs what needs no waiting.
#[track_caller]
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

/// Reads a body until it ends, breaks or waits.
fn read(body: &mut Body) -> (String, Poll<Option<BodyError>>) {
    let mut text = String::new();
    loop {
        match poll(&mut body.frame()) {
            Poll::Ready(Some(Ok(frame))) => {
                text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
            }
            Poll::Ready(Some(Err(error))) => return (text, Poll::Ready(Some(error))),
            Poll::Ready(None) => return (text, Poll::Ready(None)),
            Poll::Pending => return (text, Poll::Pending),
        }
    }
}

/// A pool with workers a, b, … that serve phi with one slot each.
fn bench(workers: usize) -> (Bench, Vec<(Joined, Arc<FakeTunnel>)>) {
    let bench = Bench::new();
    let workers = ["a", "b", "c", "d"][..workers].iter().map(|id| bench.join(id, &["phi"], 1)).collect();
    (bench, workers)
}

/// The value of a series, such as `nfrx_retries_total ext=llm reason=closed`.
fn series(bench: &Bench, wanted: &str) -> f64 {
    let (name, labels) = wanted.split_once(' ').unwrap_or((wanted, ""));
    let suits = |sample: &&nfrx_spi::metrics::Sample| {
        labels.split_whitespace().all(|label| {
            let (key, value) = label.split_once('=').unwrap();
            sample.labels.iter().any(|(k, v)| *k == key && v == value)
        })
    };
    let families = bench.metrics.collect();
    let family = families.iter().find(|family| family.name == name).unwrap();
    let value = |sample: &nfrx_spi::metrics::Sample| match &sample.value {
        SampleValue::Number(number) => *number,
        SampleValue::Histogram { count, .. } => *count as f64,
    };
    family.samples.iter().filter(suits).map(value).sum()
}

#[test]
fn an_answer_passes_through_and_frees_its_slot_at_its_end() {
    let (bench, workers) = bench(1);
    workers[0].1.will(Reply::Answers(200, vec![Piece::Bytes("one"), Piece::Bytes("two"), Piece::Bytes("")]));
    let mut answer = now(bench.pool.dispatch(work(&bench.pool)).run()).unwrap();
    assert_eq!(bench.pool.in_flight("a"), 1);
    assert!(matches!(read(answer.body_mut()), (text, Poll::Ready(None)) if text == "onetwo"));
    // The body still exists.
    assert_eq!(bench.pool.in_flight("a"), 0);
    let sent = &workers[0].1.requests.lock().unwrap()[0];
    assert_eq!((sent.method().as_str(), sent.uri().to_string().as_str()), ("POST", "/chat/completions?a=1"));
    assert_eq!(sent.headers()["x-a"], "b");
    assert_eq!(sent.body().as_deref(), Some(&b"{}"[..]));
}

#[test]
fn a_slot_is_free_with_the_last_byte() {
    let (bench, workers) = bench(1);
    workers[0].1.will(Reply::Answers(200, vec![Piece::Bytes("one"), Piece::Bytes("two")]));
    let mut answer = now(bench.pool.dispatch(work(&bench.pool)).run()).unwrap();
    let mut next = || poll(&mut answer.body_mut().frame()).is_ready();
    assert!(next() && bench.pool.in_flight("a") == 1);
    // Seen to fail: with the end noticed only when the reader asks once more.
    assert!(next() && bench.pool.in_flight("a") == 0);
}

#[test]
fn an_answer_known_to_be_empty_frees_its_slot_unread() {
    let (bench, _workers) = bench(1);
    let answer = now(bench.pool.dispatch(work(&bench.pool)).run()).unwrap();
    assert_eq!((bench.pool.in_flight("a"), answer.status().as_u16()), (0, 200));
    assert_eq!(series(&bench, "nfrx_request_completed_total success=true"), 1.0);
}

#[test]
fn a_failure_before_the_answer_goes_to_another_worker() {
    let free = [CallError::Lost, CallError::Draining, CallError::Busy, CallError::Unreachable];
    for error in free {
        let (bench, workers) = bench(3);
        workers.iter().for_each(|(_, tunnel)| {
            tunnel.will(Reply::Fails(error));
            tunnel.will(Reply::Answers(200, vec![]));
        });
        // All three are tried, none twice.
        let result = now(bench.pool.dispatch(work(&bench.pool)).run());
        assert_eq!(result.err(), Some(DispatchError::Call(error)));
        assert!(workers.iter().all(|(_, tunnel)| tunnel.calls() == 1), "{error}");
        let series_of = |reason: &str| series(&bench, &format!("nfrx_retries_total reason={reason}"));
        assert_eq!(series_of(error.code()), 2.0);
        assert!(["a", "b", "c"].iter().all(|id| bench.pool.in_flight(id) == 0));
    }
}

#[test]
fn two_retries_are_all() {
    let (bench, workers) = bench(4);
    workers.iter().for_each(|(_, tunnel)| tunnel.will(Reply::Fails(CallError::Busy)));
    let result = now(bench.pool.dispatch(work(&bench.pool)).run());
    assert_eq!(result.err(), Some(DispatchError::Call(CallError::Busy)));
    assert_eq!(workers.iter().map(|(_, tunnel)| tunnel.calls()).sum::<usize>(), 3);
}

#[test]
fn what_may_have_had_an_effect_is_not_tried_again() {
    for error in [CallError::Timeout, CallError::Upstream, CallError::RequestBody, CallError::Refused] {
        let (bench, workers) = bench(2);
        workers.iter().for_each(|(_, tunnel)| tunnel.will(Reply::Fails(error)));
        let result = now(bench.pool.dispatch(work(&bench.pool)).run());
        assert_eq!(result.err(), Some(DispatchError::Call(error)));
        assert_eq!(workers[0].1.calls() + workers[1].1.calls(), 1, "{error}");
    }
}

/// A body that gives a piece whenever the test puts one in.
#[derive(Clone, Default)]
struct Dribble(Arc<Mutex<Vec<&'static str>>>);

impl http_body::Body for Dribble {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        let piece = self.0.lock().unwrap().pop();
        piece.map_or(Poll::Pending, |text| Poll::Ready(Some(Ok(http_body::Frame::data(text.into())))))
    }
}

fn upload(pool: &Pool, body: &Dribble) -> Work {
    let mut work = work(pool);
    *work.request.body_mut() = Body::stream(body.clone());
    work
}

// Seen to fail: when whatever a worker was given counts as sent.
#[test]
fn a_body_that_streams_goes_to_another_worker_while_nobody_took_of_it() {
    let (bench, workers) = bench(2);
    workers.iter().for_each(|(_, tunnel)| {
        tunnel.will(Reply::Fails(CallError::Lost));
        tunnel.will(Reply::Answers(200, vec![]));
    });
    let body = Dribble::default();
    assert!(now(bench.pool.dispatch(upload(&bench.pool, &body)).run()).is_err());
    assert_eq!(workers[0].1.calls() + workers[1].1.calls(), 2, "both were tried");
}

// Seen to fail: when a body counts as whole whatever was taken of it.
#[test]
fn a_body_that_streams_is_never_sent_twice() {
    for error in [CallError::Lost, CallError::Draining, CallError::Busy, CallError::Unreachable] {
        let (bench, workers) = bench(2);
        workers.iter().for_each(|(_, tunnel)| tunnel.will(Reply::FailsInside(error)));
        let body = Dribble(Arc::new(Mutex::new(vec!["first"])));
        let result = now(bench.pool.dispatch(upload(&bench.pool, &body)).run());
        assert_eq!(result.err(), Some(DispatchError::Call(error)));
        assert_eq!(workers[0].1.calls() + workers[1].1.calls(), 1, "{error}");
    }
}

// Seen to fail: when only the answer is a sign of life.
#[test]
fn an_upload_that_moves_is_no_silence() {
    let (bench, workers) = bench(1);
    workers[0].1.will(Reply::Reads);
    let body = Dribble::default();
    let mut run = Box::pin(bench.pool.dispatch(upload(&bench.pool, &body)).run());
    for _ in 0..5 {
        assert!(poll(&mut run).is_pending());
        bench.clock.advance(IDLE - SECOND);
        body.0.lock().unwrap().push("more");
    }
    assert!(poll(&mut run).is_pending());
    bench.clock.advance(IDLE);
    assert!(matches!(poll(&mut run), Poll::Ready(Err(DispatchError::Timeout))));
}

#[test]
fn an_upstreams_status_is_an_answer() {
    let (bench, workers) = bench(2);
    workers.iter().for_each(|(_, tunnel)| tunnel.will(Reply::Answers(500, vec![Piece::Bytes("no")])));
    let mut answer = now(bench.pool.dispatch(work(&bench.pool)).run()).unwrap();
    assert_eq!((answer.status().as_u16(), read(answer.body_mut()).0.as_str()), (500, "no"));
    assert_eq!(workers[0].1.calls() + workers[1].1.calls(), 1);
    assert_eq!(series(&bench, "nfrx_request_completed_total success=false error_code=http_5xx"), 1.0);
}

#[test]
fn when_all_backends_are_down_retries_run_out_of_budget() {
    let (bench, workers) = bench(2);
    let calls = || workers[0].1.calls() + workers[1].1.calls();
    for _ in 0..10 {
        workers.iter().for_each(|(_, tunnel)| tunnel.will(Reply::Fails(CallError::Unreachable)));
        let _ = now(bench.pool.dispatch(work(&bench.pool)).run());
    }
    // Ten requests, three retries, and a fourth for a tenth of the requests.
    assert_eq!(calls(), 14);
}

#[test]
fn a_lost_worker_gets_nothing_more_until_it_shows_a_sign_of_life() {
    let (bench, workers) = bench(1);
    workers[0].1.will(Reply::Fails(CallError::Lost));
    let _ = now(bench.pool.dispatch(work(&bench.pool)).run());
    let mut next = Box::pin(bench.pool.dispatch(work(&bench.pool)).run());
    assert!(poll(&mut next).is_pending() && !bench.pool.is_ready());
    workers[0].0.membership.heartbeat(nfrx_spi::Heartbeat::default());
    assert!(matches!(poll(&mut next), Poll::Ready(Ok(_))));
}

#[test]
fn a_request_tried_again_keeps_its_place_and_its_last_error() {
    let (bench, mut workers) = bench(2);
    let busy = bench.pool.take(&bench.pool.want("phi").on_worker("b")).unwrap();
    let mut dispatch = bench.pool.dispatch(work(&bench.pool));
    let Ok(Admission::Slot(slot)) = dispatch.admit() else { panic!("a is free") };
    workers[0].1.will(Reply::Fails(CallError::Draining));
    let later = bench.pool.wait(&bench.pool.want("phi"));
    assert!(matches!(now(dispatch.send(slot)), Ok(Sent::Again)));
    let Ok(Admission::Queued(mut queued)) = dispatch.admit() else { panic!("b is busy") };
    assert_eq!((queued.position(), later.position()), (Some(1), Some(2)));
    drop(workers.remove(1));
    let Poll::Ready(end) = poll(&mut queued) else { panic!("b left") };
    let error = dispatch.leave_queue(end).err();
    assert_eq!(error, Some(DispatchError::Call(CallError::Draining)));
    drop(busy);
}

#[test]
fn waiting_has_a_limit() {
    let (bench, _workers) = bench(1);
    let _busy = bench.pool.take(&bench.pool.want("phi")).unwrap();
    let mut waits = Box::pin(bench.pool.dispatch(work(&bench.pool)).run());
    assert!(poll(&mut waits).is_pending());
    bench.clock.advance(299 * SECOND);
    assert!(poll(&mut waits).is_pending());
    bench.clock.advance(SECOND);
    assert!(matches!(poll(&mut waits), Poll::Ready(Err(DispatchError::WaitedTooLong))));
    assert_eq!(bench.pool.queue_len(), 0);
    assert_eq!(series(&bench, "nfrx_queue_refused_total ext=llm reason=waited_too_long"), 1.0);
    assert_eq!(series(&bench, "nfrx_queue_wait_seconds"), 1.0);
    assert_eq!(series(&bench, "nfrx_request_completed_total"), 0.0, "it never started");
}

#[test]
fn who_may_not_wait_is_told_that_all_are_busy() {
    let (bench, _workers) = bench(1);
    let _busy = bench.pool.take(&bench.pool.want("phi")).unwrap();
    let hasty = Work { may_wait: false, ..work(&bench.pool) };
    assert_eq!(now(bench.pool.dispatch(hasty).run()).err(), Some(DispatchError::QueueFull));
    let unknown = Work { want: bench.pool.want("x"), may_wait: false, ..work(&bench.pool) };
    assert_eq!(now(bench.pool.dispatch(unknown).run()).err(), Some(DispatchError::NoWorker));
    assert_eq!(series(&bench, "nfrx_request_total label=unknown"), 1.0);
}

#[test]
fn a_silent_worker_that_lives_is_waited_for_and_a_lifeless_one_is_not() {
    let (bench, workers) = bench(1);
    let tunnel = &workers[0].1;
    tunnel.will(Reply::Never);
    let mut run = Box::pin(bench.pool.dispatch(work(&bench.pool)).run());
    assert!(poll(&mut run).is_pending());
    for _ in 0..30 {
        bench.clock.advance(10 * SECOND);
        *tunnel.seen.lock().unwrap() = bench.pool.inner.config.clock.now();
        assert!(poll(&mut run).is_pending());
    }
    // Seen to fail: with the heartbeat left out of `left`.
    bench.clock.advance(IDLE - SECOND);
    assert!(poll(&mut run).is_pending());
    bench.clock.advance(SECOND);
    assert!(matches!(poll(&mut run), Poll::Ready(Err(DispatchError::Timeout))));
    drop(run);
    assert_eq!((tunnel.open(), bench.pool.in_flight("a")), (0, 0));
}

#[test]
fn the_hard_limit_does_not_ask_for_heartbeats() {
    let (bench, workers) = bench(1);
    let tunnel = &workers[0].1;
    tunnel.will(Reply::Answers(200, vec![Piece::Bytes("x"), Piece::Hangs]));
    let limits = Limits { idle: IDLE, silence: 200 * SECOND, queue: Duration::ZERO };
    let mut answer = now(bench.pool.dispatch(Work { limits, ..work(&bench.pool) }).run()).unwrap();
    // Time passes before the reader asks: that is not the worker's silence.
    bench.clock.advance(500 * SECOND);
    *tunnel.seen.lock().unwrap() = bench.pool.inner.config.clock.now();
    assert!(matches!(read(answer.body_mut()), (text, Poll::Pending) if text == "x"));
    for _ in 0..2 {
        bench.clock.advance(99 * SECOND);
        *tunnel.seen.lock().unwrap() = bench.pool.inner.config.clock.now();
        assert!(read(answer.body_mut()).1.is_pending());
    }
    bench.clock.advance(2 * SECOND);
    assert!(matches!(read(answer.body_mut()).1, Poll::Ready(Some(BodyError::IdleTimeout))));
    assert_eq!((tunnel.open(), bench.pool.in_flight("a")), (0, 0), "cancelled though the body is held");
    assert_eq!(series(&bench, "nfrx_request_completed_total success=false error_code=timeout"), 1.0);
}

#[test]
fn chunks_cost_no_timers() {
    let (bench, workers) = bench(1);
    let pieces = (0..1000).map(|_| Piece::Bytes("token ")).chain([Piece::Hangs]).collect();
    workers[0].1.will(Reply::Answers(200, pieces));
    let mut answer = now(bench.pool.dispatch(work(&bench.pool)).run()).unwrap();
    assert!(read(answer.body_mut()).1.is_pending());
    assert_eq!(bench.clock.sleeps.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[test]
fn a_client_that_leaves_cancels_in_every_phase() {
    let (bench, workers) = bench(1);
    let tunnel = &workers[0].1;
    // Before the head.
    tunnel.will(Reply::Never);
    let mut run = Box::pin(bench.pool.dispatch(work(&bench.pool)).run());
    assert!(poll(&mut run).is_pending() && tunnel.open() == 1);
    // In the queue.
    let mut queued = Box::pin(bench.pool.dispatch(work(&bench.pool)).run());
    assert!(poll(&mut queued).is_pending() && bench.pool.queue_len() == 1);
    drop(queued);
    assert_eq!(bench.pool.queue_len(), 0);
    drop(run);
    assert_eq!((tunnel.open(), bench.pool.in_flight("a")), (0, 0));
    // Midway.
    tunnel.will(Reply::Answers(200, vec![Piece::Bytes("x"), Piece::Hangs]));
    let mut answer = now(bench.pool.dispatch(work(&bench.pool)).run()).unwrap();
    assert_eq!((read(answer.body_mut()).0.as_str(), tunnel.open()), ("x", 1));
    drop(answer);
    assert_eq!((tunnel.open(), bench.pool.in_flight("a")), (0, 0));
    // Seen to fail: without the record's drop.
    assert_eq!(series(&bench, "nfrx_request_completed_total success=false error_code=canceled"), 2.0);
    assert_eq!(series(&bench, "nfrx_request_inflight"), 0.0);
    let state = bench.pool.snapshot();
    assert_eq!(state["server"]["jobs_canceled_total"], 2);
    assert_eq!(state["workers"][0]["last_error"], "", "a client's leaving is no worker's failure");
}

/// Notes what it sees.
struct Notes(Arc<Mutex<Vec<String>>>);

impl Observer for Notes {
    fn head(&mut self, head: &response::Parts) {
        self.0.lock().unwrap().push(head.status.to_string());
    }

    fn data(&mut self, bytes: &Bytes) {
        self.0.lock().unwrap().push(String::from_utf8_lossy(bytes).into_owned());
    }

    fn end(&mut self, error: Option<&'static str>) -> Usage {
        self.0.lock().unwrap().push(format!("end {error:?}"));
        Usage { tokens_in: 3, tokens_out: 4, embeddings: 0 }
    }
}

#[test]
fn an_observer_sees_the_answer_and_says_what_it_used() {
    let (bench, workers) = bench(1);
    let breaks = Piece::Breaks(BodyError::Upstream);
    workers[0].1.will(Reply::Answers(200, vec![Piece::Bytes("x"), breaks]));
    let notes = Arc::<Mutex<Vec<String>>>::default();
    let observer: Option<Box<dyn Observer>> = Some(Box::new(Notes(Arc::clone(&notes))));
    let mut answer = now(bench.pool.dispatch(Work { observer, ..work(&bench.pool) }).run()).unwrap();
    assert!(matches!(read(answer.body_mut()).1, Poll::Ready(Some(BodyError::Upstream))));
    drop(answer);
    assert_eq!(*notes.lock().unwrap(), ["200 OK", "x", "end Some(\"upstream_error\")"]);
    for (kind, count) in [("tokens_in", 3.0), ("tokens_out", 4.0), ("tokens_total", 7.0), ("embeddings", 0.0)]
    {
        assert_eq!(series(&bench, &format!("nfrx_request_size_total label=phi size_kind={kind}")), count);
    }
    let state = bench.pool.snapshot();
    let worker = &state["workers"][0];
    assert_eq!((&worker["input_tokens_total"], &worker["output_tokens_total"]), (&3.into(), &4.into()));
    assert_eq!((&worker["failures_total"], &worker["last_error"]), (&1.into(), &"upstream_error".into()));
}

/// Takes each piece for a token, and says at the end that there were so many.
struct Tokens(u64, u64);

impl Observer for Tokens {
    fn data(&mut self, _: &Bytes) {
        self.0 += 1;
    }

    fn tokens_so_far(&self) -> u64 {
        self.0
    }

    fn end(&mut self, _: Option<&'static str>) -> Usage {
        Usage { tokens_out: self.1, ..Usage::default() }
    }
}

#[test]
fn tokens_are_counted_while_they_are_written_and_none_twice() {
    let (bench, workers) = bench(1);
    let live = || bench.pool.snapshot()["workers"][0]["output_tokens_live_total"].as_u64().unwrap();
    let ask = |pieces: &[&'static str], said| {
        let pieces = pieces.iter().map(|piece| Piece::Bytes(piece)).collect();
        workers[0].1.will(Reply::Answers(200, pieces));
        let observer: Option<Box<dyn Observer>> = Some(Box::new(Tokens(0, said)));
        now(bench.pool.dispatch(Work { observer, ..work(&bench.pool) }).run()).unwrap()
    };
    let mut answer = ask(&["a", "b", "c"], 10);
    for written in 1..=2 {
        assert!(poll(&mut answer.body_mut().frame()).is_ready());
        assert_eq!(live(), written);
    }
    let _ = read(answer.body_mut());
    // Seen to fail: with all ten added to the three.
    assert_eq!(live(), 10, "the answer said so at its end");
    let _ = read(ask(&["a", "b", "c"], 0).body_mut());
    assert_eq!(live(), 13, "an answer that says nothing counts by its pieces");
}

#[test]
fn the_first_bytes_of_good_answers_tell_how_fast_a_worker_is() {
    let (bench, workers) = bench(1);
    let ask = |status, ms| {
        workers[0].1.will(Reply::Answers(status, vec![Piece::Bytes("x")]));
        let mut answer = now(bench.pool.dispatch(work(&bench.pool)).run()).unwrap();
        bench.clock.advance(Duration::from_millis(ms));
        let _ = read(answer.body_mut());
    };
    ask(500, 1);
    let ttft = || bench.pool.snapshot()["workers"][0]["ttft_p50_ms"].clone();
    // Seen to fail: with every answer counted.
    assert!(ttft().is_null(), "an error is no token");
    assert_eq!(bench.pool.snapshot()["workers"][0]["last_error_at"], "2023-11-14T22:13:20.001Z");
    ask(200, 40);
    assert_eq!(ttft(), 40.0);
}

#[test]
fn each_series_moves_once_per_request() {
    let (bench, workers) = bench(2);
    workers.iter().for_each(|(_, tunnel)| tunnel.will(Reply::Fails(CallError::Busy)));
    let _ = now(bench.pool.dispatch(work(&bench.pool)).run());
    workers.iter().for_each(|(_, tunnel)| tunnel.will(Reply::Answers(200, vec![Piece::Bytes("x")])));
    let mut answer = now(bench.pool.dispatch(work(&bench.pool)).run()).unwrap();
    assert_eq!(series(&bench, "nfrx_request_inflight"), 1.0);
    assert_eq!(read(answer.body_mut()).0, "x");
    for name in ["total", "started_total", "completed_total", "duration_seconds"] {
        let labels = "ext=llm plugin_type=worker job_type=llm.completion label=phi";
        assert_eq!(series(&bench, &format!("nfrx_request_{name} {labels}")), 2.0, "{name}");
    }
    assert_eq!(series(&bench, "nfrx_request_completed_total success=false error_code=worker_busy"), 1.0);
    assert_eq!(series(&bench, "nfrx_time_to_first_byte_seconds"), 1.0);
    assert_eq!(series(&bench, "nfrx_request_inflight"), 0.0);
}

#[test]
fn what_clients_are_told() {
    let told = |error: DispatchError| ApiError::from(error).code();
    let call = |error: CallError| told(DispatchError::Call(error));
    assert_eq!(told(DispatchError::NoWorker), "no_worker");
    assert_eq!(told(DispatchError::QueueFull), "worker_busy");
    assert_eq!(told(DispatchError::WaitedTooLong), "worker_busy");
    assert_eq!(told(DispatchError::Timeout), "timeout");
    assert_eq!(call(CallError::Busy), "worker_busy");
    assert_eq!(call(CallError::Timeout), "timeout");
    for error in [
        CallError::Lost,
        CallError::Draining,
        CallError::Unreachable,
        CallError::Upstream,
        CallError::Refused,
    ] {
        assert_eq!(call(error), "upstream_error");
    }
}

#[test]
fn twenty_requests_without_a_byte_survive_the_death_of_their_worker() {
    let bench = Bench::new();
    let (a, tunnel_a) = bench.join("a", &["phi"], 20);
    (0..20).for_each(|_| tunnel_a.will(Reply::Fails(CallError::Lost)));
    let mut dispatches: Vec<(Dispatch, Option<Slot>)> = (0..20)
        .map(|_| {
            let mut dispatch = bench.pool.dispatch(work(&bench.pool));
            let Ok(Admission::Slot(slot)) = dispatch.admit() else { panic!("a has room") };
            (dispatch, Some(slot))
        })
        .collect();
    let tunnel_b = FakeTunnel::new("nfrx.h2");
    let b = bench.try_join(newcomer("b", &["phi"], 2, &tunnel_b)).unwrap();
    b.membership.open();
    drop(a);
    for (dispatch, slot) in &mut dispatches {
        assert!(matches!(now(dispatch.send(slot.take().unwrap())), Ok(Sent::Again)));
    }
    for (dispatch, _) in dispatches {
        assert!(now(dispatch.run()).is_ok());
    }
    assert_eq!(tunnel_b.calls(), 20);
}
