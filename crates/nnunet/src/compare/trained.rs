//! What a trained model has left: the Dice of its validation cases, its recipe, and how long it took.

use std::collections::BTreeMap;
use std::path::Path;

use nnunet_assess::evaluate::{CaseMetrics, Summary};
use nnunet_base::Ctx;
use nnunet_base::files::folders_in;
use nnunet_dataset::{DatasetJson, LabelOrRegion};
use nnunet_infer::model::ModelName;
use nnunet_recipe::{Recipe, find};
use nnunet_train::training_seconds;

use super::changes::changes;
use super::error::CompareError;
use crate::registry::Registry;

/// The cross-validation of a model, as far as it was trained.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelResult {
    /// The model.
    pub name: ModelName,
    /// The folds that were validated, by number.
    pub folds: Vec<FoldResult>,
    /// Folds of the cross-validation without results.
    pub missing: Vec<u32>,
    /// Foreground classes with their names.
    pub classes: Vec<(LabelOrRegion, String)>,
    /// Mean Dice of each of `classes` over the cases of all folds where it is defined.
    pub class_dice: Vec<f64>,
    /// Mean of `class_dice`.
    pub dice: f64,
    /// Dice of each of `classes` for each case, by its file's name; NaN where a class is in neither segmentation.
    pub cases: BTreeMap<String, Vec<f64>>,
    /// The recipe: the one beside the results, else what the trainer's name stands for; `None` if that is unknown.
    pub recipe: Option<Recipe>,
}

/// The validation of a fold.
#[derive(Debug, Clone, PartialEq)]
pub struct FoldResult {
    /// Its number.
    pub fold: u32,
    /// Number of cases.
    pub cases: usize,
    /// Mean Dice over the foreground classes.
    pub dice: f64,
    /// Seconds that the epochs of its training took, if there is a log.
    pub seconds: Option<f64>,
}

impl ModelResult {
    /// Seconds that the trainings of all folds took; `None` if that is not known of each.
    pub fn seconds(&self) -> Option<f64> {
        self.folds.iter().map(|fold| fold.seconds).sum()
    }

    /// In what the training differs from that of `baseline`, a line each.
    pub(super) fn changes_from(&self, baseline: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        let (own, other) = (&self.name, &baseline.name);
        for (part, was, is) in
            [("configuration", &other.configuration, &own.configuration), ("plans", &other.plans, &own.plans)]
        {
            if was != is {
                lines.push(format!("{part} was {was}, is {is}"));
            }
        }
        match (&baseline.recipe, &self.recipe) {
            (Some(was), Some(is)) => lines.extend(changes(was, is)),
            _ if own.trainer == other.trainer => {}
            _ => lines.push(format!(
                "trainer was {}, is {}; there is no recipe to compare",
                other.trainer, own.trainer
            )),
        }
        lines
    }
}

/// The models in the folder of a dataset, sorted by name; none if it does not exist.
pub(super) fn models_in(results: &Path) -> Result<Vec<ModelName>, CompareError> {
    Ok(names_in(results)?.iter().filter_map(|name| ModelName::parse(name)).collect())
}

/// Names of the folders in `folder`, sorted; none if it does not exist.
fn names_in(folder: &Path) -> Result<Vec<String>, CompareError> {
    match folders_in(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        names => names.map_err(|source| CompareError::Io { path: folder.to_owned(), source }),
    }
}

/// Reads the models of one dataset.
pub(super) struct Reader<'a> {
    pub(super) results: &'a Path,
    pub(super) registry: &'a Registry,
    pub(super) ctx: Ctx<'a>,
}

impl Reader<'_> {
    /// What the model has left; `None`, with a warning, if no fold of it was validated.
    pub(super) fn read(&self, name: ModelName) -> Result<Option<ModelResult>, CompareError> {
        let folder = self.results.join(name.to_string());
        let mut numbers = Vec::new();
        for entry in names_in(&folder)? {
            match entry.strip_prefix("fold_") {
                Some("all") => self.ctx.warning(&format!(
                    "{name}: fold all is left out, since it was validated on the cases that it was trained with"
                )),
                Some(number) => numbers.extend(number.parse::<u32>()),
                None => {}
            }
        }
        numbers.sort_unstable();
        let (mut folds, mut all, mut recipe) = (Vec::new(), Vec::<CaseMetrics>::new(), None);
        let mut repeated = Vec::new();
        for fold in numbers {
            let place = folder.join(format!("fold_{fold}"));
            let file = place.join("validation").join("summary.json");
            if !file.is_file() {
                continue;
            }
            let summary = Summary::load(&file)?;
            let seconds =
                training_seconds(&place).map_err(|(path, source)| CompareError::Io { path, source })?;
            let (cases, dice) = (summary.metric_per_case.len(), summary.foreground_mean.dice);
            folds.push(FoldResult { fold, cases, dice, seconds });
            for case in summary.metric_per_case {
                match all.iter().any(|earlier| case_name(earlier) == case_name(&case)) {
                    true => repeated.push(case_name(&case).to_owned()),
                    false => all.push(case),
                }
            }
            let own = self.recipe(&place)?;
            match (&recipe, own) {
                (Some((first, earlier)), Some(own)) => {
                    let changes = changes(earlier, &own);
                    if !changes.is_empty() {
                        let changes = changes.join("; ");
                        self.ctx.warning(&format!(
                            "{name}: fold {fold} was trained otherwise than fold {first}: {changes}"
                        ));
                    }
                }
                (None, Some(own)) => recipe = Some((fold, own)),
                _ => {}
            }
        }
        if folds.is_empty() {
            self.ctx.warning(&format!("{name}: no validation results; left out"));
            return Ok(None);
        }
        if let Some(case) = repeated.first() {
            self.ctx.warning(&format!(
                "{name}: {} of the cases were validated by several folds, e.g. {case}; the first result counts",
                repeated.len()
            ));
        }
        let recipe = recipe.map(|(_, recipe)| recipe).or_else(|| self.by_name(&name.trainer));
        Ok(Some(result(name, folds, all, recipe, &folder)))
    }

    /// What a trainer's name stands for, spelled out as recipes beside results are.
    fn by_name(&self, trainer: &str) -> Option<Recipe> {
        let recipe = find(trainer, &self.registry.recipes).ok()?;
        self.registry.train.in_full(&recipe).ok()
    }

    /// The recipe that was written beside the results; the reference writes none.
    fn recipe(&self, fold: &Path) -> Result<Option<Recipe>, CompareError> {
        let path = fold.join("recipe.toml");
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(|source| CompareError::Io { path: path.clone(), source })?,
        };
        Recipe::from_toml(&text, "recipe", &self.registry.recipes)
            .map(Some)
            .map_err(|source| CompareError::Recipe { path, source })
    }
}

fn result(
    name: ModelName,
    folds: Vec<FoldResult>,
    cases: Vec<CaseMetrics>,
    recipe: Option<Recipe>,
    folder: &Path,
) -> ModelResult {
    let summary = Summary::new(cases);
    let foreground = |class: &LabelOrRegion| *class != LabelOrRegion::Label(0);
    // Names are a convenience: without them classes are called by their values.
    let dataset = DatasetJson::load(&folder.join("dataset.json")).ok();
    let classes: Vec<(LabelOrRegion, String)> = summary
        .mean
        .iter()
        .filter(|(class, _)| foreground(class))
        .map(|(class, _)| {
            let name = dataset.as_ref().and_then(|dataset| class.name_in(dataset));
            (class.clone(), name.map_or_else(|| class.key(), str::to_owned))
        })
        .collect();
    let class_dice = classes.iter().map(|(class, _)| summary.mean_dice(class).unwrap_or(f64::NAN)).collect();
    let of_case = |case: &CaseMetrics| {
        let of_class =
            |class| case.metrics.iter().find(|(c, _)| c == class).map_or(f64::NAN, |(_, m)| m.dice);
        classes.iter().map(|(class, _)| of_class(class)).collect()
    };
    let cases =
        summary.metric_per_case.iter().map(|case| (case_name(case).to_owned(), of_case(case))).collect();
    let dice = summary.foreground_mean.dice;
    ModelResult { name, folds, missing: Vec::new(), classes, class_dice, dice, cases, recipe }
}

/// The name of a case's file; summaries may come from systems with other separators.
fn case_name(case: &CaseMetrics) -> &str {
    case.prediction_file.rsplit(['/', '\\']).next().unwrap_or(&case.prediction_file)
}
