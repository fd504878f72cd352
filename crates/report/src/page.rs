//! The page around what a report shows.

use std::path::Path;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use nnunet_base::files::write_atomic;

use crate::error::ReportError;
use crate::figure::{COLOURS, Figure};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("sort.js");
/// Nothing is fetched, whatever the content says.
const POLICY: &str =
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

/// The same with a viewer: files in the page have addresses.
const VIEWER_POLICY: &str = "default-src 'none'; img-src data: blob:; connect-src data: blob:; worker-src blob:; \
     style-src 'unsafe-inline'; script-src 'unsafe-inline'";

/// A finished report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The page.
    pub html: String,
    /// Each figure as an SVG file of its own, with its name.
    pub figures: Vec<(String, String)>,
}

impl Report {
    /// Writes the page.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), ReportError> {
        write(path, &self.html)
    }

    /// Writes every figure to `folder` as `NAME.svg`.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn save_figures(&self, folder: &Path) -> Result<(), ReportError> {
        self.figures.iter().try_for_each(|(name, svg)| write(&folder.join(format!("{name}.svg")), svg))
    }
}

fn write(path: &Path, text: &str) -> Result<(), ReportError> {
    write_atomic(path, text.as_bytes()).map_err(|source| ReportError::Write { path: path.to_owned(), source })
}

/// A page that is being put together.
#[derive(Debug)]
pub(crate) struct Page {
    title: String,
    lead: String,
    tiles: Vec<(String, String)>,
    sections: Vec<(String, Markup)>,
    has_viewer: bool,
    figures: Vec<(String, String)>,
}

impl Page {
    /// A page called `title`, with a sentence on what it is about.
    pub(crate) fn new(title: impl Into<String>, lead: impl Into<String>) -> Self {
        let (title, lead) = (title.into(), lead.into());
        Self { title, lead, tiles: Vec::new(), sections: Vec::new(), has_viewer: false, figures: Vec::new() }
    }

    /// Adds a number to be seen at once.
    pub(crate) fn tile(&mut self, what: impl Into<String>, value: impl Into<String>) {
        self.tiles.push((what.into(), value.into()));
    }

    /// Adds a section.
    pub(crate) fn section(&mut self, title: impl Into<String>, body: Markup) {
        self.sections.push((title.into(), body));
    }

    /// Adds a section with a viewer, which may read what lies in the page.
    pub(crate) fn viewer(&mut self, title: impl Into<String>, body: Markup) {
        self.has_viewer = true;
        self.section(title, body);
    }

    /// Takes up a figure and returns it as a part of the page.
    pub(crate) fn figure(&mut self, figure: &Figure) -> Markup {
        let count = self.figures.len() + 1;
        self.figures.push((format!("{count:02}_{}", figure.name), figure.svg_file()));
        figure.html()
    }

    /// Takes up several figures.
    pub(crate) fn figures(&mut self, figures: &[Figure]) -> Markup {
        let parts: Vec<Markup> = figures.iter().map(|figure| self.figure(figure)).collect();
        html! { div.figures { @for part in &parts { (part) } } }
    }

    /// The finished report.
    pub(crate) fn finish(self) -> Report {
        let sections = || self.sections.iter().enumerate();
        let html = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content=(if self.has_viewer { VIEWER_POLICY } else { POLICY });
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) }
                    style { (PreEscaped(COLOURS)) (PreEscaped(STYLE)) }
                }
                body {
                    header {
                        h1 { (self.title) }
                        p.lead { (self.lead) }
                        @if !self.tiles.is_empty() {
                            dl.tiles { @for (what, value) in &self.tiles { div { dt { (what) } dd { (value) } } } }
                        }
                        nav aria-label="Sections" {
                            ul { @for (at, (title, _)) in sections() { li { a href=(format!("#s{at}")) { (title) } } } }
                        }
                    }
                    main {
                        @for (at, (title, body)) in sections() {
                            section id=(format!("s{at}")) { h2 { (title) } (body) }
                        }
                    }
                    footer { "Made by nnunet " (env!("CARGO_PKG_VERSION")) ". This page needs no network." }
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        };
        Report { html: html.into_string(), figures: self.figures }
    }
}
