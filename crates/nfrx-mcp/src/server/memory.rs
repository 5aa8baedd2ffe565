//! Keeps the ids that were served in the state folder.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::warn;

use super::registry::{Known, KnownFile};
use crate::recent::Recent;

/// Where the ids are kept, if anywhere. Clones share what was written last.
#[derive(Clone)]
pub(super) struct Memory {
    path: Option<PathBuf>,
    written: Arc<Mutex<Option<KnownFile>>>,
}

impl Memory {
    /// In this folder; without one nothing is kept.
    pub(super) fn new(state_dir: Option<&Path>) -> Self {
        Self { path: state_dir.map(KnownFile::path), written: Arc::default() }
    }

    /// What was kept. A file that can't be read is no reason not to start: what it would
    /// have told is learned again.
    pub(super) fn read(&self) -> Recent<String, Known> {
        let Some(path) = &self.path else { return KnownFile::nothing() };
        KnownFile::read(path).unwrap_or_else(|error| {
            warn!(file = %path.display(), %error, "the ids of MCP servers can't be read, they are forgotten");
            KnownFile::nothing()
        })
    }

    /// Writes the ids if they are others than those written last.
    pub(super) async fn keep(&self, known: KnownFile) {
        let Some(path) = self.path.clone() else { return };
        {
            let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
            let nothing_new = written.as_ref().map_or(known.is_empty(), |written| *written == known);
            if nothing_new {
                return;
            }
        }
        let writing = tokio::task::spawn_blocking(move || {
            let result = known.write(&path);
            (known, path, result)
        });
        let Ok((known, path, result)) = writing.await else { return };
        match result {
            Ok(()) => *self.written.lock().unwrap_or_else(PoisonError::into_inner) = Some(known),
            Err(error) => {
                warn!(file = %path.display(), %error, "the ids of MCP servers can't be kept: set NFRX_STATE_DIR to a folder that can be written");
            }
        }
    }
}
