//! A stream of events: what the relay says in between changes none of them, wherever the
//! stream is cut, and at an event's end it may always speak.

use nfrx_mcp::fuzzing::{COMMENT, Events, standard};

use crate::pieces::cuts;

pub(crate) fn run(data: &[u8]) {
    let events = |bytes: &[u8]| standard::events(&String::from_utf8_lossy(bytes));
    let sent = events(data);
    for pieces in cuts(data) {
        let (mut events_seen, mut out) = (Events::default(), Vec::new());
        for piece in pieces {
            if events_seen.is_between() {
                out.extend_from_slice(COMMENT);
            }
            events_seen.feed(piece);
            out.extend_from_slice(piece);
        }
        assert_eq!(events(&out), sent, "a comment changed an event");
        if [&b"\n\n"[..], b"\r\r", b"\r\n\r\n"].iter().any(|end| data.ends_with(end)) {
            assert!(events_seen.is_between(), "an event has ended");
        }
    }
}
