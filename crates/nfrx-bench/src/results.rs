//! All rounds together: medians, spreads, and ratios to the reference.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::figure::Figure;
use crate::reading::{Reading, add_added};
use crate::stats::Summary;

/// The target that times are compared with.
pub(crate) const DIRECT: &str = "direct";
/// The target that costs and throughput are compared with.
pub(crate) const REFERENCE: &str = "rathole";

/// One measurement of one target, or why there is none.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Run {
    pub(crate) round: u32,
    pub(crate) figure: &'static str,
    pub(crate) target: String,
    pub(crate) outcome: Result<Reading, String>,
}

/// Everything measured.
#[derive(Debug, Default)]
pub(crate) struct Results {
    runs: Vec<Run>,
}

impl Results {
    /// Adds a measurement. Those of `direct` come first in a round.
    pub(crate) fn add(&mut self, mut run: Run) {
        if let (Ok(reading), Some(direct)) = (&mut run.outcome, self.reading(run.round, run.figure, DIRECT))
            && run.target != DIRECT
        {
            add_added(reading, direct);
        }
        self.runs.push(run);
    }

    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Whether anybody was measured.
    pub(crate) fn has(&self, figure: &Figure) -> bool {
        self.runs.iter().any(|run| run.figure == figure.name)
    }

    fn reading(&self, round: u32, figure: &str, target: &str) -> Option<&Reading> {
        let found = self.of(figure, target).find(|run| run.round == round)?;
        found.outcome.as_ref().ok()
    }

    fn of<'s>(&'s self, figure: &str, target: &str) -> impl Iterator<Item = &'s Run> {
        self.runs.iter().filter(move |run| run.figure == figure && run.target == target)
    }

    /// Why a target has no figure in some round; the last reason.
    pub(crate) fn failure(&self, figure: &str, target: &str) -> Option<&str> {
        self.of(figure, target).filter_map(|run| run.outcome.as_ref().err()).map(String::as_str).last()
    }

    /// A metric over all rounds.
    pub(crate) fn summary(&self, figure: &str, target: &str, metric: &str) -> Option<Summary> {
        let readings = self.of(figure, target).filter_map(|run| run.outcome.as_ref().ok());
        Summary::new(readings.filter_map(|reading| reading.get(metric).copied()).collect())
    }

    /// A metric relative to the reference, round by round: what disturbed a whole round cancels out.
    pub(crate) fn ratio(&self, figure: &str, target: &str, metric: &str) -> Option<Summary> {
        let ratios = self.of(figure, target).filter_map(|run| {
            let own = *run.outcome.as_ref().ok()?.get(metric)?;
            let reference = *self.reading(run.round, figure, REFERENCE)?.get(metric)?;
            (reference > 0.0).then_some(own / reference)
        });
        Summary::new(ratios.collect())
    }

    /// A metric over everything measured.
    pub(crate) fn overall(&self, metric: &str) -> Option<Summary> {
        let readings = self.runs.iter().filter_map(|run| run.outcome.as_ref().ok());
        Summary::new(readings.filter_map(|reading| reading.get(metric).copied()).collect())
    }

    /// Every metric of a target, for the file.
    pub(crate) fn summaries(&self, figure: &str, target: &str) -> BTreeMap<&str, Summary> {
        let readings = self.of(figure, target).filter_map(|run| run.outcome.as_ref().ok());
        let metrics = readings.flat_map(|reading| reading.keys().map(String::as_str));
        metrics.filter_map(|metric| Some((metric, self.summary(figure, target, metric)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Results, Run};
    use crate::reading::Reading;

    /// `cpu` by round; `None` is a failed round.
    fn add(results: &mut Results, target: &str, cpu: &[Option<f64>]) {
        for (round, cpu) in (1..).zip(cpu) {
            let reading = cpu.map(|cpu| Reading::from([("cpu_us".to_owned(), cpu)]));
            let outcome = reading.ok_or_else(|| format!("lost in round {round}"));
            results.add(Run { round, figure: "small-c1", target: target.to_owned(), outcome });
        }
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let mut results = Results::default();
        add(&mut results, "rathole", &[Some(10.0), Some(100.0), Some(20.0)]);
        add(&mut results, "nfrx", &[Some(15.0), Some(150.0), Some(60.0)]);
        // Seen to fail: with the ratio of the medians, which is 3.
        let ratio = results.ratio("small-c1", "nfrx", "cpu_us").unwrap();
        assert_eq!((ratio.median, ratio.most, ratio.rounds), (1.5, 3.0, 3));
    }

    #[test]
    fn a_failed_round_is_left_out_and_told() {
        let mut results = Results::default();
        add(&mut results, "rathole", &[Some(10.0), None, Some(20.0)]);
        add(&mut results, "nfrx", &[Some(15.0), Some(7.0), None]);
        assert_eq!(results.ratio("small-c1", "nfrx", "cpu_us").unwrap().rounds, 1);
        assert_eq!(results.summary("small-c1", "nfrx", "cpu_us").unwrap().rounds, 2);
        assert_eq!(results.failure("small-c1", "nfrx"), Some("lost in round 3"));
        assert_eq!(results.failure("small-c1", "direct"), None);
    }
}
