//! `nfrx jobs list` and `cancel`.

use std::io::Write as _;

use anyhow::Context as _;
use http::Method;
use serde_json::Value;

use crate::api::{Api, plain, segment};

/// Which jobs are listed.
#[derive(Debug, Clone, Default)]
pub struct ListPlan {
    /// Filters by their names in the query: `status`, `type`, `tag`, `worker_id`.
    pub filters: Vec<(&'static str, String)>,
    /// The most jobs.
    pub limit: usize,
    /// One JSON object a line in place of a table.
    pub json: bool,
}

/// Lists jobs, newest first.
pub async fn list(api: &Api, plan: &ListPlan) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    if !plan.json {
        writeln!(out, "{:<36}  {:<16}  {:<16}  {:<20}  WORKER", "JOB", "TYPE", "STATUS", "UPDATED")?;
    }
    let (mut left, mut cursor) = (plan.limit, String::new());
    while left > 0 {
        let mut query = format!("limit={}", left.min(500));
        for (name, value) in
            plan.filters.iter().map(|(n, v)| (*n, v.as_str())).chain([("cursor", cursor.as_str())])
        {
            if !value.is_empty() {
                query += &format!("&{name}={}", segment(value));
            }
        }
        let page =
            api.json(Method::GET, &format!("/api/jobs?{query}"), None).await.context("can't list jobs")?;
        let jobs = page["jobs"].as_array().cloned().unwrap_or_default();
        left = left.saturating_sub(jobs.len());
        for job in &jobs {
            writeln!(out, "{}", if plan.json { job.to_string() } else { row(job) })?;
        }
        match page["next_cursor"].as_str() {
            Some(next) if !jobs.is_empty() => next.clone_into(&mut cursor),
            _ => break,
        }
    }
    Ok(())
}

fn row(job: &Value) -> String {
    let text = |name: &str| plain(job[name].as_str().unwrap_or_default());
    format!(
        "{:<36}  {:<16}  {:<16}  {:<20}  {}",
        text("id"),
        text("type"),
        text("status"),
        text("updated_at"),
        text("claimed_worker_id"),
    )
}

/// Gives jobs up.
pub async fn cancel(api: &Api, ids: &[String]) -> anyhow::Result<()> {
    for id in ids {
        let path = format!("/api/jobs/{}/cancel", segment(id));
        let told = api.json(Method::POST, &path, None).await.with_context(|| format!("can't cancel {id}"))?;
        writeln!(std::io::stdout(), "{id} {}", plain(told["status"].as_str().unwrap_or_default()))?;
    }
    Ok(())
}
