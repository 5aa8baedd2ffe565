//! A run: rounds of load and faults, with a pause and an audit after each.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use nfrx_testkit::fault::Dice;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::audit::{self, Reading};
use crate::client::{self, Crowd};
use crate::member::Member;
use crate::outcome::Outcomes;
use crate::world::World;
use crate::{attack, catalog};

/// How long a round is at most.
const ROUND: Duration = Duration::from_secs(20);
/// Rounds at least: the first ones warm up what is kept for good.
const ROUNDS_MIN: u32 = 3;
/// How many guests there are at once whom nobody invited.
const GUESTS: u32 = 4;
/// How much memory may grow from the end of the warm-up to the end: what the allocator
/// keeps varies, and a leak of a kilobyte a request is far more.
const GROWTH_KIB_MAX: u64 = 32 * 1024;

/// What is to be done.
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) span: Duration,
    pub(crate) clients: u16,
}

/// What was done and found.
pub(crate) struct Report {
    seed: u64,
    span: Duration,
    outcomes: Outcomes,
    readings: Vec<Reading>,
}

/// Runs the plan. An error is one of this machine, not of the relay.
pub(crate) async fn run(plan: &Plan) -> Result<Report> {
    let outcomes = Outcomes::default();
    let before = Reading::take();
    let (world, mut members) = World::start(plan.seed, &outcomes).await?;
    let entries = catalog::learn(plan.seed, world.backend).await?;
    let crowd = Arc::new(Crowd { server: world.server, entries, outcomes: outcomes.clone() });
    let at_first = settled().await;
    let rounds = ROUNDS_MIN.max((plan.span.as_secs_f64() / ROUND.as_secs_f64()).ceil() as u32);
    let mut readings = Vec::new();
    for round in 0..rounds {
        members = load(plan, round, &crowd, members, plan.span / rounds).await?;
        audit::becomes_quiet(&world, &members, &outcomes).await;
        for member in &mut members {
            member.stop().await;
        }
        readings.push(audit::becomes_empty(&world, at_first, &outcomes).await);
    }
    drop(members);
    world.end().await;
    let after = settled().await;
    if after.tasks > before.tasks || after.files > before.files {
        outcomes.violate(format!("left over at the end: {after:?}, before the start {before:?}"));
    }
    let report = Report { seed: plan.seed, span: plan.span, outcomes, readings };
    report.judge();
    Ok(report)
}

/// One round of load. Gives the agents back when all clients have their answers.
async fn load(
    plan: &Plan,
    round: u32,
    crowd: &Arc<Crowd>,
    mut members: Vec<Member>,
    span: Duration,
) -> Result<Vec<Member>> {
    let ids: Vec<String> = members.iter().map(|member| member.id().to_owned()).collect();
    let (mut lives, mut clients) = (JoinSet::new(), JoinSet::new());
    for member in &mut members {
        member.start();
    }
    for member in &members {
        // One whose first connections break comes when it comes.
        let _ = tokio::time::timeout(Duration::from_secs(2), member.connected()).await;
    }
    let until = Instant::now() + span;
    for member in members {
        lives.spawn(member.live(until));
    }
    for nth in 0..plan.clients {
        let dice = Dice::new(plan.seed, &format!("client {nth} in round {round}"));
        clients.spawn(client::run(Arc::clone(crowd), dice, until));
    }
    for nth in 0..GUESTS {
        let dice = Dice::new(plan.seed, &format!("guest {nth} in round {round}"));
        let (server, ids, faults) = (crowd.server, ids.clone(), crowd.outcomes.faults.clone());
        clients.spawn(async move { attack::run(server, &ids, dice, until, faults).await });
    }
    let mut back = Vec::new();
    while let Some(member) = lives.join_next().await {
        back.push(member?);
    }
    while let Some(ended) = clients.join_next().await {
        ended?;
    }
    Ok(back)
}

/// What is held once what was just closed is gone.
async fn settled() -> Reading {
    let mut last = Reading::take();
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = Reading::take();
        if (now.tasks, now.files) == (last.tasks, last.files) {
            return now;
        }
        last = now;
    }
}

impl Report {
    /// Looks at the whole.
    fn judge(&self) {
        let ends = self.outcomes.ends.counts();
        let right = ends.get("right").copied().unwrap_or_default();
        let asked = self.outcomes.ends.sum();
        if right * 2 < asked {
            self.outcomes.violate(format!("only {right} of {asked} requests got their answers"));
        }
        let warm = self.readings.get(self.readings.len() / 3);
        if let (Some(warm), Some(last)) = (warm, self.readings.last())
            && last.memory_kib > warm.memory_kib + GROWTH_KIB_MAX
        {
            self.outcomes.violate(format!(
                "memory grew from {} to {} KiB, by more than {GROWTH_KIB_MAX} KiB",
                warm.memory_kib, last.memory_kib
            ));
        }
    }

    /// Whether nothing happened that must never happen.
    pub(crate) fn is_clean(&self) -> bool {
        self.outcomes.violations().0 == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ends, faults) = (&self.outcomes.ends, &self.outcomes.faults);
        for (title, tally) in [("requests", ends), ("faults", faults)] {
            writeln!(f, "{title}: {}", tally.sum())?;
            for (name, count) in tally.counts() {
                writeln!(f, "  {count:>8}  {name}")?;
            }
        }
        writeln!(f, "after each round: MiB, tasks, files")?;
        for reading in &self.readings {
            let Reading { memory_kib, tasks, files } = reading;
            writeln!(f, "  {:>8.1} {tasks:>6} {files:>6}", *memory_kib as f64 / 1024.0)?;
        }
        let (count, told) = self.outcomes.violations();
        for violation in &told {
            writeln!(f, "VIOLATION: {violation}")?;
        }
        if count == 0 {
            return write!(f, "clean");
        }
        write!(
            f,
            "{count} violations; again with --seed {} --minutes {}",
            self.seed,
            self.span.as_secs_f64() / 60.0
        )
    }
}
