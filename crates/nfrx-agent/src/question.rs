//! A question that a probe asks its backend, and what a person is told when the answer is
//! no good (worker protocol §10.1).

use serde_json::Value;

use crate::client::{BackendClient, Reply};
use crate::{BackendKey, BaseUrl, ProbeError};

/// How much of an error's body a person is shown.
const SHOWN_CHARS_MAX: usize = 256;

/// One question of a probe.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The address that `path` belongs to.
    pub base: &'a BaseUrl,
    /// Where to ask, such as `/models`.
    pub path: &'static str,
    /// The key to show, if any.
    pub key: Option<&'a BackendKey>,
    /// What is asked for, in one word, for the message of a failure.
    pub about: &'static str,
}

impl Question<'_> {
    /// Asks. Only a success (2xx) is an answer; redirects are not followed (KD-75).
    pub async fn ask(&self, client: &BackendClient) -> Result<Reply, ProbeError> {
        let asked = client.get(&self.base.join(self.path), self.key).await;
        let reply = asked.map_err(|error| self.failed(&error.to_string()))?;
        if reply.status.is_success() {
            return Ok(reply);
        }
        let shown = shown(&reply);
        Err(self.failed(&format!("{} status {} body={shown:?}", self.about, reply.status)))
    }

    /// Asks for a list of objects and gives the texts in their `member`; whatever else is
    /// in the list is passed over. Anything but a JSON object is no answer.
    pub async fn names(
        &self,
        client: &BackendClient,
        list: &str,
        member: &str,
    ) -> Result<Vec<String>, ProbeError> {
        let reply = self.ask(client).await?;
        names(&reply, list, member)
            .ok_or_else(|| self.failed(&format!("{} are not JSON, body={:?}", self.about, shown(&reply))))
    }

    fn failed(&self, what: &str) -> ProbeError {
        ProbeError(format!("probe {}{}: {what}", self.base, self.path))
    }
}

fn names(reply: &Reply, list: &str, member: &str) -> Option<Vec<String>> {
    let reply: Value = serde_json::from_slice(&reply.body).ok()?;
    let entries = reply.as_object()?.get(list).and_then(Value::as_array);
    let name = |entry: &Value| Some(entry.get(member)?.as_str()?.to_owned());
    Some(entries.into_iter().flatten().filter_map(name).filter(|name| !name.is_empty()).collect())
}

fn shown(reply: &Reply) -> String {
    String::from_utf8_lossy(&reply.body).chars().take(SHOWN_CHARS_MAX).collect()
}
