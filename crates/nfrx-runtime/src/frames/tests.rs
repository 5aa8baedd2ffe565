use super::*;

const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;

const BUDGET: FrameBudget = FrameBudget { frames_max: 10, per_second: 2 };

fn frame(kind: u8, flags: u8, stream: u32, payload: usize) -> Vec<u8> {
    let mut frame = u32::try_from(payload).expect("small").to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    // A payload that would be heads of other frames, were it read.
    frame.extend(vec![0; payload]);
    frame
}

/// How many of these frames are taken, of a hundred.
#[track_caller]
fn check(kind: u8, flags: u8, payload: usize, expected: usize) {
    let mut meter = FrameMeter::new(BUDGET);
    let frame = frame(kind, flags, 1, payload);
    let taken = (0..100).take_while(|_| meter.received(&frame).is_ok()).count();
    assert_eq!(taken, expected, "kind {kind}, flags {flags}, {payload} bytes");
}

#[tokio::test(start_paused = true)]
async fn frames_that_carry_nothing_are_bounded() {
    // Seen to fail: with each of the conditions on DATA left out.
    check(PING, 0, 8, 10);
    check(SETTINGS, 1, 0, 10);
    check(CONTINUATION, 0, 100, 10);
    check(HEADERS, 5, 40, 10);
    check(0xfa, 0, 0, 10);
    check(DATA, 0, 0, 10);
    check(DATA, PADDED, 256, 10);
    check(DATA, PADDED, 257, 100);
    check(DATA, END_STREAM, 0, 100);
    check(DATA, 0, 1, 100);
}

#[tokio::test(start_paused = true)]
async fn frames_are_found_however_they_are_cut() {
    let mut bytes = Vec::new();
    for nth in 0..5 {
        bytes.extend(frame(DATA, 0, 1, 1000 * nth + 1));
        bytes.extend(frame(PING, 0, 0, 8));
    }
    for size in [1, 2, 8, 9, 10, 17, 1000, bytes.len()] {
        let mut meter = FrameMeter::new(FrameBudget { frames_max: 5, per_second: 0 });
        // Seen to fail: without the part of a head that is kept.
        bytes.chunks(size).for_each(|piece| meter.received(piece).expect("five pings are allowed"));
        assert_eq!(meter.received(&frame(PING, 0, 0, 8)), Err(Flooded), "pieces of {size}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_written_pays_and_time_does_within_the_bound() {
    let ping = frame(PING, 0, 0, 8);
    let mut meter = FrameMeter::new(BUDGET);
    let mut taken = |sent: usize| {
        meter.sent(sent);
        (0..1000).take_while(|_| meter.received(&ping).is_ok()).count()
    };
    assert_eq!(taken(0), 10);
    // Seen to fail: without the credit for what was sent.
    assert_eq!(taken(3 * COST as usize), 3);
    // Seen to fail: without the upper end of the credit.
    assert_eq!(taken(1 << 30), 10);
    tokio::time::advance(Duration::from_secs(2)).await;
    // Seen to fail: without the credit for time.
    assert_eq!(taken(0), 4);
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert_eq!(taken(0), 10);
    // The answers to a ping don't pay for it.
    assert!((0..1000).any(|_| taken(17) == 0));
}

#[tokio::test(start_paused = true)]
async fn a_preface_is_no_frame_and_a_refund_is_the_whole_price() {
    let mut meter = FrameMeter::with_preface(FrameBudget { frames_max: 1, per_second: 0 });
    meter.received(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("no frame");
    // Seen to fail: with a preface of another length.
    meter.received(&frame(PING, 0, 0, 8)).expect("one is allowed");
    assert_eq!(meter.received(&frame(PING, 0, 0, 8)), Err(Flooded));
    // Seen to fail: without the refund.
    meter.refund();
    meter.charge().expect("one is allowed");
    assert_eq!(meter.charge(), Err(Flooded));
}

#[tokio::test(start_paused = true)]
async fn streams_are_counted_without_their_trailers() {
    let mut meter = FrameMeter::new(BUDGET);
    for stream in [1, 0x8000_0003, 3, 1, 5] {
        meter.received(&frame(HEADERS, 5, stream, 10)).expect("within the budget");
    }
    // Seen to fail: with trailers counted, and with the reserved bit read.
    assert_eq!(meter.streams(), 3);
}
