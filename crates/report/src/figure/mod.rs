//! Figures as SVG: text stays text, and each has a text alternative.

mod boxes;
mod lines;
mod scale;

use maud::{Markup, PreEscaped, Render, html};

pub(crate) use boxes::{BoxRow, Boxes};
pub(crate) use lines::{Lines, Series};

/// Colours of pages and figures, light, dark and printed.
pub(crate) const COLOURS: &str = include_str!("colours.css");
/// Colours of series; further ones begin again.
pub(crate) const SERIES_COLOURS: usize = 7;

/// A drawing with what is said about it.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    /// What its file is called, without ending: lower-case letters, digits and underscores.
    pub(crate) name: String,
    /// What it shows, in a few words.
    pub(crate) title: String,
    /// How to read it.
    pub(crate) caption: String,
    /// What it says, for those who cannot see it.
    pub(crate) alternative: String,
    /// Width and height of the drawing.
    pub(crate) size: [f64; 2],
    /// The drawing.
    pub(crate) drawing: Markup,
}

impl Figure {
    /// The figure as a part of a page.
    pub(crate) fn html(&self) -> Markup {
        html! {
            figure {
                figcaption { b { (self.title) } (self.caption) }
                (self.svg(None))
            }
        }
    }

    /// The figure as a file of its own, on paper in the colour of its surroundings.
    pub(crate) fn svg_file(&self) -> String {
        let [width, height] = self.size;
        let style = html! {
            style { (PreEscaped(COLOURS)) }
            rect width=(Px(width)) height=(Px(height)) fill="var(--paper)" {}
        };
        let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
        text.push_str(&self.svg(Some(style)).into_string());
        text.push('\n');
        text
    }

    fn svg(&self, behind: Option<Markup>) -> Markup {
        let [width, height] = self.size;
        html! {
            svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label=(self.alternative)
                viewBox=(format!("0 0 {} {}", Px(width).text(), Px(height).text()))
                width=[behind.is_some().then_some(Px(width))] height=[behind.is_some().then_some(Px(height))] {
                title { (self.title) }
                @if let Some(behind) = &behind { (behind) }
                (self.drawing)
            }
        }
    }
}

/// A length in a drawing: a tenth of a pixel is all that can be seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Px(pub(crate) f64);

impl Px {
    /// The number as attributes have it.
    pub(crate) fn text(self) -> String {
        let text = format!("{:.1}", self.0);
        text.strip_suffix(".0").unwrap_or(&text).to_owned()
    }
}

impl Render for Px {
    fn render_to(&self, buffer: &mut String) {
        buffer.push_str(&self.text());
    }
}

/// Roughly how wide `text` is in the figures' font.
fn width_of(text: &str) -> f64 {
    7.2 * text.chars().count() as f64
}

/// `text` cut to `longest` characters.
fn shortened(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_its_own_escapes_and_names_itself() {
        let figure = Figure {
            name: "x".into(),
            title: "a < b".into(),
            caption: String::new(),
            alternative: "\"quoted\" & more".into(),
            size: [10.0, 20.55],
            drawing: html! { text { "<script>" } },
        };
        let file = figure.svg_file();
        assert!(file.starts_with("<?xml"), "{file}");
        assert!(file.contains("viewBox=\"0 0 10 20.6\""), "{file}");
        assert!(file.contains("<title>a &lt; b</title>"), "{file}");
        assert!(file.contains("aria-label=\"&quot;quoted&quot; &amp; more\""), "{file}");
        assert!(file.contains("<text>&lt;script&gt;</text>"), "{file}");
    }
}
