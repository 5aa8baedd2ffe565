//! The ids that were served once, kept in the state folder over a restart.

use std::io;
use std::path::{Path, PathBuf};

use nfrx_runtime::private_file;
use serde::{Deserialize, Serialize};

use crate::digest::TokenDigest;
use crate::recent::Recent;

/// Ids that are remembered.
const IDS_MAX: usize = 10_000;

/// A longer file was not written by us.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// The file's name.
const FILE: &str = "mcp-ids.json";

/// What is remembered of an id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::server) struct Known {
    /// The digest of the server's own token, by which its holder is known while the server
    /// is away.
    pub(in crate::server) token: Option<TokenDigest>,
}

/// The file: the id used longest ago comes first.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::server) struct KnownFile {
    ids: Vec<Entry>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<TokenDigest>,
}

impl KnownFile {
    /// The file of these ids.
    pub(super) fn of<'a>(known: impl Iterator<Item = (&'a String, &'a Known)>) -> Self {
        Self { ids: known.map(|(id, known)| Entry { id: id.clone(), token: known.token.clone() }).collect() }
    }

    /// Whether there is nothing to remember.
    pub(in crate::server) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Where it is in a state folder.
    pub(in crate::server) fn path(state_dir: &Path) -> PathBuf {
        state_dir.join(FILE)
    }

    /// Reads what was remembered; nothing when there is no such file.
    pub(in crate::server) fn read(path: &Path) -> io::Result<Recent<String, Known>> {
        let mut known = Self::nothing();
        let length = match std::fs::metadata(path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(known),
            Err(error) => return Err(error),
        };
        if length > FILE_BYTES_MAX {
            return Err(io::Error::other("it is too long"));
        }
        let file: Self = serde_json::from_slice(&std::fs::read(path)?)?;
        for Entry { id, token } in file.ids {
            known.insert(id, Known { token });
        }
        Ok(known)
    }

    /// Nothing is remembered.
    pub(in crate::server) fn nothing() -> Recent<String, Known> {
        Recent::new(IDS_MAX)
    }

    /// Writes the file, whole or not at all, for its owner only. Blocks.
    pub(in crate::server) fn write(&self, path: &Path) -> io::Result<()> {
        private_file::write(path, &serde_json::to_vec(self)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_were_written_and_a_missing_file_is_empty() {
        let folder = std::env::temp_dir().join(format!("nfrx-mcp-known-{}", std::process::id()));
        let path = KnownFile::path(&folder);
        assert_eq!(KnownFile::read(&path).expect("no file is fine").iter().count(), 0);
        let mut known = KnownFile::nothing();
        known.insert("clock".to_owned(), Known { token: Some(TokenDigest::of("t")) });
        known.insert("den".to_owned(), Known::default());
        KnownFile::of(known.iter()).write(&path).expect("the temporary folder can be written");
        KnownFile::of(known.iter()).write(&path).expect("a file is replaced");
        let read = KnownFile::read(&path).expect("our own");
        std::fs::write(&path, "[").expect("it is ours");
        let broken = KnownFile::read(&path);
        std::fs::remove_dir_all(&folder).expect("it is ours");
        assert_eq!(KnownFile::of(read.iter()), KnownFile::of(known.iter()));
        assert!(broken.is_err());
    }
}
