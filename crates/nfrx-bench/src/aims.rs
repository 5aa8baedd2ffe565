//! What the figures have to reach, and whether they do.

use std::fmt;

use serde::Serialize;

use crate::results::Results;
use crate::stats::Summary;

/// The target that has to reach the aims.
const OURS: &str = "nfrx";

/// A bound on one metric of one figure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Aim {
    pub(crate) about: &'static str,
    pub(crate) figure: &'static str,
    metric: &'static str,
    scale: Scale,
    /// What must be reached, and what is wished for. Where more is better, the second is greater.
    pub(crate) at_least: f64,
    pub(crate) aim: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scale {
    /// Relative to the reference.
    Ratio,
    /// Microseconds.
    Micros,
}

const fn ratio(
    about: &'static str,
    figure: &'static str,
    metric: &'static str,
    at_least: f64,
    aim: f64,
) -> Aim {
    Aim { about, figure, metric, scale: Scale::Ratio, at_least, aim }
}

/// The aims of this project that this program can judge.
pub(crate) const AIMS: &[Aim] = &[
    ratio("CPU per streamed chunk, 16 streams", "streams-16", "cpu_us", 1.5, 1.0),
    ratio("CPU per streamed chunk, 64 streams", "streams-64", "cpu_us", 1.5, 1.0),
    ratio("CPU per streamed chunk, 200 paced streams", "paced-200", "cpu_us", 1.0, 0.7),
    ratio("CPU per small request, 16 connections", "small-c16", "cpu_us", 1.8, 1.2),
    ratio("CPU per small request, 64 connections", "small-c64", "cpu_us", 1.8, 1.2),
    Aim {
        about: "p50 added over direct, 1 connection",
        figure: "small-c1",
        metric: "added.p50_us",
        scale: Scale::Micros,
        at_least: 250.0,
        aim: 120.0,
    },
    ratio("download of 64 MiB, throughput", "download", "mib_per_s", 0.8, 1.0),
    ratio("upload of 64 MiB, throughput", "upload", "mib_per_s", 0.8, 1.0),
    ratio("upload of 64 MiB as JSON, throughput", "upload-json", "mib_per_s", 0.8, 1.0),
];

/// How far an aim is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Reached,
    AtLeast,
    Missed,
    NotMeasured,
}

impl Verdict {
    /// Judges a value by what must be reached and what is wished for: where more is better, the
    /// second is greater.
    pub(crate) fn of(value: f64, at_least: f64, aim: f64) -> Self {
        let more_is_better = aim > at_least;
        let reaches = |bound: f64| if more_is_better { value >= bound } else { value <= bound };
        if reaches(aim) {
            Self::Reached
        } else if reaches(at_least) {
            Self::AtLeast
        } else {
            Self::Missed
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reached => "reached",
            Self::AtLeast => "at least",
            Self::Missed => "MISSED",
            Self::NotMeasured => "not measured",
        })
    }
}

impl Aim {
    /// What was measured.
    pub(crate) fn value(&self, results: &Results) -> Option<Summary> {
        match self.scale {
            Scale::Ratio => results.ratio(self.figure, OURS, self.metric),
            Scale::Micros => results.summary(self.figure, OURS, self.metric),
        }
    }

    /// Judges the median.
    pub(crate) fn verdict(&self, value: Option<Summary>) -> Verdict {
        let Some(Summary { median, .. }) = value else { return Verdict::NotMeasured };
        Verdict::of(median, self.at_least, self.aim)
    }

    /// A value as a person reads it.
    pub(crate) fn show(&self, value: f64) -> String {
        match self.scale {
            Scale::Ratio => format!("{value:.2}×"),
            Scale::Micros => format!("{value:.0} µs"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AIMS, Verdict};
    use crate::figure::FIGURES;
    use crate::stats::Summary;

    #[track_caller]
    fn check(figure: &str, value: Option<f64>, expected: Verdict) {
        let aim = AIMS.iter().find(|aim| aim.figure == figure).unwrap();
        let value = value.and_then(|value| Summary::new(vec![value]));
        assert_eq!(aim.verdict(value), expected, "{figure}");
    }

    #[test]
    fn costs_have_to_be_low_and_throughput_high() {
        check("streams-16", Some(0.9), Verdict::Reached);
        check("streams-16", Some(1.4), Verdict::AtLeast);
        check("streams-16", Some(1.6), Verdict::Missed);
        // Seen to fail: with lower always better.
        check("download", Some(1.1), Verdict::Reached);
        check("download", Some(0.9), Verdict::AtLeast);
        check("download", Some(0.7), Verdict::Missed);
        check("download", None, Verdict::NotMeasured);
    }

    #[test]
    fn every_aim_has_its_figure() {
        for aim in AIMS {
            assert!(FIGURES.iter().any(|figure| figure.name == aim.figure), "{}", aim.figure);
        }
    }
}
