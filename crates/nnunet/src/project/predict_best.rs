//! Segmenting new cases with the model or ensemble that was found best.

use std::path::{Path, PathBuf};

use nnunet_base::Ctx;
use nnunet_base::files::TemporaryFolder;
use nnunet_dataset::DatasetName;
use nnunet_dataset::splits::Fold;
use nnunet_infer::predict::PredictRequest;

use super::ensemble::EnsembleJob;
use super::postprocess::{ApplyPostprocessingJob, Predictions};
use super::predict::{ModelChoice, PredictJob};
use super::{Project, check_writable_folder};
use crate::error::Error;
use crate::select::Chosen;

/// Cases to segment with the best model or ensemble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PredictBestJob {
    /// The dataset whose models were compared.
    pub dataset: DatasetName,
    /// Folder of images, or one file.
    pub input: PathBuf,
    /// Folder of the postprocessed segmentations.
    pub output: PathBuf,
}

impl Project {
    /// Segments cases with what [`find_best`](Self::find_best) has chosen: predicts with each model of the choice, averages
    /// them if there are several, and applies the postprocessing. What lies between is removed.
    ///
    /// # Errors
    /// No choice yet; those of [`predict`](Self::predict), [`ensemble`](Self::ensemble) and
    /// [`apply_postprocessing`](Self::apply_postprocessing).
    ///
    /// ```no_run
    /// # use nnunet::{Ctx, Folders, PredictBestJob, Project, progress::{Cancel, Silent}};
    /// # let (project, cancel) = (Project::new(Folders::default()), Cancel::new());
    /// # let ctx = Ctx::new(&Silent, &cancel);
    /// let chosen = project.predict_best(&PredictBestJob {
    ///     dataset: project.dataset("4")?,
    ///     input: "images".into(),
    ///     output: "segmentations".into(),
    /// }, ctx)?;
    /// println!("predicted with {} models", chosen.models.len());
    /// # Ok::<(), nnunet::Error>(())
    /// ```
    pub fn predict_best(&self, job: &PredictBestJob, ctx: Ctx<'_>) -> Result<Chosen, Error> {
        let chosen = Chosen::load(&self.folders.results()?.join(&job.dataset))?;
        check_writable_folder(&job.output)?;
        let io = |source| Error::Io { path: job.output.clone(), source };
        let between = TemporaryFolder::beside(&job.output).map_err(io)?;
        let mut members = Vec::new();
        for (number, model) in (1..).zip(&chosen.models) {
            let output = between.path().join(format!("model_{number}"));
            self.predict(
                PredictJob {
                    model: ModelChoice::Trained(job.dataset.clone(), model.clone()),
                    folds: chosen.folds.iter().map(|fold| Fold::Number(*fold)).collect(),
                    files: PredictRequest {
                        save_probabilities: chosen.models.len() > 1,
                        ..PredictRequest::new(&job.input, &output)
                    },
                    ..PredictJob::new(Path::new(""), &job.input, &output)
                },
                ctx,
            )?;
            members.push(output);
        }
        let predictions = match members.len() {
            1 => members.remove(0),
            _ => {
                let output = between.path().join("ensemble");
                let ensemble =
                    EnsembleJob { folders: members, output: output.clone(), save_probabilities: false };
                self.ensemble(&ensemble, ctx)?;
                output
            }
        };
        let predictions =
            Predictions { plans_json: Some(chosen.plans.clone()), ..Predictions::new(predictions) };
        let postprocessing = chosen.postprocessing.clone();
        let job = ApplyPostprocessingJob { predictions, output: job.output.clone(), postprocessing };
        self.apply_postprocessing(&job, ctx)?;
        Ok(chosen)
    }
}
