//! The report of a comparison: trained models side by side, and how each differs from a baseline.

use maud::html;

use crate::figure::{BoxRow, Boxes};
use crate::page::{Page, Report};
use crate::table::{Cell, Table};
use crate::text::number;

/// What a comparison says.
#[derive(Debug, Clone, PartialEq)]
pub struct ComparisonContents {
    /// Name of the dataset.
    pub dataset: String,
    /// Names of the foreground classes.
    pub classes: Vec<String>,
    /// Index of the baseline among the models.
    pub baseline: usize,
    /// The models.
    pub models: Vec<ComparedModel>,
}

/// A model in comparison with the baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct ComparedModel {
    /// Its name.
    pub name: String,
    /// Mean Dice over its cases.
    pub dice: f64,
    /// The same for each class of the comparison; NaN for those that it does not have.
    pub class_dice: Vec<f64>,
    /// Mean Dice of each fold by its number.
    pub folds: Vec<(u32, f64)>,
    /// Mean Dice of each case; NaN where none is defined.
    pub cases: Vec<(String, f64)>,
    /// Difference to the baseline; `None` of the baseline itself.
    pub difference: Option<ComparedDifference>,
    /// Seconds that its trainings took, if that is known.
    pub seconds: Option<f64>,
    /// In what its training differs from the baseline's, a line each.
    pub changes: Vec<String>,
}

/// The difference of a model to the baseline over the cases that both have.
#[derive(Debug, Clone, PartialEq)]
pub struct ComparedDifference {
    /// Number of these cases.
    pub pairs: usize,
    /// Mean of model minus baseline.
    pub mean: f64,
    /// Its confidence interval at 95 %.
    pub interval: [f64; 2],
    /// Effect, from -1 (worse in every case) to 1.
    pub rank_biserial: f64,
    /// Two-sided p of Wilcoxon's signed-rank test, corrected by Holm for the number of models.
    pub p_holm: f64,
}

/// Makes the page of a comparison.
pub fn comparison_report(contents: &ComparisonContents) -> Report {
    let ComparisonContents { dataset, models, baseline, .. } = contents;
    let mut page = Page::new("Comparison", dataset.clone());
    page.tile("Models", models.len().to_string());
    let Some(base) = models.get(*baseline) else { return page.finish() };
    page.tile("Dice of the baseline", number(base.dice));
    if let Some(best) = models.iter().filter(|m| !m.dice.is_nan()).max_by(|a, b| a.dice.total_cmp(&b.dice)) {
        page.tile("Best Dice", number(best.dice));
    }
    page.section("Models", html! {
        p.note { "Baseline: " (base.name) ". Differences are means over the cases that a model and the baseline have, model minus \
            baseline, with 95 % intervals by bootstrap; p is of Wilcoxon's signed-rank test, corrected by Holm." }
        (model_table(contents).html())
    });
    let mut figures = vec![dice_boxes(models)];
    figures.extend(difference_boxes(models, base));
    let figures: Vec<_> = figures.iter().map(Boxes::draw).collect();
    let body = page.figures(&figures);
    page.section("Cases", body);
    page.section("Folds", fold_table(models).html());
    let changed: Vec<&ComparedModel> = models.iter().filter(|model| !model.changes.is_empty()).collect();
    if !changed.is_empty() {
        page.section(
            "What differs from the baseline",
            html! {
                @for model in changed {
                    h3 { (model.name) }
                    ul { @for change in &model.changes { li { (change) } } }
                }
            },
        );
    }
    page.finish()
}

fn model_table(contents: &ComparisonContents) -> Table {
    let columns = ["Model", "Cases", "Dice"].map(str::to_owned).into_iter();
    let columns = columns.chain(contents.classes.iter().cloned()).chain(
        ["Difference", "From", "To", "Rank-biserial", "p (Holm)", "Pairs", "Hours"].map(str::to_owned),
    );
    let row = |model: &ComparedModel| {
        let mut cells = vec![
            Cell::from(model.name.as_str()),
            Cell::Number(model.cases.len() as f64),
            Cell::Number(model.dice),
        ];
        cells.extend(model.class_dice.iter().copied().map(Cell::Number));
        let difference = model.difference.as_ref().map_or([f64::NAN; 6], |d| {
            [d.mean, d.interval[0], d.interval[1], d.rank_biserial, d.p_holm, d.pairs as f64]
        });
        cells.extend(difference.map(Cell::Number));
        cells.push(Cell::Number(model.seconds.map_or(f64::NAN, |seconds| seconds / 3600.0)));
        cells
    };
    Table {
        caption: "Means over the cross-validation; press a heading to sort".to_owned(),
        columns: columns.collect(),
        rows: contents.models.iter().map(row).collect(),
    }
}

fn fold_table(models: &[ComparedModel]) -> Table {
    let mut numbers: Vec<u32> = models.iter().flat_map(|m| m.folds.iter().map(|(fold, _)| *fold)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let row = |model: &ComparedModel| {
        let dice = numbers.iter().map(|number| {
            let found = model.folds.iter().find(|(fold, _)| fold == number);
            Cell::Number(found.map_or(f64::NAN, |(_, dice)| *dice))
        });
        std::iter::once(Cell::from(model.name.as_str())).chain(dice).collect()
    };
    let columns = std::iter::once("Model".to_owned()).chain(numbers.iter().map(|n| format!("Fold {n}")));
    Table {
        caption: "Mean Dice of each fold".to_owned(),
        columns: columns.collect(),
        rows: models.iter().map(row).collect(),
    }
}

fn dice_boxes(models: &[ComparedModel]) -> Boxes {
    let row = |model: &ComparedModel| BoxRow { label: model.name.clone(), values: model.cases.clone() };
    Boxes {
        name: "dice".to_owned(),
        title: "Dice of each case".to_owned(),
        caption: "Box: quartiles and median; whiskers: 1.5 times their distance; points: cases.".to_owned(),
        unit: "Dice".to_owned(),
        rows: models.iter().map(row).collect(),
    }
}

/// The differences case by case; none where no model has a case of the baseline.
fn difference_boxes(models: &[ComparedModel], base: &ComparedModel) -> Option<Boxes> {
    let row = |model: &ComparedModel| {
        let values = model.cases.iter().filter_map(|(case, dice)| {
            let (_, other) = base.cases.iter().find(|(of, _)| of == case)?;
            Some((case.clone(), dice - other))
        });
        BoxRow { label: model.name.clone(), values: values.collect() }
    };
    let rows: Vec<BoxRow> = models.iter().filter(|model| model.difference.is_some()).map(row).collect();
    let any = rows.iter().any(|row| row.values.iter().any(|(_, value)| value.is_finite()));
    any.then(|| Boxes {
        name: "difference".to_owned(),
        title: "Difference to the baseline in each case".to_owned(),
        caption: "Right of 0 the model is better.".to_owned(),
        unit: "Dice, model minus baseline".to_owned(),
        rows,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str, dice: f64, difference: Option<ComparedDifference>) -> ComparedModel {
        ComparedModel {
            name: name.to_owned(),
            dice,
            class_dice: vec![dice, f64::NAN],
            folds: vec![(0, dice)],
            cases: (0..5).map(|i| (format!("c{i}"), dice + 0.01 * f64::from(i))).collect(),
            difference,
            seconds: Some(1800.0),
            changes: vec!["loss was dice_ce, is <focal>".to_owned()],
        }
    }

    #[test]
    fn models_differences_and_changes_are_shown() {
        let difference = ComparedDifference {
            pairs: 5,
            mean: 0.05,
            interval: [0.04, 0.06],
            rank_biserial: 1.0,
            p_holm: 0.0625,
        };
        let contents = ComparisonContents {
            dataset: "Dataset004".to_owned(),
            classes: vec!["liver".to_owned(), "tumour".to_owned()],
            baseline: 0,
            models: vec![model("base", 0.8, None), model("focal", 0.85, Some(difference))],
        };
        let report = comparison_report(&contents);
        for shown in [
            "Dataset004",
            "liver",
            "0.0625",
            "&lt;focal&gt;",
            "Fold 0",
            "Difference to the baseline in each case",
        ] {
            assert!(report.html.contains(shown), "{shown}");
        }
        assert_eq!(report.figures.len(), 2);
        // A baseline alone has no differences.
        let alone = ComparisonContents { models: vec![model("base", 0.8, None)], ..contents };
        assert_eq!(comparison_report(&alone).figures.len(), 1);
    }
}
