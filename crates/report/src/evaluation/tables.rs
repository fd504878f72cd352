//! The numbers of a summary as tables.

use nnunet_assess::evaluate::{Metrics, Summary};

use super::ranking::{case_name, mean_dice};
use crate::table::{Cell, Table};

/// The means of each class, and of the foreground.
pub(crate) fn mean_table(summary: &Summary, names: &[String]) -> Table {
    let row = |name: &str, metrics: &Metrics| {
        std::iter::once(Cell::from(name)).chain(metrics.all().map(|(_, value)| Cell::Number(value))).collect()
    };
    let classes = names.iter().zip(&summary.mean).map(|(name, (_, metrics))| row(name, metrics));
    let columns = summary.foreground_mean.all().map(|(name, _)| name.to_owned());
    Table {
        caption: "Means over the cases where a metric is defined".to_owned(),
        columns: std::iter::once("Class".to_owned()).chain(columns).collect(),
        rows: classes.chain(std::iter::once(row("mean of foreground", &summary.foreground_mean))).collect(),
    }
}

/// Every case: its mean Dice and, for each class, Dice and whatever metrics were added.
pub(crate) fn case_table(summary: &Summary, names: &[String]) -> Table {
    let added: Vec<&str> = summary.foreground_mean.added.entries().map(|(name, _)| name).collect();
    let metrics: Vec<&str> = std::iter::once("Dice").chain(added).collect();
    let columns = names.iter().flat_map(|name| metrics.iter().map(move |metric| format!("{name} {metric}")));
    let rows = summary.metric_per_case.iter().map(|case| {
        let values = case.metrics.iter().take(names.len()).flat_map(|(_, of_class)| {
            metrics.iter().map(|metric| {
                let found = of_class.all().find(|(name, _)| name == metric);
                Cell::Number(found.map_or(f64::NAN, |(_, value)| value))
            })
        });
        [case_name(case).into(), Cell::Number(mean_dice(case))].into_iter().chain(values).collect()
    });
    Table {
        caption: "Press a heading to sort".to_owned(),
        columns: ["Case", "Mean Dice"].map(str::to_owned).into_iter().chain(columns).collect(),
        rows: rows.collect(),
    }
}
