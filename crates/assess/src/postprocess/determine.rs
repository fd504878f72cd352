//! Which postprocessing helps, found on predictions whose references are known.
//!
//! The reference's rule: first the largest component of all foreground together, kept if the mean Dice over
//! the classes grows and no class loses; then, if there are several, each label or region by itself in the
//! order of dataset.json, kept if its own Dice grows. Each is tried on top of what was kept before.

use std::path::{Path, PathBuf};

use super::apply::apply_to_folder;
use super::error::PostprocessError;
use super::largest_component::{Classes, KeepLargest};
use super::step::Postprocessing;
use crate::evaluate::{Evaluator, Summary};
use nnunet_base::Ctx;
use nnunet_base::files::TemporaryFolder;
use nnunet_base::progress::{Event, Progress};
use nnunet_data::prediction_folder::PredictionFolder;
use nnunet_dataset::LabelOrRegion;
use nnunet_dataset::cases::files_with_ending;

/// A step that was tried.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What was reduced to its largest component.
    pub classes: Classes,
    /// The Dice that decides, before the step.
    pub before: f64,
    /// The same after it.
    pub after: f64,
    /// Whether the step was kept.
    pub kept: bool,
}

/// A postprocessing that was found, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Determined {
    /// The steps that were kept.
    pub postprocessing: Postprocessing,
    /// Every step that was tried.
    pub decisions: Vec<Decision>,
    /// The predictions as they are.
    pub before: Summary,
    /// After all steps.
    pub after: Summary,
}

/// Finds the postprocessing for `predictions` and writes to their folder `summary.json`,
/// `postprocessing.pkl`, `postprocessing.json` and, if `keep_postprocessed`, the folder `postprocessed`.
///
/// # Errors
/// No predictions, predictions without reference, files that cannot be read or written, interrupted.
pub fn determine(
    predictions: &PredictionFolder,
    references: &Path,
    keep_postprocessed: bool,
    ctx: Ctx<'_>,
) -> Result<Determined, PostprocessError> {
    let folder = predictions.path();
    let trial = Trial { predictions, pairs: pairs(predictions, references, ctx.progress)?, ctx };
    let before = trial.summary(&Postprocessing::default())?;
    before.save(&folder.join("summary.json"))?;

    let foreground = predictions.labels.foreground_labels().into_iter().map(LabelOrRegion::Label).collect();
    let mut steps = vec![Classes::Together(foreground)];
    let classes = predictions.labels.foreground();
    if classes.len() > 1 {
        steps.extend(classes.into_iter().map(Classes::One));
    }
    let mut best = before.clone();
    let mut postprocessing = Postprocessing::default();
    let mut decisions = Vec::new();
    for classes in steps {
        let mut candidate = postprocessing.clone();
        candidate.steps.push(KeepLargest::new(classes.clone()).into());
        let summary = trial.summary(&candidate)?;
        let decision = decide(classes, &best, &summary);
        if decision.kept {
            (postprocessing, best) = (candidate, summary);
        }
        decisions.push(decision);
    }
    let after = best.with_predictions_in(&folder.join("postprocessed"));
    let found = Determined { postprocessing, decisions, before, after };
    if keep_postprocessed {
        write_postprocessed(&found, predictions, ctx)?;
    }
    found.postprocessing.write(&folder.join("postprocessing.pkl"))?;
    found.postprocessing.write_report(&folder.join("postprocessing.json"), &found.before, &found.after)?;
    Ok(found)
}

/// Compares two summaries for a step. Where a Dice is undefined, nothing is worse and nothing better.
fn decide(classes: Classes, before: &Summary, after: &Summary) -> Decision {
    let dice = |summary: &Summary| match &classes {
        Classes::One(class) => summary.mean_dice(class).unwrap_or(f64::NAN),
        Classes::Together(_) => summary.foreground_mean.dice,
    };
    let (dice_before, dice_after) = (dice(before), dice(after));
    let worse = match &classes {
        Classes::One(_) => false,
        Classes::Together(_) => before.mean.iter().zip(&after.mean).any(|(b, a)| a.1.dice < b.1.dice),
    };
    let kept = dice_after > dice_before && !worse;
    Decision { classes, before: dice_before, after: dice_after, kept }
}

/// The predictions with their references. A reference without prediction is worth a warning: the rule
/// should see all cases.
fn pairs(
    predictions: &PredictionFolder,
    references: &Path,
    progress: &dyn Progress,
) -> Result<Vec<(PathBuf, PathBuf)>, PostprocessError> {
    let files = predictions.segmentations()?;
    let all = files_with_ending(references, &predictions.dataset.file_ending)?;
    let missing = all
        .iter()
        .filter(|path| !predictions.path().join(path.file_name().unwrap_or_default()).is_file())
        .count();
    if missing > 0 {
        progress.event(Event::Warning(&format!(
            "{missing} of the {} references in {} have no prediction in {}; a postprocessing should be \
             determined on all training cases",
            all.len(),
            references.display(),
            predictions.path().display()
        )));
    }
    Ok(files
        .into_iter()
        .map(|prediction| (references.join(prediction.file_name().unwrap_or_default()), prediction))
        .collect())
}

/// Predictions and references that candidates are tried on.
struct Trial<'a> {
    predictions: &'a PredictionFolder,
    pairs: Vec<(PathBuf, PathBuf)>,
    ctx: Ctx<'a>,
}

impl Trial<'_> {
    fn summary(&self, postprocessing: &Postprocessing) -> Result<Summary, PostprocessError> {
        let PredictionFolder { labels, reader, .. } = self.predictions;
        let evaluator = Evaluator::new(reader.clone(), labels.foreground()).ignoring(labels.ignore_label());
        let change = |segmentation: &mut _| {
            postprocessing.apply(segmentation);
        };
        Ok(evaluator.evaluate_changed(&self.pairs, &change, self.ctx)?)
    }
}

/// Makes the folder `postprocessed`, replacing an older one as a whole.
fn write_postprocessed(
    found: &Determined,
    predictions: &PredictionFolder,
    ctx: Ctx<'_>,
) -> Result<(), PostprocessError> {
    let target = predictions.path().join("postprocessed");
    let temporary = TemporaryFolder::beside(&target).map_err(PostprocessError::io(&target))?;
    apply_to_folder(&found.postprocessing, predictions, temporary.path(), ctx)?;
    found.after.save(&temporary.path().join("summary.json"))?;
    temporary.replace(&target).map_err(PostprocessError::io(&target))
}
