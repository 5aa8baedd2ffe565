//! One run: starts everything, measures round by round, ends everything.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::sleep;

use crate::figure::Figure;
use crate::load::{self, Times};
use crate::reading;
use crate::report::Memory;
use crate::results::{Results, Run};
use crate::scratch::Scratch;
use crate::target::{self, Backend, Target};

/// Before memory is looked at, so that what ended is gone.
const SETTLE: Duration = Duration::from_secs(1);

/// What to measure, and how.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) figures: Vec<Figure>,
    pub(crate) rounds: u32,
    pub(crate) times: Times,
    /// `name=url` each.
    pub(crate) peers: Vec<String>,
    pub(crate) programs: Programs,
}

/// Where the programs are that can be started; `None` leaves a target out.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    pub(crate) nfrx: Option<PathBuf>,
    pub(crate) rathole: Option<PathBuf>,
    pub(crate) nginx: Option<PathBuf>,
}

/// Everything that runs. Dropping it kills all processes and removes their files.
#[derive(Debug)]
pub(crate) struct Session {
    backend: Backend,
    targets: Vec<Target>,
    pub(crate) left_out: Vec<String>,
    pub(crate) memory: BTreeMap<(String, String), Memory>,
    scratch: Scratch,
}

impl Session {
    /// Starts all targets. One that does not start is left out, with the reason.
    pub(crate) async fn start(programs: &Programs, peers: &[String]) -> Result<Self> {
        let scratch = Scratch::new()?;
        let backend = Backend::start(&scratch.folder("sim")?).await?;
        let mut session = Self {
            targets: vec![Target::direct(&backend)],
            backend,
            left_out: Vec::new(),
            memory: BTreeMap::new(),
            scratch,
        };
        session.start_programs(programs).await?;
        for argument in peers {
            let peer = target::peer(argument).await?;
            if session.targets.iter().any(|target| target.name == peer.name) {
                bail!("two targets are called {}", peer.name);
            }
            session.targets.push(peer);
        }
        sleep(SETTLE).await;
        session.remember(|memory, kib| memory.idle_kib = kib)?;
        Ok(session)
    }

    async fn start_programs(&mut self, programs: &Programs) -> Result<()> {
        let backend = &self.backend;
        let mut started = Vec::new();
        match &programs.rathole {
            Some(program) => {
                let folder = self.scratch.folder("rathole")?;
                started.push(target::rathole(program, backend, &folder).await);
            }
            None => self.left_out.push("rathole is not installed".to_owned()),
        }
        match &programs.nfrx {
            Some(program) => {
                let folder = self.scratch.folder("nfrx")?;
                started.push(target::nfrx(program, backend, &folder).await);
            }
            None => self.left_out.push("nfrx is not built".to_owned()),
        }
        match &programs.nginx {
            Some(program) => {
                let folder = self.scratch.folder("nginx")?;
                started.push(target::nginx(program, backend, &folder).await);
            }
            None => self.left_out.push("nginx is not installed".to_owned()),
        }
        for target in started {
            match target {
                Ok(target) => self.targets.push(target),
                Err(error) => {
                    // Now, too: somebody who waits minutes for this very target wants to know.
                    eprintln!("left out: {error:#}");
                    self.left_out.push(format!("{error:#}"));
                }
            }
        }
        Ok(())
    }

    pub(crate) fn targets(&self) -> Vec<String> {
        self.targets.iter().map(|target| target.name.clone()).collect()
    }

    /// All targets, `direct` first, and their backend.
    pub(crate) fn parts(&self) -> (&[Target], &Backend) {
        (&self.targets, &self.backend)
    }

    /// Measures everything, target after target within each figure, so that they meet the same noise.
    pub(crate) async fn measure(&mut self, plan: &Plan) -> Result<Results> {
        let mut results = Results::default();
        for round in 1..=plan.rounds {
            for figure in &plan.figures {
                eprintln!("round {round} of {}: {}", plan.rounds, figure.name);
                for index in order(self.targets.len(), round) {
                    let target = &mut self.targets[index];
                    let outcome = measure_once(figure, target, &self.backend, plan.times).await;
                    let target = target.name.clone();
                    let outcome = outcome.map_err(|error| format!("{error:#}"));
                    results.add(Run { round, figure: figure.name, target, outcome });
                }
            }
        }
        sleep(SETTLE).await;
        self.remember(|memory, kib| memory.after_kib = kib)?;
        Ok(results)
    }

    fn remember(&mut self, put: impl Fn(&mut Memory, u64)) -> Result<()> {
        for target in &self.targets {
            for process in &target.processes {
                let key = (target.name.clone(), process.role().to_owned());
                put(self.memory.entry(key).or_default(), process.usage()?.rss_kib);
            }
        }
        Ok(())
    }
}

async fn measure_once(
    figure: &Figure,
    target: &mut Target,
    backend: &Backend,
    times: Times,
) -> Result<reading::Reading> {
    let observed = load::measure(figure, target, &backend.process, times).await;
    // That a process is gone explains more than the connection that broke.
    for process in &mut target.processes {
        process.check_running()?;
    }
    let mut observed = observed.with_context(|| format!("{} failed", figure.name))?;
    Ok(reading::read(figure, &mut observed))
}

/// `direct` first, since others are compared with it; the others take turns at being next.
pub(crate) fn order(targets: usize, round: u32) -> impl Iterator<Item = usize> {
    let others = targets.saturating_sub(1);
    let turn = move |step: usize| 1 + (step + round as usize) % others.max(1);
    std::iter::once(0).chain((0..others).map(turn))
}

#[cfg(test)]
mod tests {
    use super::order;

    #[test]
    fn each_target_has_its_turn_in_every_round_and_direct_is_first() {
        for (targets, round) in [(1, 1), (2, 1), (4, 1), (4, 2), (4, 3)] {
            let mut seen: Vec<_> = order(targets, round).collect();
            assert_eq!(seen[0], 0);
            seen.sort_unstable();
            assert_eq!(seen, (0..targets).collect::<Vec<_>>());
        }
        assert_ne!(order(4, 1).collect::<Vec<_>>(), order(4, 2).collect::<Vec<_>>());
    }
}
