//! A file of named keys, read again when it has changed.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use nfrx_spi::Scopes;
use tracing::warn;

use super::digest::Digest;
use super::keys::{Grant, Key};
use crate::error::StartError;
use crate::key_list::{KeyList, NamedKey};

/// More is no file of keys.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The file, and what it was like when it was read last.
pub(super) struct KeysFile {
    path: PathBuf,
    seen: Option<Stamp>,
}

/// Changes when the file does.
#[derive(PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
}

impl KeysFile {
    /// A file that was not read yet.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), seen: None }
    }

    /// The keys in the file; `None` when it has not changed since they were read last.
    pub(super) fn read_if_changed(&mut self) -> Result<Option<Vec<Key>>, StartError> {
        let metadata = std::fs::metadata(&self.path).map_err(|error| self.error(&error.to_string()))?;
        let stamp = Stamp { modified: metadata.modified().ok(), bytes: metadata.len() };
        if self.seen.as_ref() == Some(&stamp) {
            return Ok(None);
        }
        // Kept also when the file turns out to be broken: it is complained of once.
        self.seen = Some(stamp);
        if metadata.len() > FILE_BYTES_MAX {
            return Err(self.error("it is too long"));
        }
        if is_world_readable(&metadata) {
            warn!(file = %self.path.display(), "everybody on this machine can read this file of keys: chmod o-r");
        }
        let text = std::fs::read_to_string(&self.path).map_err(|error| self.error(&error.to_string()))?;
        let list = KeyList::parse(&text).map_err(|problem| self.error(&problem.to_string()))?;
        Ok(Some(keys(&list)))
    }

    fn error(&self, problem: &str) -> StartError {
        StartError::Keys { path: self.path.clone(), problem: problem.to_owned() }
    }
}

/// Digests and scopes as the gate compares and gives them.
fn keys(list: &KeyList) -> Vec<Key> {
    let key = |named: &NamedKey| {
        let NamedKey { name, sha256, services, models, workers, admin } = named.clone();
        let scopes = Arc::new(Scopes { services, models, workers, admin });
        Some(Key { digest: Digest::from_hex(&sha256)?, grant: Grant { name: Some(name.into()), scopes } })
    };
    // The list has checked its digests: none is left out here.
    list.keys().iter().filter_map(key).collect()
}

#[cfg(unix)]
fn is_world_readable(metadata: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o004 != 0
}

#[cfg(not(unix))]
fn is_world_readable(_: &Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_the_file_gives_its_name_and_scopes() {
        let digest = "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7";
        let text = format!("- name: ops\n  sha256: {digest}\n  services: [llm]\n  admin: true\n");
        let keys = keys(&KeyList::parse(&text).expect("a valid file"));
        let grant = &keys[0].grant;
        assert!(keys[0].digest.same(&Digest::of("hunter2")));
        assert_eq!((grant.name.as_deref(), grant.scopes.admin), (Some("ops"), true));
        assert!(grant.scopes.allows_service("llm") && !grant.scopes.allows_service("asr"));
    }
}
