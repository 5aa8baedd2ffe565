//! What a run of libFuzzer has come to, from what it prints.

use std::fmt::Write as _;

/// One target's run.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Report {
    pub(super) target: String,
    /// Whether the program was built with counters: without them inputs are drawn blindly.
    pub(super) has_counters: bool,
    executions: u64,
    /// Edges that were reached.
    coverage: u64,
    /// Inputs that reached something new.
    new_inputs: u64,
    pub(super) fault: Option<Fault>,
}

/// A promise was broken.
#[derive(Debug, PartialEq)]
pub(super) struct Fault {
    /// Where the input was written.
    input: String,
    /// What was said of it.
    message: String,
}

impl Report {
    /// Reads the log of a run.
    pub(super) fn read(target: &str, log: &str) -> Self {
        let mut report = Self { target: target.to_owned(), ..Self::default() };
        let mut lines = log.lines().peekable();
        let mut message = String::new();
        while let Some(line) = lines.next() {
            report.has_counters |= line.contains(" inline 8-bit counters): ");
            if let Some(("", rest)) = line.split_once("stat::") {
                report.take(rest);
            } else if let Some((_, rest)) = line.split_once("cov: ") {
                report.coverage = number(rest).unwrap_or(report.coverage);
            } else if line.contains(" panicked at ") {
                message = lines.peek().map_or(line, |next| *next).to_owned();
            } else if let Some((_, error)) = line.split_once("ERROR: libFuzzer: ")
                && message.is_empty()
            {
                message = error.to_owned();
            } else if let Some((_, input)) = line.split_once("Test unit written to ") {
                report.fault = Some(Fault { input: input.to_owned(), message: message.clone() });
            }
        }
        report
    }

    fn take(&mut self, statistic: &str) {
        let Some((name, value)) = statistic.split_once(':') else { return };
        let value = number(value.trim_start()).unwrap_or_default();
        match name {
            "number_of_executed_units" => self.executions = value,
            "new_units_added" => self.new_inputs = value,
            _ => {}
        }
    }

    /// What is to be done about a fault.
    pub(super) fn how_to_repeat(&self) -> String {
        let Some(Fault { input, message }) = &self.fault else { return String::new() };
        let target = &self.target;
        format!("{target}: {message}\n  again with: cargo xtask fuzz {target} --input {input}\n")
    }
}

/// The number at the beginning of a text.
fn number(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

/// One line for each target.
pub(super) fn table(reports: &[Report]) -> String {
    let mut table =
        format!("{:<14}{:>12}{:>10}{:>6}  {}\n", "target", "executions", "coverage", "new", "result");
    for Report { target, executions, coverage, new_inputs, fault, .. } in reports {
        let result = if fault.is_some() { "BROKEN" } else { "ok" };
        let _ = writeln!(table, "{target:<14}{executions:>12}{coverage:>10}{new_inputs:>6}  {result}");
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
INFO: Seed: 1
INFO: Loaded 1 modules   (117 inline 8-bit counters): 117 [0x55, 0x66), \n\
#2	INITED cov: 4 ft: 4 corp: 1/1b exec/s: 0 rss: 27Mb
#41	NEW    cov: 15 ft: 5 corp: 2/5b lim: 4 exec/s: 0 rss: 27Mb L: 4/4
Done 900 runs in 2 second(s)
stat::number_of_executed_units: 900
stat::average_exec_per_sec:     450
stat::new_units_added:          7
";
    const BAD: &str = "\
thread '<unnamed>' panicked at crates/x.rs:3:13:
two models
==1== ERROR: libFuzzer: deadly signal
artifact_prefix='b/'; Test unit written to b/crash-1
";

    // Seen to fail: with the first coverage kept.
    #[test]
    fn a_report_has_the_last_figures() {
        let report = Report::read("form", GOOD);
        assert_eq!((report.has_counters, report.executions, report.coverage), (true, 900, 15));
        assert_eq!((report.new_inputs, &report.fault), (7, &None));
        assert_eq!(
            table(&[report]),
            "target          executions  coverage   new  result\n\
             form                   900        15     7  ok\n"
        );
    }

    // Seen to fail: without the look for a panic, and for counters that are not there.
    #[test]
    fn a_fault_is_what_was_said_of_its_input() {
        let report = Report::read("form", BAD);
        assert!(!report.has_counters);
        let fault = Fault { input: "b/crash-1".into(), message: "two models".into() };
        assert_eq!(report.fault, Some(fault));
        assert!(report.how_to_repeat().contains("cargo xtask fuzz form --input b/crash-1"));
        let slow = BAD.replace("panicked at", "went on in").replace("deadly signal", "timeout");
        assert_eq!(Report::read("form", &slow).fault.map(|fault| fault.message), Some("timeout".into()));
    }
}
