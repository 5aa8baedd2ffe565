//! Follows a job until it ends: `nfrx jobs show` and `watch`, and what `submit` waits for.

use std::io::Write as _;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use crate::api::{Api, ApiError, plain};

/// Waits between questions to a server that is away.
const AWAY: Duration = Duration::from_secs(2);

/// Prints a job.
pub async fn show(api: &Api, id: &str) -> anyhow::Result<()> {
    let job = api.job(id, None).await.with_context(|| format!("can't show {id}"))?;
    Ok(writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&job)?)?)
}

/// Prints what becomes of a job, until it ends. Fails unless it was completed.
pub async fn watch(api: &Api, id: &str, json: bool) -> anyhow::Result<()> {
    let (mut out, mut printed) = (std::io::stdout(), Printed::default());
    let end = until_end(api, id, |job| {
        let text = if json { format!("{job}\n") } else { printed.news(job) };
        // Nobody may be left to read it.
        let _ = out.write_all(text.as_bytes());
    });
    let job = end.await.with_context(|| format!("can't watch {id}"))?;
    failure(&job).map_or(Ok(()), |why| Err(anyhow::anyhow!("{why}")))
}

/// The job once it has ended; each version of it on the way is told to `seen`. A server that is
/// away is waited for: what it was asked, it keeps.
pub(crate) async fn until_end(api: &Api, id: &str, mut seen: impl FnMut(&Value)) -> Result<Value, ApiError> {
    let mut known = None;
    loop {
        let job = match api.job(id, known).await {
            Ok(job) => job,
            Err(error) if known.is_some() && error.may_pass() => {
                tracing::warn!(%error, "the server is away, asking again");
                tokio::time::sleep(AWAY).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        let revision = job["revision"].as_u64().ok_or(ApiError::Answer)?;
        if known != Some(revision) {
            seen(&job);
        }
        if has_ended(&job) {
            return Ok(job);
        }
        known = Some(revision);
    }
}

pub(crate) fn has_ended(job: &Value) -> bool {
    matches!(job["status"].as_str(), Some("completed" | "failed" | "canceled"))
}

/// Why a job that has ended was not completed.
pub(crate) fn failure(job: &Value) -> Option<String> {
    let status = job["status"].as_str().unwrap_or_default();
    let text = |name: &str| job["error"][name].as_str().unwrap_or_default();
    match status {
        "completed" => None,
        _ => Some(plain(format!("{status} {}: {}", text("code"), text("message")).trim_matches([' ', ':']))),
    }
}

/// What was printed of a job already.
#[derive(Default)]
struct Printed {
    head: String,
    lines: u64,
}

impl Printed {
    /// What is new: its state in a line, and what its program said since.
    fn news(&mut self, job: &Value) -> String {
        let mut text = String::new();
        let progress = &job["progress"];
        // The newest lines that its worker told, and which they are.
        let first = progress["log_from"].as_u64().unwrap_or_default();
        for (line, said) in (first..).zip(progress["log"].as_array().into_iter().flatten()) {
            if line >= self.lines {
                text += &format!("  {}\n", plain(said.as_str().unwrap_or_default()));
                self.lines = line + 1;
            }
        }
        let mut head = plain(job["status"].as_str().unwrap_or_default());
        if let Some(worker) = job["claimed_worker_id"].as_str() {
            head += &format!(" at {}", plain(worker));
        }
        if let Some(percent) = progress["percent"].as_f64() {
            head += &format!(", {percent:.0} %");
        }
        if let Some(message) = progress["message"].as_str() {
            head += &format!(", {}", plain(message));
        }
        if head != self.head {
            text = format!("{text}{head}\n");
            self.head = head;
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_line_is_printed_once_and_nothing_rules_the_terminal() {
        let mut printed = Printed::default();
        let job = |from: u64, log: &[&str]| json!({ "status": "running", "claimed_worker_id": "w", "progress": { "percent": 12.4, "log_from": from, "log": log } });
        assert_eq!(printed.news(&job(0, &["one", "t\u{1b}[2Jwo"])), "  one\n  t [2Jwo\nrunning at w, 12 %\n");
        // Seen to fail: without the number of the line printed last.
        assert_eq!(printed.news(&job(1, &["two", "three"])), "  three\n");
        assert_eq!(printed.news(&job(1, &["two", "three"])), "");
        let failed = json!({ "status": "failed", "error": { "code": "exit_status", "message": "3" } });
        assert_eq!(failure(&failed), Some("failed exit_status: 3".to_owned()));
        assert_eq!(failure(&json!({ "status": "canceled" })), Some("canceled".to_owned()));
    }
}
