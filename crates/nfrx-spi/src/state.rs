//! State: snapshots that plugins give as JSON, for the state API and the dashboard.

use serde_json::Value;

/// A part of the state, under its id in `/api/state`.
///
/// Called by the server, from the task of whoever looks, one caller at a time for `data`.
pub trait StateElement: Send + Sync + 'static {
    /// The key in the envelope; for a plugin its id. `server` is taken.
    fn id(&self) -> &'static str;

    /// A snapshot. Called for each envelope, at most twice a second whatever the
    /// number of watchers; must not block.
    fn data(&self) -> Value;

    /// An HTML fragment that explains the part; `None` for none. Strings from workers
    /// must not appear in it: the dashboard shows them from [`data`](Self::data), as
    /// text (KD-29). Called for each request of `/api/state/view/{id}.html`, which is
    /// served without script; 204 without a view.
    fn html(&self) -> Option<String> {
        None
    }
}

/// Where a plugin adds its parts at start, in
/// [`Plugin::register_state`](crate::Plugin::register_state).
pub trait StateRegistry {
    /// Adds a part. An id that is taken stops the start.
    fn add(&mut self, element: Box<dyn StateElement>);
}
