//! Segmenting new cases, the stages of a cascade one after the other.

use std::path::{Path, PathBuf};

use nnunet_base::Ctx;
use nnunet_dataset::cases::{case_of_files, prediction_cases_with_warnings};
use nnunet_dataset::channels::left_out;
use nnunet_dataset::splits::Fold;
use nnunet_dataset::{Case, DatasetError, DatasetJson, DatasetName};
use nnunet_infer::model::{ModelName, ModelSpec};
use nnunet_infer::predict::{
    Model, PredictRequest, Predicted, Predictor, QualityRequest, WindowOptions, predict_cases, present_folds,
    previous_stage_model,
};

use super::{Project, check_writable_folder};
use crate::error::{During, Error};
use crate::missing_patterns::ChannelPattern;

/// Name of a complete training's checkpoint.
const FINAL: &str = "checkpoint_final.pth";

/// Cases to segment.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictJob {
    /// The model.
    pub model: ModelChoice,
    /// The folds to average over; none: those that are there.
    pub folds: Vec<Fold>,
    /// Name of the checkpoint of each fold.
    pub checkpoint: String,
    /// How images are tiled.
    pub window: WindowOptions,
    /// Channels to do without.
    pub missing: MissingChannels,
    /// Whether to write `qc.tsv` beside the segmentations: which cases to look at first, by the disagreement of folds and mirrored
    /// passes and by volumes that are odd beside the training set's.
    pub quality: bool,
    /// What to segment and where to. In a cascade without a folder of the previous stage's segmentations, they are
    /// predicted first if that stage's model lies beside this one.
    pub files: PredictRequest,
}

impl PredictJob {
    /// Everything from `source`, a folder of images or a file, into the folder `output`, with all folds of the model in
    /// `model`.
    pub fn new(model: impl Into<PathBuf>, source: impl AsRef<Path>, output: impl AsRef<Path>) -> Self {
        Self {
            model: ModelChoice::Folder(model.into()),
            folds: Vec::new(),
            checkpoint: FINAL.to_owned(),
            window: WindowOptions::default(),
            missing: MissingChannels::default(),
            quality: false,
            files: PredictRequest::new(source.as_ref(), output.as_ref()),
        }
    }
}

/// Which model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelChoice {
    /// That in a folder.
    Folder(PathBuf),
    /// One in the project's folder of trained models.
    Trained(DatasetName, ModelName),
}

/// Channels that cases are segmented without: zeros stand in their place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum MissingChannels {
    /// Those that have no file, where the model's dataset.json has them among `optional_channels`.
    #[default]
    WithoutFile,
    /// These too, by name or number, whether they have a file or not.
    Named(Vec<String>),
    /// Every set of channels that leaves one, one set after the other, each into a folder of its own within the output: see
    /// [`ChannelPattern::folder`].
    EveryPattern,
}

/// A prediction whose models are loaded and whose cases are found.
pub struct Prediction {
    cases: Vec<Case>,
    no_cases: Option<DatasetError>,
    stages: Vec<PredictionStage>,
    /// Folder of the job, within which those of patterns lie.
    output: PathBuf,
    /// The patterns of channels to go through; none where cases are segmented once, as they are.
    patterns: Vec<ChannelPattern>,
}

/// One model of a prediction.
pub struct PredictionStage {
    /// Folder of the model.
    pub model: PathBuf,
    /// The folds that are averaged.
    pub folds: Vec<Fold>,
    /// Passes of the network over each tile: 1, or more with mirrored inputs.
    pub mirrored_passes: usize,
    /// The loaded model.
    pub predictor: Predictor<'static>,
    request: PredictRequest,
}

impl PredictionStage {
    /// What the network is.
    pub fn spec(&self) -> &ModelSpec {
        self.predictor.spec()
    }

    /// Folder of its segmentations.
    pub fn output(&self) -> &Path {
        &self.request.output
    }
}

/// What a stage has predicted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PredictOutcome {
    /// Folder of the segmentations.
    pub output: PathBuf,
    /// How many there are.
    pub predicted: Predicted,
}

impl Project {
    /// The folder of a model.
    ///
    /// # Errors
    /// The folder of trained models is not known.
    pub fn model_folder(&self, model: &ModelChoice) -> Result<PathBuf, Error> {
        match model {
            ModelChoice::Folder(folder) => Ok(folder.clone()),
            ModelChoice::Trained(dataset, name) => {
                Ok(self.folders.results()?.join(dataset).join(name.to_string()))
            }
        }
    }

    /// Loads the model in `folder`, all its folds with their final checkpoints, to segment images in memory or single
    /// files one after the other. What the user should know about the model is reported to `ctx`.
    ///
    /// # Errors
    /// Missing or damaged files, or weights that do not fit the plans.
    ///
    /// ```
    /// # use nnunet::{Ctx, Folders, Project, predict::WindowOptions, progress::{Cancel, Silent}};
    /// # let folder = nnunet_testkit::model::ball_model();
    /// # let (project, cancel) = (Project::new(Folders::default()), Cancel::new());
    /// # let ctx = Ctx::new(&Silent, &cancel);
    /// let predictor = project.open_model(&folder, WindowOptions::default(), ctx)?;
    /// assert_eq!(predictor.spec().heads(), 3);
    /// // predictor.predict_image(image, ctx)? and predictor.predict_files(&channels, &output, ctx)?
    /// # Ok::<(), nnunet::Error>(())
    /// ```
    pub fn open_model(
        &self,
        folder: &Path,
        window: WindowOptions,
        ctx: Ctx<'_>,
    ) -> Result<Predictor<'static>, Error> {
        let model = self.load(folder, &[], FINAL, ctx)?;
        Ok(Predictor::new(model.spec, model.weights, &*self.backend, window)?)
    }

    /// Segments cases with a trained model and writes the segmentations on the images' own grids. The outcomes are
    /// those of the stages: one, or in a cascade whose first stage is predicted on the way two.
    ///
    /// # Errors
    /// No cases; a model that cannot be loaded; cases that failed (all are named, the others are done); outputs that
    /// cannot be written; more memory than there is; interrupted.
    ///
    /// ```no_run
    /// # use nnunet::{Ctx, Folders, PredictJob, Project, progress::{Cancel, Silent}};
    /// # let (project, cancel) = (Project::new(Folders::default()), Cancel::new());
    /// # let ctx = Ctx::new(&Silent, &cancel);
    /// for stage in project.predict(PredictJob::new("model", "images", "segmentations"), ctx)? {
    ///     println!("{} cases in {}", stage.predicted.made, stage.output.display());
    /// }
    /// # Ok::<(), nnunet::Error>(())
    /// ```
    pub fn predict(&self, job: PredictJob, ctx: Ctx<'_>) -> Result<Vec<PredictOutcome>, Error> {
        let mut prediction = self.prepare_prediction(job, ctx)?;
        match prediction.no_cases.take() {
            Some(error) => Err(error.into()),
            None => prediction.run(ctx),
        }
    }

    /// The same in two steps: what will be done can be looked at before it is.
    ///
    /// # Errors
    /// A model that cannot be loaded; cases that cannot be read; outputs that cannot be written.
    ///
    /// ```no_run
    /// # use nnunet::{Ctx, Folders, PredictJob, Project, progress::{Cancel, Silent}};
    /// # let (project, cancel) = (Project::new(Folders::default()), Cancel::new());
    /// # let ctx = Ctx::new(&Silent, &cancel);
    /// let prediction = project.prepare_prediction(PredictJob::new("model", "images", "segmentations"), ctx)?;
    /// for stage in prediction.stages() {
    ///     println!("{} cases with {}", prediction.cases().len(), stage.model.display());
    /// }
    /// prediction.run(ctx)?;
    /// # Ok::<(), nnunet::Error>(())
    /// ```
    pub fn prepare_prediction(&self, job: PredictJob, ctx: Ctx<'_>) -> Result<Prediction, Error> {
        check_writable_folder(&job.files.output)?;
        let folder = self.model_folder(&job.model)?;
        let model = self.load(&folder, &job.folds, &job.checkpoint, ctx)?;
        let dataset = &model.spec.dataset;
        let missing = match &job.missing {
            MissingChannels::Named(names) => left_out(names, dataset)?,
            MissingChannels::WithoutFile | MissingChannels::EveryPattern => Vec::new(),
        };
        let patterns = match &job.missing {
            MissingChannels::EveryPattern => ChannelPattern::all(dataset.num_channels())?,
            MissingChannels::WithoutFile | MissingChannels::Named(_) => Vec::new(),
        };
        if !model.learnt_without_channels {
            warn_of_untrained(&missing, dataset, ctx);
        }
        let found = match job.files.sources.as_slice() {
            [source] => prediction_cases_with_warnings(source, dataset, &missing, ctx.progress),
            files => case_of_files(files, dataset, &missing).map(|case| vec![case]),
        };
        let (cases, no_cases) = match found {
            Ok(cases) => (cases, None),
            Err(error @ DatasetError::NoCases { .. }) => (Vec::new(), Some(error)),
            Err(error) => return Err(error.into()),
        };
        let mut stages = Vec::new();
        let mut request = job.files.clone();
        if job.quality {
            let training = self.training_volumes(&folder, &model.spec, ctx)?;
            request.quality = Some(QualityRequest { training });
        }
        if request.previous_stage.is_none()
            && let Some(previous) = &model.spec.configuration.previous_stage
            && let Some(first) = self.previous_stage(previous, &folder, &job, ctx)?
        {
            request.previous_stage = Some(first.request.output.clone());
            stages.push(first);
        }
        let folds = folds_of(&job.folds, &folder, &job.checkpoint);
        stages.push(self.stage(model, folds, job.window, request)?);
        Ok(Prediction { cases, no_cases, stages, output: job.files.output, patterns })
    }

    /// The previous stage of a cascade, with the model that lies beside that in `folder`, if there is one. Its
    /// segmentations go to a folder within the output.
    fn previous_stage(
        &self,
        previous: &str,
        folder: &Path,
        job: &PredictJob,
        ctx: Ctx<'_>,
    ) -> Result<Option<PredictionStage>, Error> {
        let Some(beside) = previous_stage_model(folder, previous).filter(|model| model.is_dir()) else {
            return Ok(None);
        };
        let there = present_folds(&beside, &job.checkpoint);
        let all_there = !job.folds.is_empty() && job.folds.iter().all(|fold| there.contains(fold));
        let folds = if all_there { job.folds.clone() } else { there };
        let request = PredictRequest {
            output: job.files.output.join(format!("prediction_{previous}")),
            save_probabilities: false,
            quality: None,
            ..job.files.clone()
        };
        let model = self.load(&beside, &folds, &job.checkpoint, ctx)?;
        Ok(Some(self.stage(model, folds, job.window, request)?))
    }

    fn stage(
        &self,
        model: Model,
        folds: Vec<Fold>,
        window: WindowOptions,
        request: PredictRequest,
    ) -> Result<PredictionStage, Error> {
        let mirrored_passes = if window.mirroring { 1 << model.spec.mirroring_axes.len() } else { 1 };
        let predictor = Predictor::new(model.spec, model.weights, &*self.backend, window)?;
        Ok(PredictionStage { model: model.folder, folds, mirrored_passes, predictor, request })
    }

    /// A model with the parts that its plans and its trainer name.
    fn load(&self, folder: &Path, folds: &[Fold], checkpoint: &str, ctx: Ctx<'_>) -> Result<Model, Error> {
        let model = Model::load(folder, folds, checkpoint, &self.registry.data, &self.registry.recipes)?;
        model.remarks.iter().for_each(|remark| ctx.warning(remark));
        Ok(model)
    }
}

impl Prediction {
    /// The cases that were found.
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// What to say where no cases were found.
    pub fn no_cases(&self) -> Option<&DatasetError> {
        self.no_cases.as_ref()
    }

    /// The models in the order in which they run.
    pub fn stages(&self) -> &[PredictionStage] {
        &self.stages
    }

    /// Runs the stages. Without cases, only what belongs beside predictions is written.
    ///
    /// # Errors
    /// See [`Project::predict`].
    pub fn run(mut self, ctx: Ctx<'_>) -> Result<Vec<PredictOutcome>, Error> {
        if self.patterns.is_empty() {
            return run_stages(&mut self.stages, &self.cases, |folder| folder.to_owned(), ctx);
        }
        let mut outcomes = Vec::new();
        for pattern in &self.patterns {
            let missing = pattern.missing();
            let cases: Vec<Case> = self.cases.iter().filter_map(|case| case.without(&missing)).collect();
            let empty = self.cases.len() - cases.len();
            if empty > 0 {
                ctx.warning(&format!(
                    "{}: {empty} cases have none of these channels; they are not predicted",
                    pattern.folder()
                ));
            }
            let own = self.output.join(pattern.folder());
            let within = |folder: &Path| own.join(folder.strip_prefix(&self.output).unwrap_or(folder));
            outcomes.extend(run_stages(&mut self.stages, &cases, within, ctx)?);
        }
        Ok(outcomes)
    }

    /// The patterns of channels that are gone through, none if cases are segmented as they are.
    pub fn patterns(&self) -> &[ChannelPattern] {
        &self.patterns
    }
}

/// Runs the stages on `cases`; `place` gives the folder in which what belongs into a stage's folder goes.
fn run_stages(
    stages: &mut [PredictionStage],
    cases: &[Case],
    place: impl Fn(&Path) -> PathBuf,
    ctx: Ctx<'_>,
) -> Result<Vec<PredictOutcome>, Error> {
    let mut outcomes: Vec<PredictOutcome> = Vec::new();
    for stage in stages {
        let mut request = PredictRequest { output: place(&stage.request.output), ..stage.request.clone() };
        // Segmentations of a first stage that runs before; others are where the caller says.
        if let Some(first) = outcomes.last() {
            request.previous_stage = Some(first.output.clone());
        }
        let predicted = predict_cases(&mut stage.predictor, cases, &request, ctx)
            .during(|| format!("prediction of {}", shown(&request.sources)))?;
        outcomes.push(PredictOutcome { output: request.output, predicted });
    }
    Ok(outcomes)
}

/// Says which channels are left out that the model was always given.
fn warn_of_untrained(missing: &[usize], dataset: &DatasetJson, ctx: Ctx<'_>) {
    let untrained = missing.iter().filter(|channel| !dataset.optional_channels.contains(channel));
    let names: Vec<String> = untrained.map(|&channel| dataset.channel_name(channel)).collect();
    if !names.is_empty() {
        ctx.warning(&format!(
            "{}: left out, but the model has not learnt to do without: neither optional_channels of its dataset.json nor a \
             transform drop_channels in its recipe; expect worse segmentations",
            names.join(", ")
        ));
    }
}

/// The folds that are loaded when `asked` are asked for.
fn folds_of(asked: &[Fold], folder: &Path, checkpoint: &str) -> Vec<Fold> {
    if asked.is_empty() { present_folds(folder, checkpoint) } else { asked.to_vec() }
}

fn shown(sources: &[PathBuf]) -> String {
    sources.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
