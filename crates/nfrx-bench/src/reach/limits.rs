//! How many requests a second a way carries while its p99 keeps within a limit.
//!
//! Closed loops of more and more connections; what counts for a limit is the best of those whose
//! p99 keeps it. Every way meets the same loop in turn.

use std::collections::BTreeMap;

use anyhow::Result;

use super::Bench;
use super::rows::Rows;
use crate::figure::{Figure, Work};
use crate::load::{self, Times};
use crate::reading;
use crate::session::Session;

/// What p99 may be, in milliseconds.
const LIMITS_MS: [u32; 4] = [1, 5, 10, 50];
/// Connections that are tried; the agent takes no more at once.
const CONNECTIONS: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

pub(super) async fn measure(bench: &Bench<'_>, rows: &mut Rows) -> Result<()> {
    let session = Session::start(&bench.plan.programs, &bench.plan.peers).await?;
    for reason in &session.left_out {
        println!("left out: {reason}");
    }
    let times = Times { warm_up: bench.window() / 10, window: bench.window() / 2, repeats: 1 };
    let mut best = BTreeMap::new();
    for connections in CONNECTIONS {
        let figure = Figure { name: "limits", about: "a closed loop", work: Work::Requests(connections) };
        let (targets, backend) = session.parts();
        for (turn, target) in targets.iter().enumerate() {
            let mut observed = match load::measure(&figure, target, &backend.process, times).await {
                Ok(observed) => observed,
                Err(error) => {
                    eprintln!("{} with {connections} connections: {error:#}", target.name);
                    continue;
                }
            };
            let reading = reading::read(&figure, &mut observed);
            let (Some(p99), rate) = (reading.get("p99_us"), reading["requests_per_s"]) else { continue };
            for limit in kept(*p99) {
                let best: &mut f64 = best.entry((limit, turn)).or_default();
                *best = best.max(rate);
            }
        }
    }
    let (targets, _) = session.parts();
    for limit in LIMITS_MS {
        for (turn, target) in targets.iter().enumerate() {
            let rate = best.get(&(limit, turn)).copied().unwrap_or_default();
            rows.add(format!("requests/s with p99 within {limit} ms, {}", target.name), "1/s", None, rate);
        }
    }
    Ok(())
}

/// The limits that a p99 in microseconds keeps.
fn kept(p99_us: f64) -> impl Iterator<Item = u32> {
    LIMITS_MS.into_iter().filter(move |limit| p99_us <= f64::from(limit * 1_000))
}

#[cfg(test)]
mod tests {
    use super::kept;

    #[test]
    fn a_limit_is_kept_up_to_itself() {
        assert_eq!(kept(1_000.0).collect::<Vec<_>>(), [1, 5, 10, 50]);
        assert_eq!(kept(5_000.1).collect::<Vec<_>>(), [10, 50]);
        assert_eq!(kept(90_000.0).count(), 0);
    }
}
