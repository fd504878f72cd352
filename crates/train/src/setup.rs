//! What is fixed about a training before its first step: plans, dataset, cases, augmentation, network, and how it steps.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nnunet_base::hint::Hint;
use nnunet_base::lock::{FolderLock, Hold, LockRequest, lock_beside};
use nnunet_base::progress::Progress;
use nnunet_data::plan::{Configuration, Plans};
use nnunet_data::preprocess::{PreviousStage, check_made_from, stored_cases};
use nnunet_dataset::labels::stored_label;
use nnunet_dataset::splits::{ChosenSplit, Fold, Split, split_for_fold};
use nnunet_dataset::{DatasetJson, Folders, LabelManager, Patients};
use nnunet_graph::Graph;
use nnunet_graph::backend::StepSpec;
use nnunet_graph::loss::LossFacts;
use nnunet_graph::schedule::Schedule;
use nnunet_infer::model::{ModelSpec, network_graph, previous_stage_labels, with_network};
use nnunet_pyformats::json::Json;
use nnunet_pyformats::pickle::Value;
use nnunet_recipe::Recipe;

use super::benchmark;
use super::error::TrainError;
use super::fresh::Fresh;
use super::parts::Parts;
use super::request::TrainRequest;
use super::run_folder::RunFolder;
use super::sampling::Sampling;
use super::state::Identity;
use nnunet_augment::policy::deep_supervision_scales;
use nnunet_augment::{AugmentationPolicy, ConfigurationFacts};

/// Everything about a training but its state.
pub(super) struct Setup {
    pub request: TrainRequest,
    pub folder: RunFolder,
    pub plans: Plans,
    pub configuration: Configuration,
    pub dataset: DatasetJson,
    pub labels: LabelManager,
    /// What plans and dataset name.
    pub data_parts: nnunet_data::Parts,
    /// Folder of the preprocessed dataset.
    pub preprocessed: PathBuf,
    /// In a cascade, the folder of the previous stage's segmentations.
    pub previous_stage: Option<PathBuf>,
    pub train_cases: Vec<String>,
    pub validation_cases: Vec<String>,
    pub policy: AugmentationPolicy,
    pub graph: Graph,
    pub step: StepSpec,
    pub schedule: Arc<dyn Schedule>,
    pub sampling: Arc<dyn Sampling>,
    pub identity: Identity,
    /// Where the split comes from, and what is odd about it.
    pub remarks: SplitRemarks,
    /// Held for the whole run.
    pub held: Held,
}

/// What a training holds. The fields are dropped in this order.
pub(super) struct Held {
    /// What was made for it.
    pub fresh: Fresh,
    /// Nobody else trains this fold, and nobody preprocesses its cases.
    _locks: [Option<FolderLock>; 2],
}

/// What is to be said about the split.
pub(super) struct SplitRemarks {
    pub origin: String,
    pub warnings: Vec<String>,
}

/// The documents that a training is made from.
struct Documents {
    preprocessed: PathBuf,
    plans: Plans,
    configuration: Configuration,
    dataset: DatasetJson,
    labels: LabelManager,
    data_parts: nnunet_data::Parts,
}

impl Documents {
    fn read(
        request: &TrainRequest,
        data_parts: nnunet_data::Parts,
        folders: &Folders,
    ) -> Result<Self, TrainError> {
        let preprocessed = folders.preprocessed()?.join(request.dataset.as_str());
        let plans = Plans::of_dataset(&preprocessed, &request.plans)?;
        let mut configuration = plans.configuration(&request.configuration)?;
        if let Some(batch_size) = request.recipe.batch_size {
            configuration = configuration.with_batch_size(batch_size);
        }
        configuration = with_network(configuration, &request.recipe.network)?;
        let dataset = DatasetJson::load(&preprocessed.join("dataset.json"))?;
        let labels = plans.label_manager(&dataset, &data_parts)?;
        Ok(Self { preprocessed, plans, configuration, dataset, labels, data_parts })
    }

    /// The results of the training of `configuration` with the same trainer, plans and fold.
    fn run_folder(
        &self,
        request: &TrainRequest,
        folders: &Folders,
        configuration: &str,
    ) -> Result<RunFolder, TrainError> {
        Ok(RunFolder::new(
            folders.results()?,
            request.dataset.as_str(),
            &request.recipe.name,
            self.plans.plans_name(),
            configuration,
            request.fold,
        ))
    }

    /// The fold's cases, which have to be those that were preprocessed with these plans.
    fn split(&self, cases_folder: &Path, request: &TrainRequest) -> Result<ChosenSplit, TrainError> {
        let identifiers = stored_cases(cases_folder)?;
        check_made_from(
            cases_folder,
            &identifiers,
            &self.plans,
            &self.configuration,
            &self.dataset,
            &self.data_parts,
        )?;
        let patients = Patients::load(&self.preprocessed)?;
        let splits = self.preprocessed.join("splits_final.json");
        Ok(split_for_fold(&splits, &identifiers, patients.as_ref(), request.fold)?)
    }
}

impl Setup {
    /// What is trained, apart from the weights.
    ///
    /// # Errors
    /// Labels that contradict each other.
    pub(super) fn spec(&self) -> Result<ModelSpec, TrainError> {
        Ok(ModelSpec::new(
            self.plans.clone(),
            self.configuration.clone(),
            self.dataset.clone(),
            self.request.recipe.name.clone(),
            self.identity.mirroring_axes.clone().unwrap_or_default(),
            self.data_parts.clone(),
        )?)
    }

    /// Reads plans, dataset and splits and decides everything that a training step needs.
    ///
    /// # Errors
    /// Anything missing, damaged or contradictory, another run on the fold, or results that cannot be written; nothing of an
    /// earlier run is changed then, and nothing new is left.
    pub(super) fn new(
        mut request: TrainRequest,
        parts: &Parts,
        data_parts: &nnunet_data::Parts,
        folders: &Folders,
        progress: &dyn Progress,
    ) -> Result<Self, TrainError> {
        request.recipe.batch_size = request.batch_size.or(request.recipe.batch_size);
        if request.recipe.benchmark {
            benchmark::check_fold(request.fold)?;
            request.checkpointing = false;
        }
        let documents = Documents::read(&request, data_parts.clone(), folders)?;
        let configuration = &documents.configuration;
        let cases_folder = documents.preprocessed.join(&configuration.data_identifier);
        let folder = documents.run_folder(&request, folders, &configuration.name)?;
        let held = take_locks(&folder, &cases_folder, &request, progress)?;
        folder
            .check_writable(&configuration.next_stage)
            .map_err(|(path, source)| TrainError::Io { path, source })?;
        let ChosenSplit { split, origin, warnings } = documents.split(&cases_folder, &request)?;
        let previous_stage = match &configuration.previous_stage {
            Some(previous) => {
                let model = documents.run_folder(&request, folders, previous)?;
                let folder = model.next_stage(&configuration.name);
                check_previous_stage(&folder, previous, &configuration.name, &split)?;
                Some(folder)
            }
            None => None,
        };
        Self::decide(
            request,
            parts,
            folder,
            documents,
            previous_stage,
            split,
            SplitRemarks { origin, warnings },
            held,
        )
    }

    fn decide(
        request: TrainRequest,
        parts: &Parts,
        folder: RunFolder,
        documents: Documents,
        previous_stage: Option<PathBuf>,
        split: Split,
        remarks: SplitRemarks,
        held: Held,
    ) -> Result<Self, TrainError> {
        let Documents { preprocessed, plans, configuration, dataset, labels, data_parts } = documents;
        let recipe = &request.recipe;
        let facts = facts(&configuration, &dataset, &labels, recipe)?;
        let policy = parts.augmentation(recipe, &facts)?;
        let architectures = &data_parts.architectures;
        let graph = network_graph(&configuration, &dataset, &labels, recipe.deep_supervision, architectures)?;
        let step = StepSpec {
            loss: parts.loss(recipe, &loss_facts(&configuration, &labels, &graph)?)?,
            optimiser: parts.optimiser(recipe)?,
            gradient_norm_limit: recipe.gradient_norm_limit,
        };
        let identity = Identity {
            recipe: parts.in_full(recipe)?,
            init_args: init_args(&plans, &request, &dataset),
            mirroring_axes: policy.mirroring_axes.clone(),
        };
        Ok(Self {
            schedule: parts.schedule(recipe)?,
            sampling: parts.sampling(recipe)?,
            folder,
            plans,
            configuration,
            dataset,
            labels,
            data_parts,
            preprocessed,
            previous_stage,
            train_cases: split.train,
            validation_cases: split.val,
            policy,
            graph,
            step,
            identity,
            remarks,
            request,
            held,
        })
    }

    /// Where the preprocessed cases are.
    pub(super) fn cases_folder(&self) -> PathBuf {
        self.preprocessed.join(&self.configuration.data_identifier)
    }

    /// The error of a file of the fold that cannot be written or removed.
    pub(super) fn io(&self, source: std::io::Error) -> TrainError {
        TrainError::Io { path: self.folder.fold().to_owned(), source }
    }
}

/// Locks the fold for this run, and its cases together with other trainings.
fn take_locks(
    folder: &RunFolder,
    cases: &Path,
    request: &TrainRequest,
    progress: &dyn Progress,
) -> Result<Held, TrainError> {
    let mut fresh = Fresh::default();
    fresh
        .make_folder(folder.fold())
        .map_err(|source| TrainError::Io { path: folder.fold().to_owned(), source })?;
    let what = format!("a training of {} {} fold {}", request.dataset, request.configuration, request.fold);
    let fold = LockRequest {
        folder: folder.fold(),
        file: &folder.lock(),
        hold: Hold::Alone,
        what: &what,
        advice: "wait for it to end or stop it; other folds, trainers and plans can be trained at the same time",
    };
    let lock_of_cases = lock_beside(cases);
    let cases = LockRequest {
        folder: cases,
        file: &lock_of_cases,
        hold: Hold::Together,
        what: &what,
        advice: "train when it has ended",
    };
    fresh.note(&folder.lock());
    let mut held = Held { fresh, _locks: [fold.take(progress)?, None] };
    held.fresh.note(&lock_of_cases);
    held._locks[1] = cases.take(progress)?;
    Ok(held)
}

/// Every case of a cascade's training needs the previous stage's segmentation.
fn check_previous_stage(
    folder: &Path,
    previous: &str,
    configuration: &str,
    split: &Split,
) -> Result<(), TrainError> {
    let mut missing: Vec<&str> = split
        .train
        .iter()
        .chain(&split.val)
        .filter(|case| !PreviousStage::exists(folder, case))
        .map(String::as_str)
        .collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    let mut names = missing.iter().take(5).copied().collect::<Vec<_>>().join(", ");
    if missing.len() > 5 {
        names.push_str(&format!(" and {} more", missing.len() - 5));
    }
    Err(TrainError::PreviousStage {
        folder: folder.to_owned(),
        configuration: configuration.to_owned(),
        previous: previous.to_owned(),
        missing: names,
        hint: Hint::TrainPreviousStage { previous: previous.to_owned() },
    })
}

fn facts(
    configuration: &Configuration,
    dataset: &DatasetJson,
    labels: &LabelManager,
    recipe: &Recipe,
) -> Result<ConfigurationFacts, TrainError> {
    let stored = |values: &[i32]| values.iter().map(|&v| stored_label(v)).collect::<Result<Vec<_>, _>>();
    Ok(ConfigurationFacts {
        patch_size: configuration.patch_size.clone(),
        use_mask_for_norm: configuration.use_mask_for_norm.clone(),
        channel_names: dataset.channel_names.values().cloned().collect(),
        deep_supervision_scales: match recipe.deep_supervision {
            true => Some(deep_supervision_scales(&configuration.strides()?)),
            false => None,
        },
        regions: labels
            .has_regions()
            .then(|| labels.foreground_regions().iter().map(|region| stored(region.values())).collect())
            .transpose()?,
        ignore_label: labels.ignore_label().map(stored_label).transpose()?,
        cascade_labels: match configuration.previous_stage {
            Some(_) => Some(previous_stage_labels(labels)?),
            None => None,
        },
    })
}

fn loss_facts(
    configuration: &Configuration,
    labels: &LabelManager,
    graph: &Graph,
) -> Result<LossFacts, TrainError> {
    Ok(LossFacts {
        regions: labels.has_regions(),
        ignore_label: labels.ignore_label().map(stored_label).transpose()?,
        batch_dice: configuration.batch_dice,
        classes: labels.num_segmentation_heads(),
        outputs: graph.outputs().len(),
    })
}

/// The constructor's arguments of the reference's trainer.
fn init_args(plans: &Plans, request: &TrainRequest, dataset: &DatasetJson) -> Value {
    let json = |document: Json| Value::from_json(&document.into());
    let fold = match request.fold {
        Fold::Number(number) => Value::Int(i64::from(number)),
        Fold::All => Value::Str("all".to_owned()),
    };
    let device = Value::object("torch", "device", vec![Value::Str("cpu".to_owned())]);
    let entries = [
        ("plans", json(plans.to_json())),
        ("configuration", Value::Str(request.configuration.clone())),
        ("fold", fold),
        ("dataset_json", json(dataset.document().clone())),
        ("device", device),
    ];
    Value::Dict(entries.into_iter().map(|(key, value)| (Value::Str(key.to_owned()), value)).collect())
}
