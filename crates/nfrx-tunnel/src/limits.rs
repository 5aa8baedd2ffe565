//! The bounds of a tunnel, all in one place, each with its reason.

use std::time::Duration;

use nfrx_runtime::frames::FrameBudget;

/// DATA frames up to this size: bulk transfers need few of them.
pub(crate) const FRAME_BYTES: u32 = 64 * 1024;

/// What one stream may hold unread; it is also the bound of our own buffer per stream. Half of it is
/// given back at a time, so one transfer carries 20 Mbit/s over a round trip of 200 ms.
pub const STREAM_WINDOW: u32 = 1024 * 1024;

/// Streams at once in a tunnel, beside the control stream. Slots keep requests below it.
pub const STREAMS_MAX: u32 = 256;

/// WebSocket messages up to this size, so that others get through between two of them.
pub(crate) const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// Frames and messages that carry nothing, at both ends and of both carriers. Clients that
/// leave together are that many resets that nothing pays for, and the tunnel must stand it.
pub(crate) const FRAMES: FrameBudget = FrameBudget { frames_max: 100_000, per_second: 5_000 };

/// What is gathered before a writer waits.
pub(crate) const WRITE_BYTES_MAX: usize = 128 * 1024;

/// Heads in both directions.
pub(crate) const HEAD_BYTES_MAX: u32 = 64 * 1024;

/// How long frames of a reset stream are expected and ignored.
pub(crate) const RESET_REMEMBERED: Duration = Duration::from_secs(10);

/// How many reset streams are remembered.
pub(crate) const RESETS_REMEMBERED_MAX: usize = 4096;

/// No set of slow readers may use the connection's window up.
pub(crate) const CONNECTION_WINDOW: u32 = (STREAMS_MAX + 1) * STREAM_WINDOW;

/// Small frames count against this until they are read: four times the windows covers
/// frames from 52 bytes up. Streams are read at once, so little of it is ever used.
pub(crate) const SMALL_FRAME_BUDGET: usize = 4 * CONNECTION_WINDOW as usize;

/// The relay's end.
pub(crate) fn client() -> h2::client::Builder {
    let mut builder = h2::client::Builder::new();
    builder
        .enable_push(false)
        .max_frame_size(FRAME_BYTES)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEAD_BYTES_MAX)
        .initial_max_send_streams(STREAMS_MAX as usize + 1)
        .max_concurrent_reset_streams(RESETS_REMEMBERED_MAX)
        .reset_stream_duration(RESET_REMEMBERED)
        // Clients that leave make us reset streams; over the life of a tunnel that is any
        // number, and a count of them would end it.
        .max_local_error_reset_streams(None)
        .data_frame_budget(SMALL_FRAME_BUDGET)
        .max_send_buffer_size(1024 * 1024);
    builder
}

/// The agent's end.
pub(crate) fn server() -> h2::server::Builder {
    let mut builder = h2::server::Builder::new();
    builder
        .max_frame_size(FRAME_BYTES)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEAD_BYTES_MAX)
        .max_concurrent_streams(STREAMS_MAX + 1)
        .max_concurrent_reset_streams(RESETS_REMEMBERED_MAX)
        .max_pending_accept_reset_streams(RESETS_REMEMBERED_MAX)
        .reset_stream_duration(RESET_REMEMBERED)
        .max_local_error_reset_streams(None)
        .data_frame_budget(SMALL_FRAME_BUDGET)
        .max_send_buffer_size(1024 * 1024);
    builder
}
