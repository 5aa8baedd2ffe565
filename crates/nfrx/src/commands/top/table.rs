//! The state as a table of text. What workers say of themselves is hostile here too: a
//! terminal obeys control characters.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::Value;

/// How wide a text of a worker may be.
const TEXT_MAX: usize = 28;

const HEADINGS: [&str; 9] =
    ["PLUGIN", "WORKER", "STATUS", "SLOTS", "WAIT", "TOK/S", "TTFT P50/P95", "DONE/FAILED", "VERSION"];

/// What is shown.
pub(super) struct Table {
    summary: String,
    rows: Vec<[String; HEADINGS.len()]>,
}

impl Table {
    /// The table of a state; rates need the state before it.
    pub(super) fn new(state: &Value, before: Option<&Value>) -> Self {
        let earlier: HashMap<_, _> = before.map(workers).into_iter().flatten().collect();
        let found: Vec<_> = workers(state).collect();
        let sum = |key: &str| found.iter().map(|(_, worker)| number(worker, key)).sum::<f64>();
        let waiting: f64 = pools(state).map(|(_, pool)| number(&pool["server"], "scheduler_queue_len")).sum();
        let summary = format!(
            "{} workers, {} of {} slots in use, {waiting} waiting",
            found.len(),
            sum("inflight"),
            sum("max_concurrency"),
        );
        let seconds = before.map_or(0.0, |before| seconds_between(before, state));
        let rows = found.iter().map(|(key, worker)| row(key, worker, earlier.get(key).copied(), seconds));
        Self { summary, rows: rows.collect() }
    }

    /// Lines of text, columns aligned.
    pub(super) fn text(&self) -> String {
        let mut widths = HEADINGS.map(str::len);
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = format!("{}\n\n", self.summary);
        for row in std::iter::once(&HEADINGS.map(str::to_owned)).chain(&self.rows) {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(widths) {
                // Writing into a String can't fail.
                let _ = write!(line, "{cell:width$}  ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

type Key<'a> = (&'a str, &'a str);

fn pools(state: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let parts = state["plugins"].as_object().into_iter().flatten();
    parts
        .filter(|(_, part)| part["workers"].is_array() && part["server"].is_object())
        .map(|(id, part)| (&**id, part))
}

fn workers(state: &Value) -> impl Iterator<Item = (Key<'_>, &Value)> {
    pools(state).flat_map(|(plugin, pool)| {
        let workers = pool["workers"].as_array().into_iter().flatten();
        workers.map(move |worker| ((plugin, worker["id"].as_str().unwrap_or_default()), worker))
    })
}

fn row(
    (plugin, id): &Key<'_>,
    worker: &Value,
    before: Option<&Value>,
    seconds: f64,
) -> [String; HEADINGS.len()] {
    let live = |worker: &Value| number(worker, "output_tokens_live_total");
    let rate = match before {
        Some(before) if seconds > 0.0 && live(worker) >= live(before) => {
            format!("{:.1}", (live(worker) - live(before)) / seconds)
        }
        _ => "-".to_owned(),
    };
    let name = match worker["name"].as_str() {
        None | Some("") => id,
        Some(name) => name,
    };
    let ttft = match (worker["ttft_p50_ms"].as_f64(), worker["ttft_p95_ms"].as_f64()) {
        (Some(median), Some(slow)) => format!("{median:.0}/{slow:.0} ms"),
        _ => "-".to_owned(),
    };
    let counts = |first, second| format!("{}/{}", number(worker, first), number(worker, second));
    [
        shown(plugin),
        shown(name),
        shown(worker["status"].as_str().unwrap_or("unknown")),
        counts("inflight", "max_concurrency"),
        number(worker, "queue_len").to_string(),
        rate,
        ttft,
        counts("processed_total", "failures_total"),
        shown(worker["version"].as_str().unwrap_or_default()),
    ]
}

fn number(of: &Value, key: &str) -> f64 {
    of[key].as_f64().unwrap_or(0.0)
}

/// By the server's own clock; its uptime counts whole seconds.
fn seconds_between(before: &Value, state: &Value) -> f64 {
    let uptime =
        |state| pools(state).map(|(_, pool)| number(&pool["server"], "uptime_s")).fold(0.0, f64::max);
    uptime(state) - uptime(before)
}

/// A text without what a terminal obeys, cut to fit.
fn shown(text: &str) -> String {
    // Also marks that turn the direction of writing around.
    let is_plain = |c: &char| {
        !c.is_control()
            && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let plain: String = text.chars().map(|c| if is_plain(&c) { c } else { '?' }).take(TEXT_MAX).collect();
    plain
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn state(uptime: u32, name: &str, tokens: u32) -> Value {
        json!({ "plugins": {
            "server": { "drainable_inflight": 0 },
            "mcp": { "clients": [], "sessions": [] },
            "llm": {
                "server": { "uptime_s": uptime, "scheduler_queue_len": 3 },
                "workers": [{
                    "id": "a", "name": name, "status": "working", "inflight": 1, "max_concurrency": 2,
                    "queue_len": 0, "output_tokens_live_total": tokens, "processed_total": 7,
                    "failures_total": 1, "ttft_p50_ms": 120.4, "ttft_p95_ms": 300.0, "version": "v1",
                }],
            },
        } })
    }

    #[test]
    fn a_worker_has_a_line_with_its_rate() {
        let before = state(10, "den", 100);
        let text = Table::new(&state(12, "den", 150), Some(&before)).text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "1 workers, 1 of 2 slots in use, 3 waiting");
        let words: Vec<_> = lines[3].split_whitespace().collect();
        assert_eq!(words, ["llm", "den", "working", "1/2", "0", "25.0", "120/300", "ms", "7/1", "v1"]);
        let again = Table::new(&state(13, "den", 10), Some(&before)).text();
        assert!(again.contains(" -  "), "a worker that began anew has no rate yet: {again}");
    }

    #[test]
    fn a_name_cannot_speak_to_the_terminal() {
        let text = Table::new(&state(1, "\u{1b}[2Jgone\r\n\u{202e}x", 0), None).text();
        assert!(!text.contains('\u{1b}') && !text.contains('\r') && !text.contains('\u{202e}'), "{text:?}");
        assert!(text.contains("?[2Jgone???x"), "{text:?}");
    }
}
