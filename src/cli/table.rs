//! Tables of text: columns as wide as their widest cell, two blanks between them.

use super::style::{Look, Tone};

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// What stands in it.
    pub text: String,
    /// What that means.
    pub tone: Tone,
}

impl Cell {
    /// A cell that looks like what it means.
    pub fn toned(tone: Tone, text: impl Into<String>) -> Self {
        Self { text: text.into(), tone }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(Tone::Plain, text)
    }
}

/// A table in the making.
#[derive(Debug, Clone, Default)]
pub struct Table {
    headings: Vec<Cell>,
    rows: Vec<Vec<Cell>>,
    indent: usize,
}

impl Table {
    /// A table with a heading for each column.
    pub fn with_headings<const N: usize>(headings: [&str; N]) -> Self {
        Self { headings: headings.map(|h| Cell::toned(Tone::Faint, h.to_uppercase())).into(), ..Self::default() }
    }

    /// A table that begins `indent` columns in.
    #[must_use]
    pub fn indented(mut self, indent: usize) -> Self {
        self.indent = indent;
        self
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Whether it has no rows, headings aside.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The headings; empty if it has none.
    pub fn headings(&self) -> &[Cell] {
        &self.headings
    }

    /// The rows.
    pub fn rows(&self) -> &[Vec<Cell>] {
        &self.rows
    }

    /// The table as lines.
    pub fn render(&self, look: &Look) -> String {
        let rows = || [&self.headings].into_iter().filter(|h| !h.is_empty()).chain(&self.rows);
        let columns = rows().map(Vec::len).max().unwrap_or(0);
        let width_of = |column: usize| rows().filter_map(|r| r.get(column)).map(|c| c.text.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width_of).collect();
        let mut out = String::new();
        for row in rows() {
            let mut line = " ".repeat(self.indent);
            let last = row.iter().rposition(|c| !c.text.is_empty());
            for (index, (cell, width)) in row.iter().zip(&widths).enumerate().take_while(|(index, _)| Some(*index) <= last) {
                line.push_str(&look.paint(cell.tone, &cell.text));
                if Some(index) != last {
                    line.push_str(&" ".repeat(width - cell.text.chars().count() + 2));
                }
            }
            out.push_str(&line);
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_no_blanks_trail() {
        let mut table = Table::with_headings(["a", "kid"]).indented(1);
        table.row(["long one".into(), "x".into()]);
        table.row(["é".into(), "".into()]);
        assert_eq!(table.render(&Look::PLAIN), " A         KID\n long one  x\n é\n");
    }
}
