//! One side, clients or agents: its keys and roles.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;
use tokio::sync::watch;
use tracing::{error, info};

use super::digest::Digest;
use super::keys::{Grant, Key, Keys};
use super::keys_file::KeysFile;
use crate::config::SideConfig;
use crate::error::StartError;

/// The header in which a trusted proxy says which roles a caller has.
pub(crate) const ROLES: &str = "x-user-roles";

/// The login of one side.
pub(super) struct Side {
    /// For people.
    pub(super) name: &'static str,
    setting: &'static str,
    unset: bool,
    roles: Vec<String>,
    nameless: Option<Key>,
    file: Option<Mutex<KeysFile>>,
    keys: watch::Sender<Arc<Keys>>,
    refused: AtomicBool,
}

impl Side {
    /// A side; `setting` is the variable that would give it a key.
    pub(super) fn new(
        name: &'static str,
        setting: &'static str,
        config: &SideConfig,
    ) -> Result<Self, StartError> {
        let nameless =
            config.key.as_ref().map(|key| Key { digest: Digest::of(key.reveal()), grant: Grant::nameless() });
        let mut file = config.keys_file.as_deref().map(KeysFile::new);
        let named = match &mut file {
            Some(file) => file.read_if_changed()?.unwrap_or_default(),
            None => Vec::new(),
        };
        let keys = Keys::new(nameless.as_ref(), named);
        Ok(Self {
            name,
            setting,
            unset: config.is_unset(),
            roles: config.roles.clone(),
            nameless,
            file: file.map(Mutex::new),
            keys: watch::Sender::new(Arc::new(keys)),
            refused: AtomicBool::new(false),
        })
    }

    /// Whether it has neither keys nor roles. A file without keys is not "unset": it
    /// was meant to close the side.
    pub(super) fn is_unset(&self) -> bool {
        self.unset
    }

    /// Its keys now.
    pub(super) fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.borrow())
    }

    /// The named key as it is now, and all that its side will have.
    pub(super) fn standing(&self, name: &str) -> Option<(Key, watch::Receiver<Arc<Keys>>)> {
        let keys = self.keys.subscribe();
        let held = keys.borrow().named(name)?;
        Some((held, keys))
    }

    /// Reads the file again if it has changed. A broken file changes nothing: the keys
    /// known last stay.
    pub(super) fn reload(&self) {
        let Some(file) = &self.file else { return };
        match file.lock().unwrap_or_else(PoisonError::into_inner).read_if_changed() {
            Ok(None) => {}
            Ok(Some(named)) => {
                let keys = Keys::new(self.nameless.as_ref(), named);
                info!(side = self.name, keys = keys.len(), "keys reloaded");
                self.keys.send_replace(Arc::new(keys));
            }
            Err(problem) => {
                if !self.refused.swap(true, Ordering::Relaxed) {
                    error!(side = self.name, error = %problem, "keys not reloaded, the old ones stay");
                }
                return;
            }
        }
        self.refused.store(false, Ordering::Relaxed);
    }

    /// Whether the first `X-User-Roles` header has one of the side's roles.
    pub(super) fn has_role(&self, headers: &HeaderMap) -> bool {
        let value = headers.get(ROLES).and_then(|value| value.to_str().ok()).unwrap_or_default();
        value
            .split(',')
            .map(str::trim)
            .any(|role| !role.is_empty() && self.roles.iter().any(|ours| ours == role))
    }

    /// What to do about a side that is unset and was called from elsewhere.
    pub(super) fn hint(&self) -> String {
        format!(
            "the {} side has no key and serves only its own machine: set {} on the server, or INSECURE_OPEN=true to serve everybody",
            self.name, self.setting
        )
    }

    /// True the first time, so that the hint is logged once.
    pub(super) fn first_refusal(&self) -> bool {
        self.unset && !self.refused.swap(true, Ordering::Relaxed)
    }
}
