//! Trained models side by side: the means of their cross-validations, and the difference of each to one of them with a
//! paired test over cases.
//!
//! ```text
//! MODEL/fold_X/validation/summary.json -> Dice of each case           trained
//! MODEL/fold_X/training_log_*.txt      -> training time               trained
//! MODEL/fold_X/recipe.toml             -> what differs                trained
//! cases that both models have          -> difference, interval, p     difference
//! ```

mod changes;
mod difference;
mod error;
mod table;
mod trained;

pub(crate) use changes::changes;
pub use difference::Difference;
pub use error::CompareError;
pub use trained::{FoldResult, ModelResult};

use std::path::Path;

use nnunet_assess::statistics::{Bootstrap, holm};
use nnunet_base::Ctx;
use nnunet_base::hint::Hint;
use nnunet_base::spelling::{closest, closest_first};
use nnunet_dataset::{DatasetName, LabelOrRegion};
use nnunet_infer::model::ModelName;

use crate::registry::Registry;
use trained::Reader;

/// What to compare.
#[derive(Debug, Clone, PartialEq)]
pub struct CompareRequest {
    /// The dataset.
    pub dataset: DatasetName,
    /// The models; none: all that are there.
    pub models: Vec<ModelName>,
    /// The model that the others are compared with: `TRAINER__PLANS__CONFIGURATION`, or a part of that which only one
    /// model has. If absent, nnU-Net's default model, else the first.
    pub baseline: Option<String>,
    /// How intervals are drawn.
    pub bootstrap: Bootstrap,
}

impl CompareRequest {
    /// All models of a dataset with nnU-Net's default as baseline.
    pub fn new(dataset: DatasetName) -> Self {
        Self { dataset, models: Vec::new(), baseline: None, bootstrap: Bootstrap::default() }
    }
}

/// Trained models side by side.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The dataset.
    pub dataset: DatasetName,
    /// Foreground classes of all models with their names.
    pub classes: Vec<(LabelOrRegion, String)>,
    /// Index of the baseline in `models`.
    pub baseline: usize,
    /// The models, sorted by name unless the request names them.
    pub models: Vec<Compared>,
}

/// A model in comparison with the baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// Its cross-validation.
    pub result: ModelResult,
    /// In what its training differs from the baseline's, a line each.
    pub changes: Vec<String>,
    /// Its difference to the baseline; `None` of the baseline itself.
    pub difference: Option<Difference>,
}

/// Compares the models in `results`, the dataset's folder of trained models. `folds` is the number of folds of the
/// cross-validation if it is known.
///
/// # Errors
/// No models with results, an unknown baseline, files that cannot be read.
pub fn compare(
    request: &CompareRequest,
    results: &Path,
    folds: Option<u32>,
    registry: &Registry,
    ctx: Ctx<'_>,
) -> Result<Comparison, CompareError> {
    let reader = Reader { results, registry, ctx };
    let names = match request.models.is_empty() {
        true => trained::models_in(results)?,
        false => request.models.clone(),
    };
    let mut models = Vec::new();
    for name in names {
        models.extend(reader.read(name)?);
    }
    if models.is_empty() {
        return Err(CompareError::NoResults { folder: results.to_owned(), hint: Hint::FinishOrValidate });
    }
    report_missing_folds(&mut models, folds, ctx);
    let baseline = baseline(request.baseline.as_deref(), &models)?;
    let mut classes: Vec<(LabelOrRegion, String)> = Vec::new();
    for class in models.iter().flat_map(|model| &model.classes) {
        if !classes.iter().any(|(known, _)| *known == class.0) {
            classes.push(class.clone());
        }
    }
    let mut differences: Vec<Option<Difference>> = models
        .iter()
        .enumerate()
        .map(|(i, model)| {
            (i != baseline).then(|| Difference::new(model, &models[baseline], &request.bootstrap, ctx))
        })
        .collect();
    let p: Vec<f64> = differences.iter().map(|d| d.as_ref().map_or(f64::NAN, |d| d.p)).collect();
    for (difference, corrected) in differences.iter_mut().zip(holm(&p)) {
        if let Some(difference) = difference {
            difference.p_holm = corrected;
        }
    }
    let changes: Vec<_> = models.iter().map(|model| model.changes_from(&models[baseline])).collect();
    let models = models.into_iter().zip(changes).zip(differences);
    let models = models.map(|((result, changes), difference)| Compared { result, changes, difference });
    Ok(Comparison { dataset: request.dataset.clone(), classes, baseline, models: models.collect() })
}

/// Notes which folds the models lack, and says so in a line for each model. Without a known number of folds, those that
/// any of the models has are expected.
fn report_missing_folds(models: &mut [ModelResult], folds: Option<u32>, ctx: Ctx<'_>) {
    let there = models.iter().flat_map(|model| model.folds.iter().map(|fold| fold.fold + 1)).max();
    let expected = folds.or(there).unwrap_or_default();
    for model in models {
        model.missing = (0..expected).filter(|n| model.folds.iter().all(|fold| fold.fold != *n)).collect();
        if !model.missing.is_empty() {
            let numbers: Vec<String> = model.missing.iter().map(u32::to_string).collect();
            let folds = if numbers.len() == 1 { "fold" } else { "folds" };
            ctx.warning(&format!(
                "{}: no validation results of {folds} {}; its means are those of the others",
                model.name,
                numbers.join(", ")
            ));
        }
    }
}

/// The index of the model that `asked` names.
fn baseline(asked: Option<&str>, models: &[ModelResult]) -> Result<usize, CompareError> {
    let identifiers: Vec<String> = models.iter().map(|model| model.name.to_string()).collect();
    let position = |wanted: &str| identifiers.iter().position(|name| name == wanted);
    let Some(asked) = asked else {
        let default = position("nnUNetTrainer__nnUNetPlans__3d_fullres");
        let trainer = models.iter().position(|model| model.name.trainer == "nnUNetTrainer");
        return Ok(default.or(trainer).unwrap_or(0));
    };
    if let Some(exact) = position(asked) {
        return Ok(exact);
    }
    let is_part =
        |name: &ModelName| [&name.trainer, &name.plans, &name.configuration].iter().any(|p| *p == asked);
    let with_part: Vec<usize> = (0..models.len()).filter(|&i| is_part(&models[i].name)).collect();
    match with_part[..] {
        [one] => Ok(one),
        [] => {
            let parts = models.iter().flat_map(|m| [&m.name.trainer, &m.name.plans, &m.name.configuration]);
            let all = parts.chain(&identifiers).map(String::as_str);
            Err(CompareError::UnknownBaseline {
                asked: asked.to_owned(),
                closest: closest(asked, all).map(str::to_owned),
                known: closest_first(asked, identifiers.iter().map(String::as_str)).join(", "),
            })
        }
        _ => Err(CompareError::AmbiguousBaseline {
            asked: asked.to_owned(),
            models: with_part.iter().map(|&i| identifiers[i].as_str()).collect::<Vec<_>>().join(", "),
        }),
    }
}
