//! A summary as a table.

use std::path::Path;

use super::Summary;

impl Summary {
    /// All metrics of all cases as tab-separated text, one line per case and class. Columns: case (name of the predicted
    /// file), class, and the metrics as in summary.json; `nan` and `inf` where they are not finite.
    pub fn to_tsv(&self) -> String {
        let first = self.metric_per_case.iter().flat_map(|case| &case.metrics).next();
        let mut table = "case\tclass".to_owned();
        let names = first
            .map_or_else(Vec::new, |(_, metrics)| metrics.all().map(|(name, _)| name.to_owned()).collect());
        names.iter().for_each(|name| table.push_str(&format!("\t{name}")));
        table.push('\n');
        for case in &self.metric_per_case {
            let name = Path::new(&case.prediction_file).file_name().unwrap_or_default().to_string_lossy();
            for (class, metrics) in &case.metrics {
                table.push_str(&format!("{name}\t{}", class.key()));
                metrics.all().for_each(|(_, value)| table.push_str(&format!("\t{}", text(value))));
                table.push('\n');
            }
        }
        table
    }
}

/// A number as Python and R read it.
fn text(value: f64) -> String {
    if value.is_nan() { "nan".to_owned() } else { value.to_string() }
}
