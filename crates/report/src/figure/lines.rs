//! Curves over the epochs.

use maud::{Markup, html};

use super::scale::Scale;
use super::{Figure, Px, SERIES_COLOURS, shortened, width_of};
use crate::text::number;

const SIZE: [f64; 2] = [640.0, 330.0];
const LEFT: f64 = 72.0;
const RIGHT: f64 = 628.0;
const BOTTOM: f64 = 284.0;
const LEGEND_LINE: f64 = 20.0;
/// Up to this many values each one is marked.
const MARKED: usize = 30;
/// Strokes that tell series apart without colour.
const DASHES: [&str; 4] = ["none", "7 3", "2 3", "9 3 2 3"];

/// A curve.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    /// What it is called.
    pub(crate) label: String,
    /// A value for each epoch, from 0; gaps where it is not finite.
    pub(crate) values: Vec<f64>,
}

/// Curves with a common axis.
#[derive(Debug, Clone)]
pub(crate) struct Lines {
    /// Name of the figure.
    pub(crate) name: String,
    /// What it shows.
    pub(crate) title: String,
    /// How to read it.
    pub(crate) caption: String,
    /// What the values are.
    pub(crate) unit: String,
    /// The curves.
    pub(crate) series: Vec<Series>,
}

impl Lines {
    /// Draws the curves.
    pub(crate) fn draw(&self) -> Figure {
        let legend = self.legend();
        let top = 12.0 + legend.1;
        let values = || self.series.iter().flat_map(|s| s.values.iter().copied());
        let y = Scale::linear(values(), BOTTOM, top);
        let epochs = self.series.iter().map(|s| s.values.len()).max().unwrap_or(0);
        let last = epochs.saturating_sub(1);
        let x = |epoch: usize| LEFT + epoch as f64 / last.max(1) as f64 * (RIGHT - LEFT);
        let drawing = html! {
            (legend.0)
            @for tick in y.ticks() {
                line.grid x1=(Px(LEFT)) x2=(Px(RIGHT)) y1=(Px(y.at(tick))) y2=(Px(y.at(tick))) {}
                text.tick x=(Px(LEFT - 8.0)) y=(Px(y.at(tick) + 4.5)) text-anchor="end" { (number(tick)) }
            }
            @for epoch in epoch_ticks(last) {
                text.tick x=(Px(x(epoch))) y=(Px(BOTTOM + 19.0)) text-anchor="middle" { (epoch) }
            }
            text.axis x=(Px(f64::midpoint(LEFT, RIGHT))) y=(Px(SIZE[1] - 8.0)) text-anchor="middle" { "epoch" }
            text.axis transform=(format!("translate(13 {}) rotate(-90)", f64::midpoint(top, BOTTOM))) text-anchor="middle" { (self.unit) }
            @for (at, series) in self.series.iter().enumerate() {
                path class=(format!("series c{}", at % SERIES_COLOURS)) stroke-dasharray=(dash(at))
                    d=(path(&series.values, x, |v| y.at(v))) {}
                @if epochs <= MARKED {
                    @for (epoch, value) in series.values.iter().enumerate().filter(|(_, v)| v.is_finite()) {
                        circle class=(format!("f{}", at % SERIES_COLOURS)) cx=(Px(x(epoch))) cy=(Px(y.at(*value))) r="3" {
                            title { (series.label) ", epoch " (epoch) ": " (number(*value)) }
                        }
                    }
                }
            }
        };
        Figure {
            name: self.name.clone(),
            title: self.title.clone(),
            caption: self.caption.clone(),
            alternative: self.alternative(epochs),
            size: SIZE,
            drawing,
        }
    }

    /// The names of the series with a piece of their line, and how high they are together.
    fn legend(&self) -> (Markup, f64) {
        if self.series.len() < 2 {
            return (html! {}, 0.0);
        }
        let (mut x, mut y) = (LEFT, 14.0);
        let places: Vec<(f64, f64, String)> = self
            .series
            .iter()
            .map(|series| {
                let label = shortened(&series.label, 40);
                let width = 34.0 + width_of(&label) + 14.0;
                if x + width > SIZE[0] && x > LEFT {
                    (x, y) = (LEFT, y + LEGEND_LINE);
                }
                let place = (x, y, label);
                x += width;
                place
            })
            .collect();
        let markup = html! {
            @for (at, (x, y, label)) in places.iter().enumerate() {
                line class=(format!("series c{}", at % SERIES_COLOURS)) stroke-dasharray=(dash(at))
                    x1=(Px(*x)) x2=(Px(x + 28.0)) y1=(Px(y - 4.5)) y2=(Px(y - 4.5)) {}
                text x=(Px(x + 34.0)) y=(Px(*y)) { (label) }
            }
        };
        (markup, y + 6.0)
    }

    fn alternative(&self, epochs: usize) -> String {
        let each: Vec<String> = self
            .series
            .iter()
            .map(|series| {
                let finite = || series.values.iter().copied().filter(|v| v.is_finite());
                match (finite().next(), finite().next_back()) {
                    (Some(first), Some(last)) => {
                        format!("{} goes from {} to {}", series.label, number(first), number(last))
                    }
                    _ => format!("{} has no values", series.label),
                }
            })
            .collect();
        format!("{} over {epochs} epochs: {}.", self.title, each.join("; "))
    }
}

fn dash(series: usize) -> &'static str {
    DASHES[series % DASHES.len()]
}

/// Epochs to be written at the axis.
fn epoch_ticks(last: usize) -> impl Iterator<Item = usize> {
    let step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000]
        .into_iter()
        .find(|step| last / step <= 10)
        .unwrap_or(last.div_ceil(10));
    (0..=last).step_by(step)
}

/// A line through the values, broken where one is not finite.
fn path(values: &[f64], x: impl Fn(usize) -> f64, y: impl Fn(f64) -> f64) -> String {
    let mut path = String::new();
    let mut command = 'M';
    for (epoch, value) in values.iter().enumerate() {
        if !value.is_finite() {
            command = 'M';
            continue;
        }
        path.push(command);
        path.push_str(&format!("{} {}", Px(x(epoch)).text(), Px(y(*value)).text()));
        command = 'L';
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_no_number_breaks_the_line() {
        let drawn = path(&[1.0, 2.0, f64::NAN, 4.0], |e| e as f64, |v| v);
        assert_eq!(drawn, "M0 1L1 2M3 4");
    }

    #[test]
    fn the_alternative_says_where_curves_begin_and_end() {
        let series = vec![
            Series { label: "training".into(), values: vec![0.5, f64::NAN, -0.25] },
            Series { label: "none".into(), values: vec![f64::NAN] },
        ];
        let lines = Lines {
            name: "loss".into(),
            title: "Loss".into(),
            caption: String::new(),
            unit: "loss".into(),
            series,
        };
        let figure = lines.draw();
        assert_eq!(
            figure.alternative,
            "Loss over 3 epochs: training goes from 0.5 to -0.25; none has no values."
        );
        let drawing = figure.drawing.into_string();
        assert!(drawing.contains(">training</text>"), "{drawing}");
        assert_eq!(epoch_ticks(1000).collect::<Vec<_>>().len(), 11);
        assert_eq!(epoch_ticks(0).collect::<Vec<_>>(), [0]);
    }
}
