//! A stream of events: what the relay says in between changes none of them, wherever the
//! stream is cut, and at an event's end it may always speak.

use nfrx_mcp::fuzzing::{COMMENT, Events};

use crate::pieces::cuts;

pub(crate) fn run(data: &[u8]) {
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

/// The events as the HTML standard reads them: the fields of each.
fn events(bytes: &[u8]) -> Vec<Vec<(String, String)>> {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace('\r', "\n");
    let (mut events, mut fields) = (Vec::new(), Vec::new());
    let Some((lines, _)) = text.rsplit_once('\n') else { return events };
    for line in lines.split('\n') {
        match line.split_once(':') {
            _ if line.is_empty() => {
                if !fields.is_empty() {
                    events.push(std::mem::take(&mut fields));
                }
            }
            Some(("", _)) => {}
            Some((name, value)) => fields.push((name.to_owned(), value.to_owned())),
            None => fields.push((line.to_owned(), String::new())),
        }
    }
    events
}
