//! Box plots: how values are distributed, a row for each class or axis.

use maud::{Markup, html};
use nnunet_assess::statistics::percentile;

use super::scale::Scale;
use super::{Figure, Px, SERIES_COLOURS, shortened, width_of};
use crate::text::number;

const WIDTH: f64 = 640.0;
const RIGHT: f64 = 604.0;
const ROW: f64 = 46.0;
const TOP: f64 = 10.0;
/// Up to this many values each one is drawn, beyond only those outside of the whiskers.
const ALL_DRAWN: usize = 60;
const LONGEST_LABEL: usize = 26;

/// One row.
#[derive(Debug, Clone)]
pub(crate) struct BoxRow {
    /// What it is called.
    pub(crate) label: String,
    /// Names and values of the cases; those that are not finite are left out.
    pub(crate) values: Vec<(String, f64)>,
}

/// Rows with a common axis.
#[derive(Debug, Clone)]
pub(crate) struct Boxes {
    /// Name of the figure.
    pub(crate) name: String,
    /// What it shows.
    pub(crate) title: String,
    /// How to read it, beyond what is said of every box plot.
    pub(crate) caption: String,
    /// What the values are.
    pub(crate) unit: String,
    /// The rows.
    pub(crate) rows: Vec<BoxRow>,
}

/// Median, quartiles, and the outermost values within 1.5 times their distance (Tukey).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    /// The median.
    pub(crate) median: f64,
    /// First and third quartile, interpolated.
    pub(crate) quartiles: [f64; 2],
    /// Ends of the whiskers.
    pub(crate) whiskers: [f64; 2],
}

impl Spread {
    /// The spread of the finite ones of `values`, if there are any.
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.filter(|v| v.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let [low, median, high] = [0.25, 0.5, 0.75].map(|share| percentile(&sorted, share));
        let reach = 1.5 * (high - low);
        let within = |value: &&f64| **value >= low - reach && **value <= high + reach;
        Some(Self {
            median,
            quartiles: [low, high],
            whiskers: [*sorted.iter().find(within)?, *sorted.iter().rfind(within)?],
        })
    }
}

impl Boxes {
    /// Draws the rows.
    pub(crate) fn draw(&self) -> Figure {
        let widest = self.rows.iter().map(|row| width_of(&shortened(&row.label, LONGEST_LABEL)));
        let left = 16.0 + widest.fold(30.0, f64::max);
        let bottom = TOP + ROW * self.rows.len() as f64;
        let values = self.rows.iter().flat_map(|row| row.values.iter().map(|(_, value)| *value));
        let x = Scale::for_magnitudes(values, left, RIGHT);
        let drawing = html! {
            @for tick in x.ticks() {
                line.grid x1=(Px(x.at(tick))) x2=(Px(x.at(tick))) y1=(Px(TOP)) y2=(Px(bottom)) {}
                text.tick x=(Px(x.at(tick))) y=(Px(bottom + 18.0)) text-anchor="middle" { (number(tick)) }
            }
            text.axis x=(Px(f64::midpoint(left, RIGHT))) y=(Px(bottom + 38.0)) text-anchor="middle" { (self.unit) }
            @for (at, row) in self.rows.iter().enumerate() {
                (draw_row(row, at, TOP + ROW * (at as f64 + 0.5), left, &x))
            }
        };
        Figure {
            name: self.name.clone(),
            title: self.title.clone(),
            caption: self.caption.clone(),
            alternative: self.alternative(),
            size: [WIDTH, bottom + 46.0],
            drawing,
        }
    }

    fn alternative(&self) -> String {
        let each: Vec<String> = self
            .rows
            .iter()
            .map(|row| match Spread::of(row.values.iter().map(|(_, value)| *value)) {
                Some(Spread { median, quartiles: [low, high], .. }) => format!(
                    "{}: median {}, quartiles {} and {}",
                    row.label,
                    number(median),
                    number(low),
                    number(high)
                ),
                None => format!("{}: no values", row.label),
            })
            .collect();
        format!("{}, {}. {}.", self.title, self.unit, each.join("; "))
    }
}

fn draw_row(row: &BoxRow, number_of_row: usize, y: f64, left: f64, x: &Scale) -> Markup {
    let spread = Spread::of(row.values.iter().map(|(_, value)| *value));
    let colour = number_of_row % SERIES_COLOURS;
    let shown = row.values.iter().enumerate().filter(|(_, (_, value))| {
        let beyond = spread.is_some_and(|s| *value < s.whiskers[0] || *value > s.whiskers[1]);
        value.is_finite() && (row.values.len() <= ALL_DRAWN || beyond)
    });
    html! {
        text x=(Px(left - 12.0)) y=(Px(y + 4.5)) text-anchor="end" {
            (shortened(&row.label, LONGEST_LABEL))
            @if row.label.chars().count() > LONGEST_LABEL { title { (row.label) } }
        }
        @if let Some(Spread { median, quartiles: [low, high], whiskers: [first, last] }) = spread {
            g class=(format!("c{colour} f{colour}")) {
                line.box x1=(Px(x.at(first))) x2=(Px(x.at(low))) y1=(Px(y)) y2=(Px(y)) {}
                line.box x1=(Px(x.at(high))) x2=(Px(x.at(last))) y1=(Px(y)) y2=(Px(y)) {}
                rect.box x=(Px(x.at(low))) y=(Px(y - 11.0)) width=(Px((x.at(high) - x.at(low)).max(1.0))) height="22" {}
                line.median x1=(Px(x.at(median))) x2=(Px(x.at(median))) y1=(Px(y - 12.0)) y2=(Px(y + 12.0)) {
                    title { (row.label) ": median " (number(median)) ", quartiles " (number(low)) " and " (number(high)) }
                }
            }
        }
        @for (at, (case, value)) in shown {
            circle class=(format!("case f{colour}")) cx=(Px(x.at(*value))) cy=(Px(y + scatter(at))) r="2.6" {
                title { (case) ": " (number(*value)) }
            }
        }
    }
}

/// How far from the middle of its row a point is, so that equal values can be told apart.
fn scatter(number: usize) -> f64 {
    // Multiples of the golden ratio spread evenly.
    ((number as f64 * 0.618_034).fract() - 0.5) * 16.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_and_whiskers_are_those_of_tukey() {
        // numpy.quantile([1, 2, 3, 4, 100], [.25, .5, .75]) is 2, 3, 4; whiskers reach to -1 and 7.
        let spread = Spread::of([3.0, 1.0, f64::NAN, 4.0, 2.0, 100.0].into_iter()).unwrap();
        assert_eq!(spread, Spread { median: 3.0, quartiles: [2.0, 4.0], whiskers: [1.0, 4.0] });
        // Interpolated: numpy.quantile([1, 2, 3, 4], [.25, .75]) is 1.75, 3.25.
        assert_eq!(Spread::of([1.0, 2.0, 3.0, 4.0].into_iter()).unwrap().quartiles, [1.75, 3.25]);
        assert_eq!(Spread::of(std::iter::once(f64::NAN)), None);
        assert_eq!(Spread::of(std::iter::once(2.0)).unwrap().whiskers, [2.0, 2.0]);
    }

    #[test]
    fn of_many_values_only_those_far_out_are_drawn() {
        let mut values: Vec<(String, f64)> = (0..100).map(|i| (format!("case{i}"), f64::from(i))).collect();
        values.push(("far_<out>".into(), 1000.0));
        let boxes = Boxes {
            name: "b".into(),
            title: "B".into(),
            caption: String::new(),
            unit: "ml".into(),
            rows: vec![BoxRow { label: "liver".into(), values }],
        };
        let figure = boxes.draw();
        let drawing = figure.drawing.into_string();
        assert_eq!(drawing.matches("<circle").count(), 1, "{drawing}");
        assert!(drawing.contains("<title>far_&lt;out&gt;: 1000</title>"), "{drawing}");
        assert_eq!(figure.alternative, "B, ml. liver: median 50, quartiles 25 and 75.");
    }
}
