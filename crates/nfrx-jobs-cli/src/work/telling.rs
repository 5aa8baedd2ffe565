//! What a program tells while it works, on its way to the server: not more often than somebody
//! can follow.

use std::collections::VecDeque;
use std::time::Duration;

use http::Method;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tracing::debug;

use super::job::Claimed;
use crate::api::Api;

/// Between two reports.
const REPORT_EVERY: Duration = Duration::from_millis(250);
/// Lines that a report holds: the newest.
const LINES_MAX: usize = 20;
/// What waits to be told; a program that tells more waits.
pub(super) const NEWS_MAX: usize = 64;

/// Something that a program told.
#[derive(Debug)]
pub(super) enum News {
    /// A line of its standard error.
    Line(String),
    /// A line of its file descriptor 3.
    Progress(String),
}

/// What is known of a program's progress.
#[derive(Debug, Default)]
pub(super) struct Known {
    progress: Map<String, Value>,
    lines: VecDeque<String>,
    /// How many lines there were before those.
    before: u64,
}

impl Known {
    fn take(&mut self, news: News) {
        match news {
            News::Line(line) => {
                if self.lines.len() == LINES_MAX {
                    self.lines.pop_front();
                    self.before += 1;
                }
                self.lines.push_back(line);
            }
            News::Progress(text) => match serde_json::from_str(&text) {
                Ok(Value::Object(members)) => self.progress.extend(members),
                Ok(Value::Number(percent)) => {
                    drop(self.progress.insert("percent".to_owned(), percent.into()))
                }
                _ => drop(self.progress.insert("message".to_owned(), text.into())),
            },
        }
    }

    fn report(&self) -> Value {
        let mut progress = self.progress.clone();
        if !self.lines.is_empty() {
            progress.insert("log_from".to_owned(), self.before.into());
            progress.insert("log".to_owned(), self.lines.iter().cloned().collect());
        }
        Value::Object(progress)
    }
}

/// Tells the server what comes, until nothing does any more.
pub(super) async fn tell(api: &Api, claimed: &Claimed, mut news: mpsc::Receiver<News>) {
    let mut known = Known::default();
    while let Some(first) = news.recv().await {
        known.take(first);
        let gathering = async {
            while let Some(more) = news.recv().await {
                known.take(more);
            }
        };
        // At its end the program is not kept waiting: nothing more will come.
        let _ = tokio::time::timeout(REPORT_EVERY, gathering).await;
        let report = json!({ "state": "running", "progress": known.report(), "claim_token": claimed.token });
        // The next one tells it all again; that the job is lost is noticed elsewhere.
        if let Err(error) = api.json(Method::POST, &claimed.path("status"), Some(&report)).await {
            debug!(%error, "progress was not told");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_a_number_an_object_or_words_and_the_newest_lines_are_kept() {
        let mut known = Known::default();
        for text in ["12.5", r#"{"stage":"decode","percent":40}"#, "nearly done", "[1]"] {
            known.take(News::Progress(text.to_owned()));
        }
        (0..LINES_MAX + 3).for_each(|n| known.take(News::Line(format!("line {n}"))));
        let report = known.report();
        assert_eq!(
            (&report["percent"], &report["stage"], &report["message"]),
            (&json!(40), &json!("decode"), &json!("[1]"))
        );
        // Seen to fail: without the count of lines that were dropped.
        assert_eq!((&report["log_from"], &report["log"][0]), (&json!(3), &json!("line 3")));
    }
}
