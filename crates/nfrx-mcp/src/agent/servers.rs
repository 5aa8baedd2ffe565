//! The file of servers, in the form that MCP clients have: `mcpServers`, and in it by name
//! what to start or which address to ask. Each server has a public id of its own.
//!
//! A key that means nothing here is passed over with a warning: the file may also be some
//! client's. What can't be served stops the start, or leaves the servers as they are when
//! the file changes later.

mod entry;
mod expand;
mod follow;
mod oauth;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::joined;
use crate::offer::SERVERS_MAX;

pub(crate) use entry::{HttpWay, ServerEntry, Transport};
pub(super) use follow::Follower;

/// A longer file is none of servers.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Why a file of servers can't be used.
#[derive(Debug, thiserror::Error)]
#[error("the file of MCP servers {path} can't be used: {problem}")]
pub struct ServersError {
    path: String,
    problem: String,
}

/// The file, not read yet.
#[derive(Debug, Clone)]
pub struct ServersFile {
    path: PathBuf,
    /// What stands before each server's name in its public id, if anything does.
    client_id: Option<String>,
    /// Whether all are also one.
    joined: bool,
}

impl ServersFile {
    /// The file at `path`; its servers are called `{client_id}-{name}`, or by their name. With
    /// `joined` all of them are one more, called `client_id`.
    pub(super) fn new(path: PathBuf, client_id: Option<String>, joined: bool) -> Self {
        Self { path, client_id, joined }
    }

    /// The public id under which all its servers are one.
    pub(super) fn joined_id(&self) -> Option<&str> {
        self.client_id.as_deref().filter(|_| self.joined)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file. Blocks.
    pub(super) fn read(&self) -> Result<Vec<ServerEntry>, ServersError> {
        let text = self.text().map_err(|error| self.error(error.to_string()))?;
        let env = |name: &str| std::env::var(name).ok();
        let (entries, unknown) = parse(&text, self.client_id.as_deref(), &env).map_err(|p| self.error(p))?;
        if let Some(id) = self.joined_id() {
            joined::check(id, &entries).map_err(|problem| self.error(problem))?;
        }
        for key in unknown {
            tracing::warn!(file = %self.path.display(), key, "this key of the file of MCP servers means nothing here");
        }
        Ok(entries)
    }

    fn text(&self) -> std::io::Result<String> {
        if std::fs::metadata(&self.path)?.len() > FILE_BYTES_MAX {
            return Err(std::io::Error::other("it is too long"));
        }
        std::fs::read_to_string(&self.path)
    }

    pub(super) fn error(&self, problem: String) -> ServersError {
        ServersError { path: self.path.display().to_string(), problem }
    }
}

/// The entries that are not switched off, and the keys that mean nothing.
fn parse(
    text: &str,
    client_id: Option<&str>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<(Vec<ServerEntry>, BTreeSet<String>), String> {
    let file: entry::File = serde_json::from_str(text).map_err(|error| {
        // The error's own text may quote the file, which holds secrets.
        format!(
            "it must be JSON such as {{\"mcpServers\": {{\"NAME\": {{\"url\": …}}}}}}; see line {}",
            error.line()
        )
    })?;
    let mut unknown: BTreeSet<String> = file.others.into_keys().collect();
    let mut by_id = BTreeMap::new();
    for (name, written) in file.servers {
        unknown.extend(written.others.keys().map(|key| format!("{name}.{key}")));
        let oauth = written.oauth.iter().flat_map(|oauth| oauth.others.keys());
        unknown.extend(oauth.map(|key| format!("{name}.oauth.{key}")));
        if written.disabled {
            continue;
        }
        let entry = written.check(&name, client_id, env).map_err(|problem| format!("`{name}`: {problem}"))?;
        if let Some(other) = by_id.insert(entry.id.clone(), entry) {
            return Err(format!("`{name}` and `{}` have the same public id `{}`", other.name, other.id));
        }
    }
    if by_id.is_empty() {
        return Err("it names no server".to_owned());
    }
    if by_id.len() > SERVERS_MAX {
        return Err(format!("it names more than {SERVERS_MAX} servers; run another agent for the rest"));
    }
    Ok((by_id.into_values().collect(), unknown))
}

/// How many servers the file of this text has, for the fuzzer.
#[cfg(feature = "fuzzing")]
pub(crate) fn count(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<usize, String> {
    parse(text, None, env).map(|(entries, _)| entries.len())
}

#[cfg(test)]
mod tests;
