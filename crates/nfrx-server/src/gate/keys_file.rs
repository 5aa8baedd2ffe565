//! A file of named keys: a YAML list of entries with a name, the SHA-256 digest of the
//! key, and what it allows (decision 18).

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use nfrx_spi::Scopes;
use serde::Deserialize;
use tracing::warn;

use super::digest::Digest;
use super::keys::{Grant, Key};
use crate::error::StartError;

/// More is no file of keys.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Names appear in metrics and logs.
const NAME_CHARS_MAX: usize = 64;

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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    sha256: String,
    #[serde(default)]
    services: Vec<String>,
    #[serde(default)]
    models: Vec<String>,
    #[serde(default)]
    workers: Vec<String>,
    #[serde(default)]
    admin: bool,
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
        parse(&text).map(Some).map_err(|problem| self.error(&problem))
    }

    fn error(&self, problem: &str) -> StartError {
        StartError::Keys { path: self.path.clone(), problem: problem.to_owned() }
    }
}

fn parse(text: &str) -> Result<Vec<Key>, String> {
    let entries: Option<Vec<Entry>> = serde_saphyr::from_str(text).map_err(|error| {
        // The error's own text quotes the file.
        let at = error.location().map_or_else(String::new, |at| format!(" at line {}", at.line()));
        format!("it must be a list of name, sha256, services, models, workers and admin{at}")
    })?;
    let mut names = BTreeSet::new();
    let mut keys = Vec::new();
    for entry in entries.unwrap_or_default() {
        let name = entry.name.trim().to_owned();
        if name.is_empty() || name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
            return Err(format!("a name must have 1 to {NAME_CHARS_MAX} printable characters"));
        }
        if !names.insert(name.clone()) {
            return Err(format!("the name `{name}` is there twice"));
        }
        let digest = Digest::from_hex(&entry.sha256)
            .ok_or_else(|| format!("sha256 of `{name}` must be 64 hexadecimal digits"))?;
        let Entry { services, models, workers, admin, .. } = entry;
        let scopes = Arc::new(Scopes { services, models, workers, admin });
        keys.push(Key { digest, grant: Grant { name: Some(name.into()), scopes } });
    }
    Ok(keys)
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

    const DIGEST: &str = "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7";

    #[test]
    fn entries_have_a_name_a_digest_and_scopes() {
        let text = format!("- name: ops\n  sha256: {DIGEST}\n  services: [llm]\n  admin: true\n");
        let keys = parse(&text).expect("a valid file");
        let grant = &keys[0].grant;
        assert_eq!((grant.name.as_deref(), grant.scopes.admin), (Some("ops"), true));
        assert!(grant.scopes.allows_service("llm") && !grant.scopes.allows_service("asr"));
        assert!(parse("").expect("an empty file has no keys").is_empty());
    }

    #[track_caller]
    fn check_error(text: &str, expected: &str) {
        let error = parse(text).err().unwrap_or_default();
        assert!(error.contains(expected), "`{error}` should contain `{expected}`");
    }

    #[test]
    fn a_broken_file_is_named_without_its_contents() {
        check_error("- name: a\n  sha256: short\n", "64 hexadecimal digits");
        check_error("- name: ''\n  sha256: x\n", "1 to 64 printable");
        check_error(&format!("- &a {{name: a, sha256: {DIGEST}}}\n- *a\n"), "twice");
        check_error("- name: a\n  key: hunter2\n  sha256: x\n", "list of name, sha256");
        let error = parse("- name: a\n  key: hunter2\n").err().expect("an unknown field");
        assert!(!error.contains("hunter2"));
    }
}
