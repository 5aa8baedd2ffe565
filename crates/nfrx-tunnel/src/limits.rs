//! Every bound of a tunnel, in one place, each with its reason; and what is configured.

use std::sync::Arc;
use std::time::Duration;

use nfrx_spi::Options;

use crate::{ByteBudget, Policy, TunnelCounters};

/// The subprotocol of this carrier: HTTP/2 with the roles reversed (design, choice 2).
pub const SUBPROTOCOL: &str = "nfrx.h2";

/// The path of the control stream, which the relay opens first (decision 2). The whole
/// prefix is reserved: no request is sent there.
pub(crate) const CONTROL_PATH: &str = "/.nfrx/control";

/// See [`CONTROL_PATH`].
pub(crate) const RESERVED_PATH: &str = "/.nfrx";

/// Requests of one tunnel at once. A fixed ceiling above what any worker grants, since
/// HTTP/2 can't raise it later (decision 3).
pub const STREAMS_MAX: u32 = 256;

/// What a stream may have under way unread. Large enough for a good line with 100 ms of
/// delay (5 MB/s a stream), small enough to be kept for a reader that stalls.
pub const STREAM_WINDOW: u32 = 512 * 1024;

/// HTTP/2 frames. Above the default of 16 KiB, since bulk is a third faster; far below a
/// WebSocket message, so that pings get through.
pub(crate) const FRAME_BYTES_MAX: u32 = 64 * 1024;

/// The header block of a request or an answer, as HTTP/2 counts it.
pub(crate) const HEADER_BYTES_MAX: u32 = 64 * 1024;

/// Reset streams that are remembered, and for how long, so that frames under way to them
/// are no errors: more than can leave together, for longer than a bad line's round trip.
pub(crate) const RESET_STREAMS_MAX: usize = 4096;

/// See [`RESET_STREAMS_MAX`].
pub(crate) const RESET_REMEMBERED: Duration = Duration::from_secs(10);

/// What an agent's stream may hold between the backend and the socket. Above it chunks
/// are merged, so a small one keeps the backlog from being made of tokens.
pub(crate) const SEND_BUFFER_BYTES_MAX: usize = 256 * 1024;

/// A WebSocket message that is taken (decision 6).
pub(crate) const MESSAGE_BYTES_MAX: u64 = 256 * 1024;

/// Bytes that wait for the socket before HTTP/2 is held up.
pub(crate) const UNSENT_BYTES_MAX: usize = 128 * 1024;

/// A `register` line. It lists labels and facts about the host.
pub(crate) const REGISTER_BYTES_MAX: usize = 256 * 1024;

/// Any other line of the control stream.
pub(crate) const LINE_BYTES_MAX: usize = 64 * 1024;

/// Lines of the control stream between two ticks; an agent sends one or two.
pub(crate) const LINES_MAX: u32 = 1000;

/// Calls that wait for the tunnel's task to take them. It takes all of them each turn.
pub(crate) const INBOX_MAX: usize = 64;

/// Handed back to the peer at once: large enough that a token costs no wake-up, small
/// enough that a reader that keeps up never empties the window.
pub(crate) const RELEASE_BYTES: usize = 64 * 1024;

/// The round trips of a handshake, on either side.
pub(crate) const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// The last words of a connection: what they say is a courtesy.
pub(crate) const FAREWELL_WITHIN: Duration = Duration::from_secs(1);

/// How often stalled readers are looked for.
pub(crate) const STALL_TICK: Duration = Duration::from_secs(1);

/// What can be configured of a tunnel; both ends use the same windows.
#[derive(Debug, Clone)]
pub struct TunnelSettings {
    /// Requests at once, at most [`STREAMS_MAX`].
    pub streams_max: u32,
    /// Bytes a stream may have under way, unread.
    pub stream_window: u32,
    /// How often the relay pings and the agent reports.
    pub heartbeat: Duration,
    /// Silence after which the relay takes an agent for lost.
    pub expiry: Duration,
    /// The time from the upgrade to a registration.
    pub register_within: Duration,
    /// How long a reader may take nothing while bytes wait for it.
    pub stall_max: Duration,
    /// What unread answers may hold in the whole process.
    pub budget: Arc<ByteBudget>,
    /// Where it is counted what happens to tunnels.
    pub counters: Arc<TunnelCounters>,
    /// What may be asked of the agents (decision 4).
    pub policy: Policy,
}

impl Default for TunnelSettings {
    fn default() -> Self {
        Self {
            streams_max: STREAMS_MAX,
            stream_window: STREAM_WINDOW,
            heartbeat: Duration::from_secs(5),
            expiry: Duration::from_secs(15),
            register_within: Duration::from_secs(10),
            stall_max: Duration::from_secs(30),
            budget: Arc::default(),
            counters: Arc::default(),
            policy: Policy::default(),
        }
    }
}

impl TunnelSettings {
    /// The defaults with what the server's options say of heartbeats.
    pub fn from_options(options: &Options) -> Self {
        let defaults = Self::default();
        let or = |span: Duration, default| if span.is_zero() { default } else { span };
        Self {
            heartbeat: or(options.agent_heartbeat_interval, defaults.heartbeat),
            expiry: or(options.agent_heartbeat_expiry, defaults.expiry),
            ..defaults
        }
    }

    /// Streams of a tunnel, the control stream included.
    pub(crate) fn streams(&self) -> u32 {
        self.streams_max.min(STREAMS_MAX) + 1
    }

    /// Every stream can fill its window: no set of slow readers starves the others.
    pub(crate) fn connection_window(&self) -> u32 {
        self.streams().saturating_mul(self.stream_window).min((1 << 31) - 1)
    }

    /// Unread frames of fewer than 256 bytes are held against the connection. Four times
    /// the window covers all windows full of frames from 52 bytes up.
    pub(crate) fn small_frame_budget(&self) -> usize {
        self.connection_window() as usize * 4
    }

    /// The relay's end: HTTP/2's client. Its resets of streams are judged by rate, since
    /// a count over a connection's life ends tunnels by ordinary hang-ups.
    pub(crate) fn h2_client(&self) -> h2::client::Builder {
        let mut builder = h2::client::Builder::new();
        builder
            .initial_window_size(self.stream_window)
            .initial_connection_window_size(self.connection_window())
            .data_frame_budget(self.small_frame_budget())
            .max_frame_size(FRAME_BYTES_MAX)
            .max_header_list_size(HEADER_BYTES_MAX)
            .max_concurrent_reset_streams(RESET_STREAMS_MAX)
            .reset_stream_duration(RESET_REMEMBERED)
            .max_local_error_reset_streams(None)
            .max_send_buffer_size(SEND_BUFFER_BYTES_MAX)
            .enable_push(false);
        builder
    }

    /// The agent's end: HTTP/2's server.
    pub(crate) fn h2_server(&self) -> h2::server::Builder {
        let mut builder = h2::server::Builder::new();
        builder
            .initial_window_size(self.stream_window)
            .initial_connection_window_size(self.connection_window())
            .data_frame_budget(self.small_frame_budget())
            .max_concurrent_streams(self.streams())
            .max_frame_size(FRAME_BYTES_MAX)
            .max_header_list_size(HEADER_BYTES_MAX)
            .max_concurrent_reset_streams(RESET_STREAMS_MAX)
            .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
            .reset_stream_duration(RESET_REMEMBERED)
            .max_local_error_reset_streams(None)
            .max_send_buffer_size(SEND_BUFFER_BYTES_MAX);
        builder
    }
}
