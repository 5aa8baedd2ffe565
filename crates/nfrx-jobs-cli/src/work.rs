//! `nfrx jobs work`: a worker that runs a program for each job.

mod gate;
mod hours;
mod job;
mod lease;
mod program;
mod telling;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use http::Method;
use nfrx_runtime::backoff::Backoff;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::api::{Api, plain};
use gate::Gate;
pub use hours::Hours;
use job::Claimed;

/// How long a claim waits for a job.
const WAIT_S: u64 = 30;
/// Waits between questions to a server that is away.
const AWAY: &[Duration] =
    &[Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(15)];

/// How long a server may take to take back what ran.
const GIVE_BACK_MAX: Duration = Duration::from_secs(5);

/// What a worker does, and how.
#[derive(Debug, Clone)]
pub struct WorkPlan {
    /// Types of jobs; none for all.
    pub kinds: Vec<String>,
    /// Jobs at once.
    pub slots: usize,
    /// What it calls itself.
    pub worker_id: String,
    /// Its group; empty for none.
    pub group: String,
    /// What its machine has, for jobs that ask for it.
    pub labels: Vec<String>,
    /// How long the server waits for a sign of life.
    pub lease: Duration,
    /// Whether the program reads a payload.
    pub has_input: bool,
    /// Whether what the program writes is the result.
    pub has_output: bool,
    /// When it works; always if not set.
    pub hours: Option<Hours>,
    /// How long running jobs get when it is told to stop.
    pub drain: Duration,
    /// The program and what it is told. No shell reads it.
    pub command: Vec<String>,
}

/// Works until `stop`; then what runs gets its time, unless `now` comes before.
pub async fn work(
    api: Api,
    plan: WorkPlan,
    stop: impl Future<Output = ()>,
    now: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    anyhow::ensure!(!plan.command.is_empty(), "say which program does the jobs, after `--`");
    let gate = Gate::new(plan.hours)?;
    let worker = Arc::new(Worker { api, plan, gate });
    let mut slots = JoinSet::new();
    for _ in 0..worker.plan.slots.max(1) {
        slots.spawn(Arc::clone(&worker).slot());
    }
    info!(types = ?worker.plan.kinds, slots = worker.plan.slots, "waiting for jobs");
    tokio::select! {
        () = stop => {}
        // A slot ends by itself only where it makes no sense to go on.
        Some(ended) = slots.join_next() => return ended.context("a slot broke")?,
    }
    worker.gate.close();
    info!("stopping: nothing new, what runs goes on");
    let drained = async { while slots.join_next().await.is_some() {} };
    tokio::select! {
        () = drained => {}
        () = tokio::time::sleep(worker.plan.drain) => warn!("what runs took too long and is given back"),
        () = now => warn!("what runs is given back"),
    }
    worker.gate.halt();
    let given_back = async { while slots.join_next().await.is_some() {} };
    if tokio::time::timeout(GIVE_BACK_MAX, given_back).await.is_err() {
        warn!("the server does not take back what ran: another worker gets it when its lease is over");
    }
    // The programs that are left end with their tasks.
    slots.shutdown().await;
    Ok(())
}

struct Worker {
    api: Api,
    plan: WorkPlan,
    gate: Gate,
}

impl Worker {
    /// One job after the other. Ends when the gate is closed.
    async fn slot(self: Arc<Self>) -> anyhow::Result<()> {
        let mut backoff = Backoff::new(AWAY);
        while self.gate.open().await {
            let claimed = tokio::select! {
                // A claim that is dropped gives its job back.
                claimed = self.claim() => claimed,
                () = self.gate.shut() => continue,
            };
            match claimed {
                Ok(None) => backoff.reset(),
                Ok(Some(claimed)) => {
                    backoff.reset();
                    job::run(&self.api, &self.plan, &self.gate, &claimed).await;
                }
                Err(error) if error.may_pass() => {
                    let wait = backoff.next_wait();
                    warn!(%error, again_in_s = wait.as_secs(), "no job can be asked for");
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.gate.closed() => {}
                    }
                }
                Err(error) => return Err(error).context("no job can be asked for"),
            }
        }
        Ok(())
    }

    async fn claim(&self) -> Result<Option<Claimed>, crate::ApiError> {
        let WorkPlan { kinds, worker_id, group, labels, lease, .. } = &self.plan;
        let asked = json!({
            "types": kinds,
            "worker_id": worker_id,
            "worker_group": group,
            "labels": labels,
            "lease_seconds": lease.as_secs().max(1),
            "max_wait_seconds": WAIT_S,
        });
        let answer = self.api.json(Method::POST, "/api/jobs/claim", Some(&asked)).await?;
        let text = |name: &str| answer[name].as_str().map(plain);
        let Some(id) = text("job_id") else { return Ok(None) };
        Ok(Some(Claimed {
            id,
            kind: text("type").unwrap_or_default(),
            token: answer["claim_token"].as_str().unwrap_or_default().to_owned(),
            metadata: Some(&answer["metadata"]).filter(|value| !value.is_null()).map(Value::to_string),
            lease: answer["lease_seconds"].as_u64().map_or(*lease, Duration::from_secs),
        }))
    }
}
