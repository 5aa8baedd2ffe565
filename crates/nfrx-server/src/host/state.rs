//! The server's state as one plugin sees and sets it.

use std::sync::{Arc, Mutex, PoisonError};

use nfrx_runtime::DrainWatch;
use nfrx_spi::{BoxFuture, PluginStatus, ServerState};

/// A plugin's own status, and the drain of all (KD-27).
#[derive(Clone)]
pub(super) struct PluginState {
    watch: DrainWatch,
    status: Arc<Mutex<PluginStatus>>,
}

impl PluginState {
    pub(super) fn new(watch: DrainWatch) -> Self {
        Self { watch, status: Arc::default() }
    }

    /// The status set last; draining once the server drains.
    pub(super) fn status(&self) -> PluginStatus {
        if self.watch.is_draining() {
            return PluginStatus::Draining;
        }
        *self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerState for PluginState {
    fn is_draining(&self) -> bool {
        self.watch.is_draining()
    }

    fn draining(&self) -> BoxFuture<'static, ()> {
        let watch = self.watch.clone();
        Box::pin(async move { watch.draining().await })
    }

    fn set_status(&self, status: PluginStatus) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }
}
