//! A comparison as text, as tab-separated values and as JSON.

use nnunet_pyformats::json::{Json, KeyOrder};
use nnunet_report::comparison::{ComparedDifference, ComparedModel, ComparisonContents};

use super::{Compared, Comparison, Difference};

impl Comparison {
    /// Lines for a terminal: the means of each model with its difference to the baseline, its folds, and in what its
    /// training differs.
    pub fn to_text(&self) -> String {
        let mut head = vec!["model".to_owned(), "cases".to_owned(), "Dice".to_owned()];
        head.extend(self.classes.iter().map(|(_, name)| name.clone()));
        head.extend(
            ["difference", "95 % interval", "rank-biserial", "p", "p (Holm)", "pairs", "time"]
                .map(str::to_owned),
        );
        let mut rows = vec![head];
        for (i, model) in self.models.iter().enumerate() {
            let mut row =
                vec![self.marked(i), model.result.cases.len().to_string(), score(model.result.dice)];
            row.extend(self.class_dice(model).map(score));
            row.extend(match &model.difference {
                None => vec!["baseline".to_owned(); 1].into_iter().chain(vec!["-".to_owned(); 5]).collect(),
                Some(difference) => difference_cells(difference),
            });
            row.push(model.result.seconds().map_or_else(|| "-".to_owned(), duration));
            rows.push(row);
        }
        let mut text = format!("{}: mean Dice over the cross-validation\n", self.dataset);
        text.push_str(&aligned(&rows));
        text.push_str("\nmean Dice of each fold\n");
        text.push_str(&aligned(&self.fold_rows()));
        let changed = self.models.iter().filter(|model| !model.changes.is_empty());
        let lines: String = changed
            .flat_map(|m| m.changes.iter().map(|change| format!("  {}: {change}\n", m.result.name)))
            .collect();
        if !lines.is_empty() {
            text.push_str(&format!(
                "\nwhat differs from {}\n{lines}",
                self.models[self.baseline].result.name
            ));
        }
        if let Some(note) = self.note() {
            text.push_str(&format!("\n{note}\n"));
        }
        text
    }

    /// The comparison as the report of it takes it.
    pub(crate) fn contents(&self) -> ComparisonContents {
        let model = |model: &Compared| ComparedModel {
            name: model.result.name.to_string(),
            dice: model.result.dice,
            class_dice: self.class_dice(model).collect(),
            folds: model.result.folds.iter().map(|fold| (fold.fold, fold.dice)).collect(),
            cases: model.result.cases.iter().map(|(case, dice)| (case.clone(), defined_mean(dice))).collect(),
            difference: model.difference.as_ref().map(|difference| ComparedDifference {
                pairs: difference.pairs,
                mean: difference.mean,
                interval: difference.mean_interval,
                rank_biserial: difference.rank_biserial,
                p_holm: difference.p_holm,
            }),
            seconds: model.result.seconds(),
            changes: model.changes.clone(),
        };
        ComparisonContents {
            dataset: self.dataset.to_string(),
            classes: self.classes.iter().map(|(_, name)| name.clone()).collect(),
            baseline: self.baseline,
            models: self.models.iter().map(model).collect(),
        }
    }

    fn note(&self) -> Option<String> {
        let left_out =
            self.models.iter().filter_map(|model| model.difference.as_ref()).map(|d| d.left_out).max()?;
        let of_cases = match left_out {
            0 => String::new(),
            n => format!(
                "; up to {n} cases that only one of the two has, or without a defined Dice, are left out"
            ),
        };
        Some(format!(
            "Differences are means over the cases that a model and the baseline have, model minus baseline{of_cases}. \
             p: Wilcoxon's signed-rank test, two-sided."
        ))
    }

    fn marked(&self, i: usize) -> String {
        format!("{}{}", self.models[i].result.name, if i == self.baseline { " *" } else { "" })
    }

    fn fold_rows(&self) -> Vec<Vec<String>> {
        let mut numbers: Vec<u32> =
            self.models.iter().flat_map(|model| model.result.folds.iter().map(|fold| fold.fold)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let head =
            ["model".to_owned()].into_iter().chain(numbers.iter().map(|n| format!("fold {n}"))).collect();
        let row = |(i, model): (usize, &Compared)| {
            let of_fold = |number: &u32| {
                let fold = model.result.folds.iter().find(|fold| fold.fold == *number);
                fold.map_or_else(|| "-".to_owned(), |fold| score(fold.dice))
            };
            [self.marked(i)].into_iter().chain(numbers.iter().map(of_fold)).collect()
        };
        [head].into_iter().chain(self.models.iter().enumerate().map(row)).collect()
    }

    /// The mean Dice of each of the comparison's classes; NaN for those that the model does not have.
    fn class_dice<'a>(&'a self, model: &'a Compared) -> impl Iterator<Item = f64> + 'a {
        self.classes.iter().map(|(class, _)| {
            let at = model.result.classes.iter().position(|(own, _)| own == class);
            at.map_or(f64::NAN, |at| model.result.class_dice[at])
        })
    }

    /// Tab-separated values, a line for each model; `nan` where something is not defined, empty for what the baseline
    /// does not have.
    pub fn to_tsv(&self) -> String {
        let mut head: Vec<String> = ["model", "folds", "cases", "seconds", "dice"].map(str::to_owned).into();
        head.extend(self.classes.iter().map(|(_, name)| format!("dice {name}")));
        head.extend(Difference::KEYS.map(str::to_owned));
        head.push("changes".to_owned());
        let mut text = head.join("\t") + "\n";
        for model in &self.models {
            let result = &model.result;
            let folds: Vec<String> = result.folds.iter().map(|fold| fold.fold.to_string()).collect();
            let mut row = vec![
                result.name.to_string(),
                folds.join(" "),
                result.cases.len().to_string(),
                result.seconds().map_or_else(String::new, |seconds| seconds.to_string()),
                plain(result.dice),
            ];
            row.extend(self.class_dice(model).map(plain));
            row.extend(match &model.difference {
                Some(difference) => difference.values().map(plain).into(),
                None => vec![String::new(); Difference::KEYS.len()],
            });
            row.push(model.changes.join("; ").replace(['\t', '\n'], " "));
            text.push_str(&(row.join("\t") + "\n"));
        }
        text
    }

    /// The comparison as JSON that any reader takes: what is not defined is null.
    pub fn to_json(&self) -> String {
        let models = self.models.iter().map(|model| self.model_json(model)).collect();
        let document = Json::object([
            ("dataset", Json::from(self.dataset.as_str())),
            ("baseline", Json::String(self.models[self.baseline].result.name.to_string())),
            ("models", Json::Array(models)),
        ]);
        document.to_python(KeyOrder::Kept)
    }

    fn model_json(&self, model: &Compared) -> Json {
        let result = &model.result;
        let folds = result.folds.iter().map(|fold| {
            Json::object([
                ("fold", Json::Int(fold.fold.into())),
                ("cases", Json::Int(fold.cases as i64)),
                ("dice", number(fold.dice)),
                ("seconds", fold.seconds.map_or(Json::Null, number)),
            ])
        });
        let classes = result.classes.iter().zip(&result.class_dice);
        let difference = model.difference.as_ref().map_or(Json::Null, |difference| {
            Json::object(Difference::KEYS.into_iter().zip(difference.values().map(number)))
        });
        Json::object([
            ("name", Json::String(result.name.to_string())),
            ("trainer", Json::from(result.name.trainer.as_str())),
            ("plans", Json::from(result.name.plans.as_str())),
            ("configuration", Json::from(result.name.configuration.as_str())),
            ("cases", Json::Int(result.cases.len() as i64)),
            ("dice", number(result.dice)),
            ("dice_per_class", Json::object(classes.map(|((_, name), dice)| (name.as_str(), number(*dice))))),
            ("folds", Json::Array(folds.collect())),
            ("missing_folds", Json::Array(result.missing.iter().map(|&n| Json::Int(n.into())).collect())),
            ("seconds", result.seconds().map_or(Json::Null, number)),
            ("changes", Json::Array(model.changes.iter().map(|c| Json::from(c.as_str())).collect())),
            ("difference", difference),
        ])
    }
}

impl Difference {
    /// Names of [`values`](Self::values) in tables.
    const KEYS: [&'static str; 13] = [
        "pairs",
        "left_out",
        "mean",
        "mean_low",
        "mean_high",
        "median",
        "median_low",
        "median_high",
        "rank_biserial",
        "rank_biserial_low",
        "rank_biserial_high",
        "p",
        "p_holm",
    ];

    fn values(&self) -> [f64; 13] {
        let ([mean_low, mean_high], [median_low, median_high]) = (self.mean_interval, self.median_interval);
        let [effect_low, effect_high] = self.rank_biserial_interval;
        [
            self.pairs as f64,
            self.left_out as f64,
            self.mean,
            mean_low,
            mean_high,
            self.median,
            median_low,
            median_high,
            self.rank_biserial,
            effect_low,
            effect_high,
            self.p,
            self.p_holm,
        ]
    }
}

fn difference_cells(difference: &Difference) -> Vec<String> {
    let [low, high] = difference.mean_interval;
    vec![
        format!("{:+.4}", difference.mean),
        if low.is_nan() { "-".to_owned() } else { format!("{low:+.4} to {high:+.4}") },
        format!("{:+.2}", difference.rank_biserial),
        probability(difference.p),
        probability(difference.p_holm),
        difference.pairs.to_string(),
    ]
}

/// Columns of equal width, the first one to the left, the others to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("  {cell:>width$}"),
        });
        cells.collect::<String>().trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

fn score(dice: f64) -> String {
    if dice.is_nan() { "-".to_owned() } else { format!("{dice:.4}") }
}

fn probability(p: f64) -> String {
    match p {
        p if p.is_nan() => "-".to_owned(),
        p if p < 1e-4 => format!("{p:.0e}"),
        p => format!("{p:.4}"),
    }
}

/// Hours, minutes and seconds.
fn duration(seconds: f64) -> String {
    let all = seconds.round() as u64;
    let (hours, minutes, seconds) = (all / 3600, all / 60 % 60, all % 60);
    if hours > 0 { format!("{hours} h {minutes:02} min") } else { format!("{minutes} min {seconds:02} s") }
}

/// A number as Python and R read it.
fn plain(value: f64) -> String {
    if value.is_nan() { "nan".to_owned() } else { value.to_string() }
}

/// Whole numbers without a fraction; null for what is not finite.
fn number(value: f64) -> Json {
    match value {
        value if !value.is_finite() => Json::Null,
        value if value.fract() == 0.0 && value.abs() < 1e15 => Json::Int(value as i64),
        value => Json::Float(value),
    }
}
/// Mean of the values that are numbers; NaN if there are none.
fn defined_mean(values: &[f64]) -> f64 {
    let defined: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    defined.iter().sum::<f64>() / defined.len() as f64
}
