//! Tables that sort when a heading is pressed.

use maud::{Markup, html};

use crate::text::number;

/// A cell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    /// Words, or numbers that are not to be compared.
    Text(String),
    /// A number; no number sorts last.
    Number(f64),
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::Text(text.into())
    }
}

/// A table with a heading for each column; the first cell of a row names it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Table {
    /// What it shows.
    pub(crate) caption: String,
    /// The headings.
    pub(crate) columns: Vec<String>,
    /// The rows, as long as the headings.
    pub(crate) rows: Vec<Vec<Cell>>,
}

impl Table {
    /// The table as HTML.
    pub(crate) fn html(&self) -> Markup {
        html! {
            div.scroll tabindex="0" role="region" aria-label=(self.caption) {
                table.sortable {
                    caption { (self.caption) }
                    thead { tr {
                        @for (at, column) in self.columns.iter().enumerate() {
                            th scope="col" class=[self.is_numeric(at).then_some("n")] { button type="button" { (column) } }
                        }
                    } }
                    tbody {
                        @for row in &self.rows { tr {
                            @for (at, cell) in row.iter().enumerate() { (cell_html(cell, at == 0)) }
                        } }
                    }
                }
            }
        }
    }

    fn is_numeric(&self, column: usize) -> bool {
        self.rows.first().and_then(|row| row.get(column)).is_some_and(|cell| matches!(cell, Cell::Number(_)))
    }
}

fn cell_html(cell: &Cell, names_row: bool) -> Markup {
    html! {
        @match cell {
            Cell::Text(text) if names_row => th scope="row" { (text) },
            Cell::Text(text) => td { (text) },
            Cell::Number(value) => td.n { (number(*value)) },
        }
    }
}
