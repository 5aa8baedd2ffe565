use super::{Answer, Broken, Piece};

/// Reads `bytes` in pieces of `size`.
fn read(bytes: &[u8], size: usize) -> (Answer, Result<Piece, Broken>) {
    let (mut answer, mut sum) = (Answer::default(), Piece::default());
    for piece in bytes.chunks(size) {
        match answer.read(piece) {
            Ok(piece) => {
                sum.events += piece.events;
                sum.body_bytes += piece.body_bytes;
            }
            Err(broken) => return (answer, Err(broken)),
        }
    }
    (answer, Ok(sum))
}

/// `expected`: status, bytes of the body, events; whole whatever the pieces.
#[track_caller]
fn check(bytes: &str, expected: (u16, u64, u64)) {
    for size in 1..=bytes.len() {
        let (answer, read) = read(bytes.as_bytes(), size);
        let read = read.unwrap();
        assert!(answer.is_done() && answer.has_head(), "pieces of {size}");
        assert_eq!((answer.status(), read.body_bytes, read.events), expected, "pieces of {size}");
    }
}

#[track_caller]
fn check_broken(bytes: &str, expected: &Broken) {
    for size in [1, bytes.len()] {
        assert_eq!(read(bytes.as_bytes(), size).1.as_ref(), Err(expected), "pieces of {size}");
    }
}

#[test]
fn a_body_with_a_length_ends_there() {
    check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", (200, 5, 0));
    check("HTTP/1.1 404 Not Found\ncontent-length:0\n\n", (404, 0, 0));
    check("HTTP/1.1 204 No Content\r\n\r\n", (204, 0, 0));
}

#[test]
fn a_chunked_body_ends_after_its_trailers() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    check(&format!("{head}5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n"), (200, 15, 0));
    // Seen to fail: with the last chunk ending the answer before its trailers.
    check(&format!("{head}1\r\nx\r\n0\r\nnfrx-error: none\r\n\r\n"), (200, 1, 0));
}

#[test]
fn events_are_counted_across_chunks_and_only_in_event_streams() {
    let body = "a\r\ndata: one\n\r\n6\r\n\ndata:\r\n6\r\n two\n\n\r\n0\r\n\r\n";
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: ";
    check(&format!("{head}text/event-stream; charset=utf-8\r\n\r\n{body}"), (200, 22, 2));
    check(&format!("{head}text/plain\r\n\r\n{body}"), (200, 22, 0));
}

#[test]
fn an_announcement_is_not_the_answer() {
    check("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok", (201, 2, 0));
}

#[test]
fn a_body_without_a_length_ends_with_the_connection() {
    let (mut answer, read) = read(b"HTTP/1.1 200 OK\r\n\r\nhello", 3);
    assert_eq!((read.unwrap().body_bytes, answer.is_done()), (5, false));
    assert_eq!(answer.end(), Ok(()));
    assert!(answer.is_done() && !answer.keeps_alive());
}

#[test]
fn an_answer_cut_short_is_torn() {
    let whole = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    for length in 0..whole.len() {
        let (mut answer, _) = read(&whole.as_bytes()[..length], 7);
        // Seen to fail: with every state ending well.
        assert_eq!(answer.end(), Err(Broken::Torn), "after {length} bytes");
    }
}

#[test]
fn a_connection_is_kept_unless_the_answer_says_otherwise() {
    let keeps = |bytes: &str| read(bytes.as_bytes(), 9).0.keeps_alive();
    assert!(keeps("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    assert!(!keeps("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"));
    assert!(!keeps("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"));
}

#[test]
fn what_is_no_http_is_broken() {
    check_broken("SSH-2.0-OpenSSH\r\n", &Broken::StatusLine("SSH-2.0-OpenSSH".to_owned()));
    check_broken("HTTP/1.1 200 OK\r\nno colon\r\n", &Broken::Header("no colon".to_owned()));
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    check_broken(&format!("{head}xyz\r\n"), &Broken::ChunkSize("xyz".to_owned()));
    check_broken(&format!("{head}1\r\nab\r\n"), &Broken::ChunkEnd);
    check_broken("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", &Broken::Surplus(1));
    check_broken(&"x".repeat(super::LINE_BYTES_MAX + 1), &Broken::TooLong);
}
