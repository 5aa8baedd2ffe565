//! What is told at the end: tables for a person, JSON for a program.

mod json;
mod table;

use std::collections::BTreeMap;

pub(crate) use self::json::{save, value as json_of};
pub(crate) use self::table::Table;
use crate::aims::AIMS;
use crate::figure::{FIGURES, Figure, Unit};
use crate::machine::Machine;
use crate::results::{REFERENCE, Results};
use crate::stats::Summary;

/// Everything a report tells.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) machine: &'a Machine,
    /// How long and how often was measured, in words.
    pub(crate) terms: &'a str,
    /// In the order they were measured in.
    pub(crate) targets: &'a [String],
    /// Targets that could not be measured at all, and why.
    pub(crate) left_out: &'a [String],
    pub(crate) results: &'a Results,
    /// By target and role.
    pub(crate) memory: &'a BTreeMap<(String, String), Memory>,
}

/// Resident memory of one process group in KiB.
#[derive(Debug, Default, Clone, Copy, serde::Serialize)]
pub(crate) struct Memory {
    /// Before the first request but the one that showed it was ready.
    pub(crate) idle_kib: u64,
    /// After everything, without connections.
    pub(crate) after_kib: u64,
}

/// A column of a figure's table.
struct Column {
    title: &'static str,
    metric: &'static str,
    show: Show,
}

enum Show {
    /// The median, and how far the rounds lie apart.
    Spread,
    Median,
    /// Relative to the reference.
    Ratio,
}

const fn column(title: &'static str, metric: &'static str, show: Show) -> Column {
    Column { title, metric, show }
}

const REQUEST: &[Column] = &[
    column("requests/s", "requests_per_s", Show::Spread),
    column("p50 µs", "p50_us", Show::Spread),
    column("added", "added.p50_us", Show::Median),
    column("p99 µs", "p99_us", Show::Median),
    column("CPU µs", "cpu_us", Show::Spread),
    column("×", "cpu_us", Show::Ratio),
    column("server", "cpu_us.server", Show::Median),
    column("agent", "cpu_us.agent", Show::Median),
    column("sim", "cpu_us.sim", Show::Median),
    column("driver", "cpu_us.driver", Show::Median),
];

const CHUNK: &[Column] = &[
    column("chunks/s", "chunks_per_s", Show::Spread),
    column("CPU µs", "cpu_us", Show::Spread),
    column("×", "cpu_us", Show::Ratio),
    column("server", "cpu_us.server", Show::Median),
    column("agent", "cpu_us.agent", Show::Median),
    column("first p50 µs", "first_p50_us", Show::Median),
    column("gap p99 µs", "gap_p99_us", Show::Median),
    column("added", "added.gap_p99_us", Show::Median),
    column("sim", "cpu_us.sim", Show::Median),
    column("driver", "cpu_us.driver", Show::Median),
];

const MIB: &[Column] = &[
    column("MiB/s", "mib_per_s", Show::Spread),
    column("×", "mib_per_s", Show::Ratio),
    column("CPU µs/MiB", "cpu_us", Show::Spread),
    column("×", "cpu_us", Show::Ratio),
    column("server", "cpu_us.server", Show::Median),
    column("agent", "cpu_us.agent", Show::Median),
    column("asr", "cpu_us.asr", Show::Median),
    column("sim", "cpu_us.sim", Show::Median),
    column("driver", "cpu_us.driver", Show::Median),
];

impl Report<'_> {
    /// The tables.
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "{}\n{}. Medians, ± half the distance between the extremes; × is relative to {REFERENCE}, round by round.\n",
            self.machine, self.terms
        );
        if let Some(others) = self.results.overall("others_cores") {
            text +=
                &format!("Meanwhile others used {:.2} cores, {:.2} at most.\n", others.median, others.most);
        }
        for figure in FIGURES.iter().filter(|figure| self.results.has(figure)) {
            text += &self.figure(figure);
        }
        text += &self.memory_table();
        text += &self.aims();
        for reason in self.left_out {
            text += &format!("\nleft out: {reason}\n");
        }
        text
    }

    fn figure(&self, figure: &Figure) -> String {
        let columns = match figure.unit() {
            Unit::Request => REQUEST,
            Unit::Chunk => CHUNK,
            Unit::Mib => MIB,
        };
        // A column nobody has a value for says nothing.
        let has =
            |column: &&Column| self.targets.iter().any(|target| self.cell(figure, target, column).is_some());
        let columns: Vec<_> = columns.iter().filter(has).collect();
        let mut table = Table::new(columns.iter().map(|column| column.title.to_owned()));
        let mut failures = String::new();
        for target in self.targets {
            let cells = columns.iter().map(|column| self.cell(figure, target, column));
            table.row(target, cells);
            if let Some(failure) = self.results.failure(figure.name, target) {
                failures += &format!("  {target} failed: {failure}\n");
            }
        }
        format!("\n{}: {}\n{table}{failures}", figure.name, figure.about)
    }

    fn cell(&self, figure: &Figure, target: &str, column: &Column) -> Option<String> {
        let summary = || self.results.summary(figure.name, target, column.metric);
        match column.show {
            Show::Spread => summary().map(with_spread),
            Show::Median => summary().map(|summary| number(summary.median)),
            Show::Ratio => {
                let ratio = self.results.ratio(figure.name, target, column.metric)?;
                Some(format!("{:.2}", ratio.median))
            }
        }
    }

    fn memory_table(&self) -> String {
        let titles = ["idle", "most under load", "after"].map(str::to_owned);
        let mut table = Table::new(titles.into_iter());
        for ((target, role), memory) in self.memory {
            let metric = format!("rss_kib.{role}");
            let summaries =
                FIGURES.iter().filter_map(|figure| self.results.summary(figure.name, target, &metric));
            let most = summaries.map(|summary| summary.most).reduce(f64::max);
            let cells = [Some(memory.idle_kib as f64), most, Some(memory.after_kib as f64)];
            table.row(&format!("{target} {role}"), cells.into_iter().map(|cell| cell.map(number)));
        }
        format!("\nresident memory, KiB\n{table}")
    }

    fn aims(&self) -> String {
        let titles = ["measured", "at least", "aim", "", "by"].map(str::to_owned);
        let mut table = Table::new(titles.into_iter());
        for aim in AIMS {
            let value = aim.value(self.results);
            let cells = [
                value.map(|value| aim.show(value.median)),
                Some(aim.show(aim.at_least)),
                Some(aim.show(aim.aim)),
                Some(aim.verdict(value).to_string()),
                Some(format!("--only {}", aim.figure)),
            ];
            table.row(aim.about, cells.into_iter());
        }
        format!("\naims of nfrx (× is relative to {REFERENCE})\n{table}")
    }
}

fn with_spread(summary: Summary) -> String {
    format!("{} ±{:.0}%", number(summary.median), summary.spread() * 100.0)
}

/// Three digits or more, as many as it takes.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
