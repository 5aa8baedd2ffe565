//! Which runtime it is, and which version (worker protocol §10.1).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nfrx_agent::client::BackendClient;
use nfrx_agent::{BackendKey, BaseUrl};
use serde_json::Value;
use tokio::time::Instant;

/// Each question has its own limit, so that one that hangs does not hide the other.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(2);

/// A runtime may be replaced without being seen away.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(60 * 60);

/// A text that names a version is short.
const VERSION_CHARS_MAX: usize = 128;

/// What is told of a runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) family: &'static str,
    pub(super) version: String,
}

/// Knows the runtime's version: from its owner, or by asking the runtime now and then.
#[derive(Debug)]
pub(super) struct VersionFinder {
    given: Option<Version>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    version: Option<Version>,
    asked: Option<Instant>,
}

impl VersionFinder {
    /// With `given` nothing is asked; its family is told by its beginning.
    pub(super) fn new(given: Option<&str>) -> Self {
        let given = given.map(|text| Version { family: family(text), version: text.trim().to_owned() });
        Self { given, known: Mutex::default() }
    }

    /// The runtime was away: what is known may be wrong (KD-76).
    pub(super) fn forget(&self) {
        self.known().asked = None;
    }

    /// The version, asked for when it is not known or may have changed.
    pub(super) async fn find(
        &self,
        client: &BackendClient,
        parent: &BaseUrl,
        key: Option<&BackendKey>,
    ) -> Option<Version> {
        if self.given.is_some() {
            return self.given.clone();
        }
        {
            let known = self.known();
            let fresh = known.asked.is_some_and(|asked| asked.elapsed() < ASK_AGAIN_AFTER);
            if fresh && known.version.is_some() {
                return known.version.clone();
            }
        }
        let found = ask(client, parent, key).await;
        let mut known = self.known();
        known.asked = Some(Instant::now());
        // The server keeps what it was told before: only another word takes it back.
        let was_known = known.version.is_some();
        known.version = found.or_else(|| was_known.then(Version::unknown));
        known.version.clone()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Version {
    fn unknown() -> Self {
        Self { family: "unknown", version: "unknown".to_owned() }
    }
}

async fn ask(client: &BackendClient, parent: &BaseUrl, key: Option<&BackendKey>) -> Option<Version> {
    let asked = [("/props", "build_info", "llama.cpp"), ("/api/version", "version", "ollama")];
    for (path, member, family) in asked {
        if let Some(version) = text_at(client, &parent.join(path), member, key).await {
            return Some(Version { family, version });
        }
    }
    None
}

async fn text_at(
    client: &BackendClient,
    target: &str,
    member: &str,
    key: Option<&BackendKey>,
) -> Option<String> {
    let reply = tokio::time::timeout(QUESTION_TIMEOUT, client.get(target, key)).await.ok()?.ok()?;
    if !reply.status.is_success() {
        return None;
    }
    let reply: Value = serde_json::from_slice(&reply.body).ok()?;
    let text = reply.get(member)?.as_str()?.trim();
    (!text.is_empty()).then(|| text.chars().take(VERSION_CHARS_MAX).collect())
}

fn family(version: &str) -> &'static str {
    let version = version.trim().to_ascii_lowercase();
    ["llama.cpp", "ollama"].into_iter().find(|family| version.starts_with(family)).unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_version_tells_its_family_by_its_beginning() {
        for (given, expected) in
            [("llama.cpp b1", "llama.cpp"), (" Ollama 0.6", "ollama"), ("vLLM 0.11", "unknown")]
        {
            assert_eq!(family(given), expected);
        }
    }
}
