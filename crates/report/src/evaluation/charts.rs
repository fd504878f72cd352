//! Metrics as box plots, a figure for each metric with a row for each class.

use nnunet_assess::evaluate::Summary;

use super::ranking::case_name;
use crate::figure::{BoxRow, Boxes, Figure};

/// Metrics that are drawn: the ratios of the reference and whatever was added, without the counts of voxels.
fn drawn_metrics(summary: &Summary) -> Vec<String> {
    let added = summary.foreground_mean.added.entries().map(|(name, _)| name.to_owned());
    std::iter::once("Dice".to_owned()).chain(added).collect()
}

/// A box plot of every metric. `names` are those of the classes of the summary.
pub(crate) fn metric_boxes(summary: &Summary, names: &[String]) -> Vec<Figure> {
    let cases = &summary.metric_per_case;
    let figure = |(number, metric): (usize, String)| {
        let row = |(class, name): (usize, &String)| BoxRow {
            label: name.clone(),
            values: cases
                .iter()
                .filter_map(|case| {
                    let value = case.metrics.get(class)?.1.all().find(|(key, _)| *key == metric)?.1;
                    Some((case_name(case), value))
                })
                .collect(),
        };
        Boxes {
            name: format!("metric_{number}"),
            title: metric.clone(),
            caption: "Box: quartiles and median; whiskers: 1.5 times their distance; points: cases."
                .to_owned(),
            unit: metric.clone(),
            rows: names.iter().enumerate().map(row).collect(),
        }
        .draw()
    };
    drawn_metrics(summary).into_iter().enumerate().map(figure).collect()
}
