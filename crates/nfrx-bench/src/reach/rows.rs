//! Single numbers by name, over all rounds, with what they have to reach.

use std::fmt;

use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};
use serde_json::json;

use crate::aims::Verdict;
use crate::report::{Table, number};
use crate::stats::Summary;

/// What must be reached, and what is wished for.
pub(super) type Goal = Option<(f64, f64)>;

/// Everything found, in the order in which it came first.
#[derive(Debug, Default)]
pub(super) struct Rows {
    rows: Vec<Row>,
    part: &'static str,
}

#[derive(Debug)]
struct Row {
    /// Which part found it: its name is what measures it again.
    part: &'static str,
    about: String,
    unit: &'static str,
    goal: Goal,
    values: Vec<f64>,
}

impl Rows {
    /// Names the part that finds what comes next.
    pub(super) fn begin(&mut self, part: &'static str) {
        self.part = part;
    }

    /// Adds what a round found.
    pub(super) fn add(&mut self, about: impl Into<String>, unit: &'static str, goal: Goal, value: f64) {
        let about = about.into();
        let part = self.part;
        match self.rows.iter_mut().find(|row| row.part == part && row.about == about) {
            Some(row) => row.values.push(value),
            None => self.rows.push(Row { part, about, unit, goal, values: vec![value] }),
        }
    }
}

impl Row {
    fn summary(&self) -> Option<Summary> {
        Summary::new(self.values.clone())
    }

    fn verdict(&self) -> Option<Verdict> {
        let (at_least, aim) = self.goal?;
        Some(Verdict::of(self.summary()?.median, at_least, aim))
    }
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let titles = ["median", "least", "unit", "at least", "aim", "", "part"].map(str::to_owned);
        let mut table = Table::new(titles.into_iter());
        for row in &self.rows {
            let summary = row.summary();
            let cells = [
                summary.map(|summary| number(summary.median)),
                summary.map(|summary| number(summary.least)),
                Some(row.unit.to_owned()),
                row.goal.map(|(at_least, _)| number(at_least)),
                row.goal.map(|(_, aim)| number(aim)),
                row.verdict().map(|verdict| verdict.to_string()),
                Some(row.part.to_owned()),
            ];
            table.row(&row.about, cells.into_iter());
        }
        write!(f, "{table}")
    }
}

impl Serialize for Rows {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = serializer.serialize_seq(Some(self.rows.len()))?;
        for row in &self.rows {
            let (at_least, aim) = row.goal.unzip();
            rows.serialize_element(&json!({
                "part": row.part,
                "about": row.about,
                "unit": row.unit,
                "measured": row.summary(),
                "rounds": row.values,
                "at_least": at_least,
                "aim": aim,
                "verdict": row.verdict(),
            }))?;
        }
        rows.end()
    }
}

#[cfg(test)]
mod tests {
    use super::Rows;

    #[test]
    fn rounds_of_one_thing_are_one_row_that_is_judged_by_its_median() {
        let mut rows = Rows::default();
        rows.begin("memory");
        for value in [90.0, 10.0, 14.0] {
            rows.add("memory of a worker", "KiB", Some((40.0, 15.0)), value);
            rows.add("memory in all", "MiB", None, value);
        }
        let told = serde_json::to_value(&rows).unwrap();
        assert_eq!(told.as_array().unwrap().len(), 2);
        assert_eq!(told[0]["measured"]["median"], 14.0);
        assert_eq!((&told[0]["verdict"], &told[1]["verdict"]), (&"reached".into(), &().into()));
        // Seen to fail: with rows told apart by their parts or by their names alone, and with the
        // greatest value judged.
        rows.begin("flat");
        rows.add("memory in all", "MiB", None, 1.0);
        assert_eq!(serde_json::to_value(&rows).unwrap()[2]["part"], "flat");
        let text = rows.to_string();
        assert!(
            text.lines().nth(1).unwrap().ends_with("14.0   10.0   KiB      40.0  15.0  reached  memory"),
            "{text}"
        );
    }
}
