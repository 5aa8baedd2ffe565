//! A table in plain text: names to the left, values to the right.

use std::fmt;

/// Grows by rows.
#[derive(Debug)]
pub(crate) struct Table {
    titles: Vec<String>,
    rows: Vec<(String, Vec<String>)>,
}

impl Table {
    pub(crate) fn new(titles: impl Iterator<Item = String>) -> Self {
        Self { titles: titles.collect(), rows: Vec::new() }
    }

    /// A missing value is shown as a dash.
    pub(crate) fn row(&mut self, name: &str, cells: impl Iterator<Item = Option<String>>) {
        let cells = cells.map(|cell| cell.unwrap_or_else(|| "–".to_owned())).collect();
        self.rows.push((name.to_owned(), cells));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |text: &String| text.chars().count();
        let name = self.rows.iter().map(|(name, _)| width(name)).max().unwrap_or_default();
        let columns: Vec<_> = self
            .titles
            .iter()
            .enumerate()
            .map(|(index, title)| {
                let cells = self.rows.iter().filter_map(|(_, cells)| cells.get(index));
                cells.chain([title]).map(width).max().unwrap_or_default()
            })
            .collect();
        let mut line = |first: &str, cells: &[String]| {
            write!(f, "  {first:name$}")?;
            for (cell, width) in cells.iter().zip(&columns) {
                write!(f, "  {cell:>width$}")?;
            }
            writeln!(f)
        };
        line("", &self.titles)?;
        self.rows.iter().try_for_each(|(name, cells)| line(name, cells))
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_in_characters() {
        let mut table = Table::new(["p50 µs", "×"].map(str::to_owned).into_iter());
        table.row("direct", [Some("81.0 ±2%".to_owned()), None].into_iter());
        table.row("x", [None, Some("1.25".to_owned())].into_iter());
        let expected = "            p50 µs     ×\n  direct  81.0 ±2%     –\n  x              –  1.25\n";
        // Seen to fail: with widths in bytes.
        assert_eq!(table.to_string(), expected);
    }
}
