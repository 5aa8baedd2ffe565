//! The same as a file: every round, the medians, the ratios, the aims.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};

use super::Report;
use crate::aims::AIMS;
use crate::figure::FIGURES;

/// Metrics whose ratio to the reference means something.
const RATIOS: [&str; 5] = ["cpu_us", "mib_per_s", "requests_per_s", "chunks_per_s", "p50_us"];

/// Writes results to `file`, making its folder.
pub(crate) fn save(results: &impl Serialize, file: &Path) -> Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let text = serde_json::to_string_pretty(results).context("cannot write JSON")?;
    fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))
}

/// The report with every round.
pub(crate) fn value(report: &Report<'_>) -> Value {
    let memory: Vec<_> = report
        .memory
        .iter()
        .map(|((target, role), memory)| json!({"target": target, "role": role, "kib": memory}))
        .collect();
    json!({
        "machine": report.machine,
        "terms": report.terms,
        "left_out": report.left_out,
        "figures": figures(report),
        "memory": memory,
        "aims": aims(report),
        "runs": report.results.runs(),
    })
}

fn figures(report: &Report<'_>) -> Vec<Value> {
    let results = report.results;
    let targets = |figure: &'static str| -> BTreeMap<&String, Value> {
        let target = |target| {
            let ratios: BTreeMap<_, _> = RATIOS
                .iter()
                .filter_map(|metric| Some((metric, results.ratio(figure, target, metric)?)))
                .collect();
            json!({"metrics": results.summaries(figure, target), "to_reference": ratios})
        };
        report.targets.iter().map(|name| (name, target(name))).collect()
    };
    let measured = FIGURES.iter().filter(|figure| results.has(figure));
    measured
        .map(|figure| json!({"name": figure.name, "about": figure.about, "targets": targets(figure.name)}))
        .collect()
}

fn aims(report: &Report<'_>) -> Vec<Value> {
    AIMS.iter()
        .map(|aim| {
            let measured = aim.value(report.results);
            json!({
                "about": aim.about,
                "measured": measured,
                "at_least": aim.at_least,
                "aim": aim.aim,
                "verdict": aim.verdict(measured),
            })
        })
        .collect()
}
