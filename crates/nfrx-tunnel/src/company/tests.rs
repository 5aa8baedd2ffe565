use std::future::poll_fn;

use futures_util::FutureExt;

use super::*;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PING: u8 = 6;
const END_STREAM: u8 = 1;

fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
    let mut frame = u32::try_from(payload).expect("small").to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags, 0, 0, 0, 1]);
    frame.extend(vec![0; payload]);
    frame
}

fn token() -> Vec<u8> {
    frame(DATA, 0, 240)
}

fn leaves(company: &mut Company, bytes: usize) -> bool {
    poll_fn(|cx| company.poll_leave(bytes, cx)).now_or_never().is_some()
}

/// Where tokens have come every `apart` for a while, and the last has left.
async fn after_tokens(apart: Duration) -> Company {
    let mut company = Company::new();
    for _ in 0..200 {
        tokio::time::advance(apart).await;
        company.gathered(&token());
        company.left();
    }
    company
}

#[tokio::test(start_paused = true)]
async fn tokens_that_follow_closely_leave_together_a_moment_later() {
    let mut company = after_tokens(Duration::from_micros(100)).await;
    let begun = Instant::now();
    company.gathered(&token());
    // Seen to fail: without the wait.
    assert!(!leaves(&mut company, 249));
    tokio::time::advance(Duration::from_micros(100)).await;
    company.gathered(&token());
    assert!(!leaves(&mut company, 498));
    let leave = poll_fn(|cx| company.poll_leave(498, cx));
    tokio::time::timeout(10 * WAIT, leave).await.expect("they leave");
    // Seen to fail: with a wait that begins anew with each token.
    let waited = begun.elapsed();
    assert!((WAIT..=2 * WAIT).contains(&waited), "{waited:?}");
    assert!(leaves(&mut company, 498), "until they have left");
    company.left();
    // Seen to fail: with the timer that has run taken for the next one's.
    company.gathered(&token());
    assert!(!leaves(&mut company, 249));
}

#[tokio::test(start_paused = true)]
async fn a_token_without_company_leaves_at_once() {
    let mut company = after_tokens(Duration::from_millis(1)).await;
    company.gathered(&token());
    // Seen to fail: with any distance taken for close.
    assert!(leaves(&mut company, 249));

    let mut company = after_tokens(Duration::from_micros(10)).await;
    tokio::time::advance(CLOSE * REACH).await;
    company.gathered(&token());
    // Seen to fail: with pauses cut at half of it.
    assert!(leaves(&mut company, 249));
    assert!(leaves(&mut Company::new(), 249), "nobody has come yet");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_small_piece_leaves_at_once_and_takes_along_what_waits() {
    let others = [
        frame(HEADERS, 4, 30),
        frame(PING, 0, 8),
        frame(DATA, END_STREAM, 0),
        frame(DATA, END_STREAM, 240),
        frame(DATA, 0, PIECE_BYTES_MAX + 1),
    ];
    for other in others {
        let mut company = after_tokens(Duration::from_micros(100)).await;
        company.gathered(&[token(), other.clone(), token()].concat());
        // Seen to fail: with each of kind, end and size not looked at.
        assert!(leaves(&mut company, 500), "{:?}", &other[..9]);
        company.left();
        company.gathered(&token());
        assert!(!leaves(&mut company, 249), "the next waits again");
    }
}

#[tokio::test(start_paused = true)]
async fn much_does_not_wait_and_nothing_needs_no_wait() {
    let mut company = after_tokens(Duration::from_micros(100)).await;
    company.gathered(&token());
    // Seen to fail: without each bound.
    assert!(leaves(&mut company, 0));
    assert!(!leaves(&mut company, BYTES_MAX - 1));
    assert!(leaves(&mut company, BYTES_MAX));
}
