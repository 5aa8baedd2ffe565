//! What HTTP/1 and HTTP/2 may cost: all that hyper and h2 bound for us, set here by name
//! instead of left to their defaults, and what they refused by themselves.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use h2::Reason;
use hyper::rt::Executor;
use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto::Builder;
use nfrx_runtime::Drain;
use nfrx_runtime::frames::FrameBudget;

use crate::config::Limits;
use crate::telemetry::Bound;

/// Read buffer of an HTTP/1 connection; bounds the head as a whole. Also what is gathered
/// before a writer waits.
const BUFFER_BYTES: usize = 64 * 1024;
/// Headers of a request.
const HEADERS_MAX: usize = 100;
/// HTTP/2: streams reset by the peer that we have not looked at yet (CVE-2023-44487).
const PENDING_RESETS_MAX: usize = 20;
/// HTTP/2: streams we had to reset because the peer broke the rules, in the life of a
/// connection. A client only harms itself.
const LOCAL_RESETS_MAX: usize = 1024;
/// HTTP/2: how often a silent peer is asked whether it lives, and how long it has.
const PING_EVERY: Duration = Duration::from_secs(20);
/// HTTP/2: the largest frame that is taken; also bounds what is read ahead.
const FRAME_BYTES_MAX: u32 = 16 * 1024;
/// HTTP/2: what a client may send of a body before it was read, on one stream and on all of
/// a connection.
const WINDOW_BYTES: u32 = 1024 * 1024;
/// HTTP/2: frames that carry nothing. Go's client opens two windows for each 4 KiB that it
/// reads, up to a thousand at a stretch; the answer itself pays for most of them.
pub(super) const FRAMES: FrameBudget = FrameBudget { frames_max: 10_000, per_second: 500 };

/// Lets hyper start the tasks of HTTP/2 streams where they are waited for.
#[derive(Clone)]
pub(super) struct Tasks(Drain);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, stream: F) {
        self.0.spawn("h2 stream", stream);
    }
}

/// HTTP/1.1, and HTTP/2 for clients that know beforehand; no upgrade to it in between,
/// which others used to get past their guards.
pub(super) fn builder(limits: &Limits, tasks: &Drain) -> Builder<Tasks> {
    let mut builder = Builder::new(Tasks(tasks.clone()));
    builder
        .http1()
        .timer(TokioTimer::new())
        // `Guarded` watches the head instead: hyper's timer would also end connections
        // that merely rest between two requests.
        .header_read_timeout(None)
        // A client that closes its sending side has left; its request is cancelled.
        .half_close(false)
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(LOCAL_RESETS_MAX)
        .max_frame_size(FRAME_BYTES_MAX)
        .adaptive_window(false)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_send_buf_size(BUFFER_BYTES)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_EVERY);
    builder
}

/// The bound that hyper or h2 ended a connection for, if it was one. Requests that they
/// answer by themselves (400, 431) never reach the front door's own count.
pub(super) fn refusal(error: &(dyn Error + 'static)) -> Option<Bound> {
    let error = error.downcast_ref::<hyper::Error>()?;
    if error.is_parse_too_large() {
        return Some(Bound::HeadBytes);
    }
    if error.is_parse() {
        return Some(Bound::Malformed);
    }
    let http2 = error.source()?.downcast_ref::<h2::Error>()?;
    if !http2.is_go_away() || !http2.is_library() {
        return None;
    }
    match http2.reason()? {
        Reason::ENHANCE_YOUR_CALM => Some(Bound::Http2Flood),
        Reason::NO_ERROR => None,
        _ => Some(Bound::Malformed),
    }
}
