//! Cross-validations and the choice of the best model.

use std::path::{Path, PathBuf};

use nnunet_assess::evaluate::Summary;
use nnunet_base::Ctx;
use nnunet_base::files::write_atomic;
use nnunet_base::hint::Hint;
use nnunet_dataset::{DatasetError, DatasetName};
use nnunet_infer::model::ModelName;
use nnunet_pyformats::json::KeyOrder;

use super::{ModelChoice, Project, check_writable_folder};
use crate::error::{During, Error};
use crate::select::{
    INFORMATION, SelectError, SelectRequest, Selection, accumulate, crossval_folder_name, find_best,
    information, instructions, reference_folder,
};

/// A cross-validation to put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccumulateJob {
    /// The dataset.
    pub dataset: DatasetName,
    /// The model.
    pub model: ModelName,
    /// The folds that were trained.
    pub folds: Vec<u32>,
    /// New or empty folder for the results; `crossval_results_folds_...` in that of the model if absent.
    pub output: Option<PathBuf>,
}

/// A cross-validation in one folder.
#[derive(Debug)]
pub struct Accumulated {
    /// The folder.
    pub folder: PathBuf,
    /// Its evaluation.
    pub summary: Summary,
}

/// The best of the trained models, and how to predict with it.
#[derive(Debug)]
pub struct BestFound {
    /// What was compared, and the choice.
    pub selection: Selection,
    /// What to do to predict with it, as in `inference_instructions.txt`.
    pub instructions: String,
}

impl Project {
    /// Copies the validation predictions of all folds of a model into one folder and evaluates them there.
    ///
    /// # Errors
    /// Folds that are missing or overlap; a folder that is not empty; files that cannot be read or written; interrupted.
    ///
    /// ```no_run
    /// # use nnunet::{AccumulateJob, Ctx, Folders, Project, model::ModelName, progress::{Cancel, Silent}};
    /// # let (project, cancel) = (Project::new(Folders::default()), Cancel::new());
    /// # let ctx = Ctx::new(&Silent, &cancel);
    /// let whole = project.accumulate(&AccumulateJob {
    ///     dataset: project.dataset("4")?,
    ///     model: ModelName {
    ///         trainer: "nnUNetTrainer".to_owned(),
    ///         plans: "nnUNetPlans".to_owned(),
    ///         configuration: "3d_fullres".to_owned(),
    ///     },
    ///     folds: vec![0, 1, 2, 3, 4],
    ///     output: None,
    /// }, ctx)?;
    /// println!("mean Dice {}", whole.summary.foreground_mean.dice);
    /// # Ok::<(), nnunet::Error>(())
    /// ```
    pub fn accumulate(&self, job: &AccumulateJob, ctx: Ctx<'_>) -> Result<Accumulated, Error> {
        let model = self.model_folder(&ModelChoice::Trained(job.dataset.clone(), job.model.clone()))?;
        if !model.is_dir() {
            let source = std::io::ErrorKind::NotFound.into();
            let expected = "the folder of a trained model";
            return Err(DatasetError::Io { path: model, expected, source }.into());
        }
        let folder = match &job.output {
            Some(folder) if !is_empty(folder) => {
                return Err(
                    SelectError::NotEmpty { folder: folder.clone(), hint: Hint::AnotherOutput }.into()
                );
            }
            Some(folder) => folder.clone(),
            None => model.join(crossval_folder_name(&job.folds)),
        };
        check_writable_folder(&folder)?;
        let references = reference_folder(&self.folders, &job.dataset)?;
        let summary = accumulate(&model, &job.folds, &folder, &references, true, &self.registry.data, ctx)
            .during(|| format!("cross-validation of {}", job.model))?;
        Ok(Accumulated { folder, summary })
    }

    /// Compares the cross-validations of trained models and of their ensembles, determines the postprocessing of the
    /// best, and writes inference_information.json and inference_instructions.txt to the results of the dataset.
    ///
    /// # Errors
    /// Models or folds that are not trained; missing probabilities; files that cannot be read or written; interrupted.
    ///
    /// ```no_run
    /// # use nnunet::{Ctx, Folders, Project, model::ModelName, progress::{Cancel, Silent}, select::SelectRequest};
    /// # let (project, cancel) = (Project::new(Folders::default()), Cancel::new());
    /// # let ctx = Ctx::new(&Silent, &cancel);
    /// let models = ["2d", "3d_fullres"].map(|configuration| ModelName {
    ///     trainer: "nnUNetTrainer".to_owned(),
    ///     plans: "nnUNetPlans".to_owned(),
    ///     configuration: configuration.to_owned(),
    /// });
    /// let best = project.find_best(&SelectRequest {
    ///     dataset: project.dataset("4")?,
    ///     models: models.into(),
    ///     folds: vec![0, 1, 2, 3, 4],
    ///     ensembling: true,
    ///     overwrite: true,
    /// }, ctx)?;
    /// println!("{}", best.selection.winner().identifier);
    /// # Ok::<(), nnunet::Error>(())
    /// ```
    pub fn find_best(&self, request: &SelectRequest, ctx: Ctx<'_>) -> Result<BestFound, Error> {
        let results = self.folders.results()?.join(&request.dataset);
        check_writable_folder(&results)?;
        let selection = find_best(request, &self.folders, &self.registry.data, ctx)
            .during(|| format!("choice of a model for {}", request.dataset))?;
        let record = information(request, &selection);
        record.save(&results.join(INFORMATION), KeyOrder::Sorted)?;
        let instructions = instructions(request, &selection, &results)?;
        let path = results.join("inference_instructions.txt");
        write_atomic(&path, instructions.as_bytes()).map_err(|source| Error::Io { path, source })?;
        Ok(BestFound { selection, instructions })
    }
}

/// Whether a folder does not exist or has nothing in it.
fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).into_iter().flatten().flatten().next().is_none()
}
