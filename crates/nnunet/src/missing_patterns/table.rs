//! Dice and volume bias of every pattern and class, as a table.

use nnunet_assess::evaluate::{Metrics, Summary};
use nnunet_dataset::DatasetJson;
use nnunet_pyformats::json::Json;

use super::pattern::ChannelPattern;

/// The results of all patterns.
#[derive(Debug, Clone, PartialEq)]
pub struct PatternTable {
    /// Names of the dataset's channels.
    pub channels: Vec<String>,
    /// Names of the labels or regions.
    pub classes: Vec<String>,
    /// One for each pattern, the full one first.
    pub patterns: Vec<PatternResult>,
}

/// What the predictions of one pattern are worth.
#[derive(Debug, Clone, PartialEq)]
pub struct PatternResult {
    /// Names of the channels that are there.
    pub present: Vec<String>,
    /// Names of the missing channels.
    pub missing: Vec<String>,
    /// Cases that were evaluated.
    pub cases: usize,
    /// One for each class.
    pub classes: Vec<ClassResult>,
    /// Mean Dice over the classes.
    pub mean_dice: f64,
}

/// Results of a class.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassResult {
    /// Mean Dice over the cases.
    pub dice: f64,
    /// Mean of predicted minus reference volume over the cases, in ml.
    pub bias_ml: f64,
    /// The same in percent of the mean reference volume; NaN without any.
    pub bias_percent: f64,
}

impl ClassResult {
    fn new(metrics: &Metrics) -> Self {
        let volume = |name| metrics.added.get(name).unwrap_or(f64::NAN);
        let (predicted, reference) = (volume("ml_pred"), volume("ml_ref"));
        let bias_ml = predicted - reference;
        let bias_percent = if reference > 0.0 { 100.0 * bias_ml / reference } else { f64::NAN };
        Self { dice: metrics.dice, bias_ml, bias_percent }
    }
}

impl PatternTable {
    /// The table of `summaries`, each with its pattern. Their metrics have to contain `volumes`.
    pub(crate) fn new(dataset: &DatasetJson, summaries: &[(ChannelPattern, Summary)]) -> Self {
        let result = |(pattern, summary): &(ChannelPattern, Summary)| PatternResult {
            present: pattern.present_names(dataset),
            missing: pattern.missing_names(dataset),
            cases: summary.metric_per_case.len(),
            classes: summary.mean.iter().map(|(_, metrics)| ClassResult::new(metrics)).collect(),
            mean_dice: summary.foreground_mean.dice,
        };
        let classes = summaries.first().map(|(_, summary)| summary.mean.as_slice()).unwrap_or_default();
        Self {
            channels: dataset.channel_names.values().cloned().collect(),
            classes: classes
                .iter()
                .map(|(class, _)| class.name_in(dataset).map_or_else(|| class.key(), str::to_owned))
                .collect(),
            patterns: summaries.iter().map(result).collect(),
        }
    }

    /// The table as JSON.
    pub fn to_json(&self) -> Json {
        let patterns = self.patterns.iter().map(|pattern| {
            let classes = self.classes.iter().zip(&pattern.classes).map(|(name, class)| {
                let values = [
                    ("Dice", class.dice.into()),
                    ("volume_bias_ml", class.bias_ml.into()),
                    ("volume_bias_percent", class.bias_percent.into()),
                ];
                (name.clone(), Json::object(values))
            });
            Json::object([
                ("present", pattern.present.clone().into()),
                ("missing", pattern.missing.clone().into()),
                ("cases", pattern.cases.into()),
                ("classes", Json::object(classes)),
                ("mean_Dice", pattern.mean_dice.into()),
            ])
        });
        Json::object([
            ("channels", self.channels.clone().into()),
            ("patterns", Json::Array(patterns.collect())),
        ])
    }

    /// A row for each pattern and class, tab-separated.
    pub fn to_tsv(&self) -> String {
        let mut text =
            "present\tmissing\tcases\tclass\tDice\tvolume_bias_ml\tvolume_bias_percent\n".to_owned();
        for pattern in &self.patterns {
            let (present, missing) = (pattern.present.join(","), pattern.missing.join(","));
            for (name, class) in self.classes.iter().zip(&pattern.classes) {
                let ClassResult { dice, bias_ml, bias_percent } = class;
                text += &format!(
                    "{present}\t{missing}\t{}\t{name}\t{dice}\t{bias_ml}\t{bias_percent}\n",
                    pattern.cases
                );
            }
        }
        text
    }

    /// The table for people: a line for each pattern, Dice and volume bias of each class.
    pub fn text(&self) -> Vec<String> {
        let missing = |pattern: &PatternResult| match pattern.missing.is_empty() {
            true => "none".to_owned(),
            false => pattern.missing.join(", "),
        };
        let first = self.patterns.iter().map(|pattern| missing(pattern).chars().count()).max().unwrap_or(0);
        let first = first.max("missing".len()) + 2;
        let widths: Vec<usize> = self.classes.iter().map(|name| name.chars().count().max(22)).collect();
        let mut head = format!("{:<first$}", "missing");
        for (name, &width) in self.classes.iter().zip(&widths) {
            head += &format!("{name:>width$}");
        }
        let mut lines = vec![head, format!("{:<first$}", "")];
        for &width in &widths {
            lines[1] += &format!("{:>width$}", "Dice   bias ml (%)");
        }
        for pattern in &self.patterns {
            let mut line = format!("{:<first$}", missing(pattern));
            for (class, &width) in pattern.classes.iter().zip(&widths) {
                let ClassResult { dice, bias_ml, bias_percent } = class;
                line += &format!("{:>width$}", format!("{dice:.3} {bias_ml:+.2} ({bias_percent:+.0})"));
            }
            lines.push(line);
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_and_class_has_its_row() {
        let class = |dice| ClassResult { dice, bias_ml: -1.5, bias_percent: -30.0 };
        let pattern = |missing: &[&str], dice| PatternResult {
            present: vec!["T1".to_owned()],
            missing: missing.iter().map(|&name| name.to_owned()).collect(),
            cases: 3,
            classes: vec![class(dice), class(0.25)],
            mean_dice: dice,
        };
        let table = PatternTable {
            channels: ["T1", "T2"].map(str::to_owned).into(),
            classes: ["edema", "core"].map(str::to_owned).into(),
            patterns: vec![pattern(&[], 0.9), pattern(&["T2"], 0.5)],
        };
        let tsv = table.to_tsv();
        assert_eq!(tsv.lines().count(), 5);
        assert!(tsv.contains("\nT1\tT2\t3\tcore\t0.25\t-1.5\t-30\n"), "{tsv}");
        let json = table.to_json();
        let second = &json.get("patterns").unwrap().as_array().unwrap()[1];
        let edema = second.get("classes").unwrap().get("edema").unwrap();
        assert_eq!(edema.get("Dice").unwrap().as_f64(), Some(0.5));
        let text = table.text();
        assert!(
            text[0].contains("edema") && text[2].starts_with("none") && text[3].starts_with("T2"),
            "{text:#?}"
        );
        assert!(text[3].ends_with("0.250 -1.50 (-30)"), "{text:#?}");
    }
}
