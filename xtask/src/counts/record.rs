//! What was counted, as a file keeps it, and what became of it since.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result};

/// So many percent more are a loss, and so many fewer want to be recorded, or the next loss
/// hides behind them. Runs on one machine differ by an instruction at most; the room is for
/// another library of C, whose copying and allocating counts as well.
// Seen to fail: two copies of the label's text in `Pool::take` were 16.3 % more, and nothing else
// moved. One was 8.4 %, which passes.
const TOLERANCE: u64 = 10;

const HEADING: &str =
    "# Instructions of one operation of what is hot: `cargo xtask counts`, written by `--record`.\n";

/// What was counted in one go.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Record {
    /// The kind of processor.
    pub(super) arch: String,
    pub(super) compiler: String,
    /// Workloads and their instructions per operation.
    pub(super) counts: Vec<(String, u64)>,
}

impl Record {
    pub(super) fn read(text: &str) -> Result<Self> {
        let mut record = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (key, value) = line.split_once(' ').with_context(|| format!("`{line}` has no value"))?;
            match key {
                "arch" => record.arch = value.to_owned(),
                "compiler" => record.compiler = value.to_owned(),
                _ => {
                    let count = value.parse().with_context(|| format!("`{line}` has no count"))?;
                    record.counts.push((key.to_owned(), count));
                }
            }
        }
        Ok(record)
    }

    pub(super) fn text(&self) -> String {
        let mut text = format!("{HEADING}arch {}\ncompiler {}\n", self.arch, self.compiler);
        for (name, count) in &self.counts {
            let _ = writeln!(text, "{name} {count}");
        }
        text
    }
}

/// What was counted, beside what is on record.
pub(super) struct Compared<'a> {
    counted: &'a Record,
    recorded: &'a Record,
    rows: Vec<Row<'a>>,
}

struct Row<'a> {
    name: &'a str,
    counted: Option<u64>,
    recorded: Option<u64>,
}

/// What is to be said of a workload.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Finding {
    Same,
    More,
    Fewer,
    /// Only one of the two knows it.
    Unmatched,
}

impl Row<'_> {
    /// By how many percent it became more.
    fn change(&self) -> Option<f64> {
        let (counted, recorded) = (self.counted?, self.recorded?);
        Some((counted as f64 / recorded as f64 - 1.0) * 100.0)
    }

    fn finding(&self) -> Finding {
        match (self.counted, self.recorded) {
            (Some(counted), Some(recorded)) if counted * 100 > recorded * (100 + TOLERANCE) => Finding::More,
            (Some(counted), Some(recorded)) if counted * 100 < recorded * (100 - TOLERANCE) => Finding::Fewer,
            (Some(_), Some(_)) => Finding::Same,
            _ => Finding::Unmatched,
        }
    }
}

impl<'a> Compared<'a> {
    pub(super) fn new(counted: &'a Record, recorded: &'a Record) -> Self {
        let mut known: BTreeMap<_, _> =
            recorded.counts.iter().map(|(name, count)| (&**name, *count)).collect();
        let mut rows: Vec<_> = counted
            .counts
            .iter()
            .map(|(name, count)| Row { name, counted: Some(*count), recorded: known.remove(&**name) })
            .collect();
        rows.extend(known.into_iter().map(|(name, count)| Row {
            name,
            counted: None,
            recorded: Some(count),
        }));
        Self { counted, recorded, rows }
    }

    /// One line a workload, in the order in which they were counted.
    pub(super) fn table(&self) -> String {
        let number = |count: Option<u64>| count.map_or("–".to_owned(), |count| count.to_string());
        let mut table =
            format!("{:<24}{:>14}{:>10}{:>10}\n", "workload", "instructions", "recorded", "change");
        for row in &self.rows {
            let change = row.change().map_or(String::new(), |change| format!("{change:+.1} %"));
            let note = match row.finding() {
                Finding::Same => "",
                Finding::More => "  MORE",
                Finding::Fewer => "  fewer",
                Finding::Unmatched => "  NOT IN BOTH",
            };
            let (counted, recorded) = (number(row.counted), number(row.recorded));
            let _ = writeln!(table, "{:<24}{counted:>14}{recorded:>10}{change:>10}{note}", row.name);
        }
        table
    }

    /// Whether a push may have it.
    pub(super) fn holds(&self) -> bool {
        !self.is_comparable() || !self.has(Finding::More) && !self.has(Finding::Unmatched)
    }

    /// What is to be done about it, if anything.
    pub(super) fn advice(&self) -> String {
        let (counted, recorded) = (self.counted, self.recorded);
        let mut advice = String::new();
        if !self.is_comparable() {
            let (this, other) = (&counted.arch, &recorded.arch);
            let _ = writeln!(advice, "\nrecorded on {other}, and this is {this}: nothing is compared");
            return advice;
        }
        if !self.holds() {
            let _ = writeln!(
                advice,
                "\n`callgrind_annotate target/counts/NAME.callgrind` tells where the instructions go. If it is\n\
                 meant, `cargo xtask counts --record` writes them down, for the commit that says why."
            );
            if counted.compiler != recorded.compiler {
                let (this, other) = (&counted.compiler, &recorded.compiler);
                let _ = writeln!(
                    advice,
                    "They were recorded with {other}, and this is {this}: count the commit before as well."
                );
            }
        } else if self.has(Finding::Fewer) {
            let _ = writeln!(
                advice,
                "\nSome cost less than is on record: `cargo xtask counts --record` keeps it that way."
            );
        }
        advice
    }

    /// Counts of another kind of processor are others.
    fn is_comparable(&self) -> bool {
        self.recorded.counts.is_empty() || self.counted.arch == self.recorded.arch
    }

    fn has(&self, finding: Finding) -> bool {
        self.rows.iter().any(|row| row.finding() == finding)
    }
}

#[cfg(test)]
mod tests {
    use super::{Compared, Record};

    fn record(arch: &str, compiler: &str, counts: &[(&str, u64)]) -> Record {
        let counts = counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        Record { arch: arch.to_owned(), compiler: compiler.to_owned(), counts }
    }

    /// What becomes of `counted` where 1,000 instructions of `slot` are on record.
    #[track_caller]
    fn check(counted: &[(&str, u64)], holds: bool, advice: &str) {
        let recorded = record("x86_64", "rustc 1", &[("slot", 1_000)]);
        let counted = record("x86_64", "rustc 1", counted);
        let compared = Compared::new(&counted, &recorded);
        assert_eq!(compared.holds(), holds, "{}", compared.table());
        let said = compared.advice();
        assert_eq!(said.is_empty(), advice.is_empty(), "{said}");
        assert!(said.contains(advice), "{said}");
    }

    // Seen to fail: with a bound of a hundred percent.
    #[test]
    fn what_costs_more_than_the_tolerance_is_a_loss() {
        check(&[("slot", 1_000)], true, "");
        check(&[("slot", 1_100)], true, "");
        check(&[("slot", 1_101)], false, "--record");
    }

    // Seen to fail: with fewer taken for the same.
    #[test]
    fn what_became_cheaper_wants_to_be_recorded_and_fails_nothing() {
        check(&[("slot", 900)], true, "");
        check(&[("slot", 899)], true, "keeps it that way");
    }

    // Seen to fail: with the rows of what is only on record left out.
    #[test]
    fn a_workload_that_only_one_of_both_knows_is_to_be_recorded() {
        check(&[("slot", 1_000), ("queue", 5)], false, "--record");
        check(&[], false, "--record");
    }

    // Seen to fail: with every processor taken for the same.
    #[test]
    fn counts_of_another_processor_are_not_compared() {
        let (counted, recorded) =
            (record("aarch64", "rustc 1", &[("slot", 9)]), record("x86_64", "rustc 1", &[("slot", 1)]));
        let compared = Compared::new(&counted, &recorded);
        assert!(compared.holds());
        assert!(compared.advice().contains("nothing is compared"));
    }

    // Seen to fail: with the compilers' names not compared.
    #[test]
    fn a_loss_under_another_compiler_says_so() {
        let (counted, recorded) =
            (record("x86_64", "rustc 2", &[("slot", 9)]), record("x86_64", "rustc 1", &[("slot", 1)]));
        assert!(Compared::new(&counted, &recorded).advice().contains("recorded with rustc 1"));
    }

    // Seen to fail: with the compiler's name cut at its first space.
    #[test]
    fn a_record_is_read_as_it_was_written_and_nonsense_is_refused() {
        let record = record("x86_64", "rustc 1.95.0 (59807616e)", &[("slot", 1), ("queue", 20)]);
        assert_eq!(Record::read(&record.text()).unwrap(), record);
        assert!(Record::read("slot many\n").is_err());
    }

    // Seen to fail: with the change behind the note.
    #[test]
    fn the_table_has_a_line_for_each() {
        let (counted, recorded) = (
            record("", "", &[("slot", 1_200), ("queue", 5)]),
            record("", "", &[("slot", 1_000), ("old", 7)]),
        );
        assert_eq!(
            Compared::new(&counted, &recorded).table(),
            "workload                  instructions  recorded    change\n\
             slot                              1200      1000   +20.0 %  MORE\n\
             queue                                5         –            NOT IN BOTH\n\
             old                                  –         7            NOT IN BOTH\n"
        );
    }
}
