use http::Request;
use nfrx_testkit::relay::Kind;

use super::*;
use crate::catalog::{Entry, Right};

const ANSWER: &str = "data: one\n\ndata: [DONE]\n\n";
const QUEUE: &str = "event: nfrx.queue\ndata: {}\n\n";

#[track_caller]
fn check(whole: bool, status: u16, body: &str, expected: Result<End, ()>) {
    let right = Right { status: StatusCode::OK, body: ANSWER.into(), whole: true };
    let request = Request::new(bytes::Bytes::new());
    let entry = Entry { kind: Kind::Llm, form: Form::Events, fault: None, right, request };
    let got = Got { status: StatusCode::from_u16(status).ok(), body: body.into(), whole };
    assert_eq!(judge(&entry, &got).map_err(drop), expected, "`{body}`");
}

// Seen to fail: when a body is compared as a beginning, whole or not.
#[test]
fn a_half_answer_that_ends_cleanly_is_a_violation() {
    check(true, 200, ANSWER, Ok("right"));
    check(true, 200, &ANSWER[..12], Err(()));
    check(true, 200, "", Err(()));
    check(false, 200, &ANSWER[..12], Ok("broken in its body"));
    check(false, 200, "data: two", Err(()));
}

#[test]
fn what_the_queue_says_is_no_part_of_the_answer() {
    check(true, 200, &format!("{QUEUE}{QUEUE}{ANSWER}"), Ok("right"));
    check(
        true,
        200,
        &format!("{QUEUE}event: error\ndata: {{\"error\":{{\"message\":\"m\"}}}}\n\n"),
        Ok("error event"),
    );
    check(true, 200, QUEUE, Err(()));
    check(false, 200, "event: nfrx.queue\nda", Ok("broken in its body"));
    // Seen to fail: when only a whole line counts as the queue's.
    check(false, 200, "event: n", Ok("broken in its body"));
    check(true, 200, "event: n", Err(()));
}

// Seen to fail: when half an error event is compared with the answer.
#[test]
fn an_error_event_may_break_off_like_an_answer() {
    check(false, 200, "event: er", Ok("broken in an error event"));
    check(false, 200, "event: error\ndata: {\"err", Ok("broken in an error event"));
    check(true, 200, "event: error\ndata: {\"err", Err(()));
    check(false, 200, "event: error\ndata: {}\n\n", Err(()));
}

#[test]
fn errors_are_those_that_the_relay_has_reason_for() {
    check(true, 502, "{}", Ok("error 502"));
    check(true, 502, "", Err(()));
    check(true, 500, "{}", Err(()));
    check(true, 204, "", Err(()));
    check(true, 200, MARK, Ok("a lie, passed on"));
}
