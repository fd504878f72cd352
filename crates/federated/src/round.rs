//! A round at a site: the weights of all go in, some epochs are trained, the site's weights come out.
//!
//! The training is an ordinary one in the results folder, with its own optimiser, learning rates and curves; between rounds
//! it is `checkpoint_latest.pth`. A round that was interrupted goes on where it stopped. A site that has missed rounds
//! counts their epochs as passed, so that its learning rate is that of the others.

use std::collections::HashMap;
use std::path::Path;

use indexmap::IndexMap;
use nnunet::Ctx;
use nnunet::checkpoint::StateDict;
use nnunet::files::write_atomic;
use nnunet::graph::backend::Snapshot;
use nnunet::graph::optimiser::StateTensor;
use nnunet::progress::EpochReport;
use nnunet::train::{RunFolder, Start, TrainRequest, Training};

use crate::error::FederatedError;
use crate::keys::shared_keys;
use crate::message::{Body, GlobalWeights, Message, TensorFact, Update};
use crate::plan::settings_instead;
use crate::proximal::Proximal;
use crate::settings::Settings;
use crate::site::{Incoming, Site};

/// In the folder of the fold: SHA-256 of the settings of the federation that trains it.
const FEDERATION: &str = "federation.txt";

impl Site<'_> {
    /// Trains the round that follows `input`. From the settings, or the plans of all sites, this is round 0: nothing is
    /// trained, and the answer lists what the site can share. From weights of round r it is round r + 1.
    ///
    /// # Errors
    /// A message of another step, or weights of other networks; a training that fails; interrupted, once the state is saved.
    pub fn round(&self, input: &Path, output: &Path, ctx: Ctx<'_>) -> Result<(), FederatedError> {
        let Incoming { settings, message } = self.receive(input)?;
        match message {
            None => self.begin(&settings, output, ctx),
            Some(Message { body: Body::AgreedPlan(_), .. }) => self.begin(&settings, output, ctx),
            Some(Message { body: Body::Global(global), tensors, .. }) if global.round < settings.rounds => {
                self.train(&settings, &global, &tensors, input, output, ctx)
            }
            Some(message) => Err(message.not(
                input,
                &format!("the plans of all sites, or weights of a round before {}", settings.rounds),
            )),
        }
    }

    fn begin(&self, settings: &Settings, output: &Path, ctx: Ctx<'_>) -> Result<(), FederatedError> {
        let training = self.prepare(settings, Start::New, ctx)?;
        let keys = shared_keys(training.graph(), settings.matching, settings.local_norms);
        let weights = weights(&training, &keys)?;
        let inventory = weights
            .tensors()
            .map(|(key, tensor)| TensorFact { key: key.to_owned(), shape: tensor.shape.clone() });
        let update = Update {
            round: 0,
            base: None,
            cases: training.training_cases().len(),
            inventory: inventory.collect(),
            train_loss: None,
            validation_loss: None,
        };
        let gives_weights = settings.sites.first() == Some(&self.name);
        self.answer(
            settings,
            Body::Update(update),
            if gives_weights { weights } else { StateDict::new() },
            output,
        )
    }

    fn train(
        &self,
        settings: &Settings,
        global: &GlobalWeights,
        tensors: &StateDict,
        input: &Path,
        output: &Path,
        ctx: Ctx<'_>,
    ) -> Result<(), FederatedError> {
        let round = global.round + 1;
        let (start, end) = (global.round * settings.epochs_per_round, round * settings.epochs_per_round);
        let mut training = self.continued(settings, ctx)?;
        let keys = shared(&training, settings, tensors, input)?;
        let fold = training.folder().fold().to_owned();
        if training.completed_epochs() > end
            || (training.completed_epochs() == end && training.is_within_epoch())
        {
            let problem = format!(
                "{} epochs are trained already, but round {round} ends after {end}",
                training.completed_epochs()
            );
            return Err(FederatedError::OtherRound { path: fold, problem });
        }
        let has_begun = training.completed_epochs() > start
            || (training.completed_epochs() == start && training.is_within_epoch());
        if !has_begun {
            let missed = start - training.completed_epochs();
            if missed > 0 {
                ctx.message(&format!("{missed} epochs of earlier rounds count as passed"));
            }
            training.miss_epochs(start);
            install(&mut training, &keys, tensors)?;
        }
        if settings.proximal > 0.0 {
            let centre: HashMap<String, Vec<f32>> = keys
                .iter()
                .filter_map(|(key, name)| Some((name.clone(), tensors.get(key)?.data.clone())))
                .collect();
            training.add_hook(Box::new(Proximal::new(settings.proximal, centre)));
        }
        let mut last: Option<EpochReport> = None;
        while training.completed_epochs() < end {
            last = Some(training.next_epoch(ctx)?);
        }
        training.save_latest()?;
        let mark = fold.join(FEDERATION);
        write_atomic(&mark, settings.id().as_bytes()).map_err(FederatedError::io(&mark))?;
        let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
        let update = Update {
            round,
            base: Some(global.digest.clone()),
            cases: training.training_cases().len(),
            inventory: Vec::new(),
            train_loss: finite(last.as_ref().map(|report| report.train_loss)),
            validation_loss: finite(last.as_ref().map(|report| report.validation_loss)),
        };
        let weights = weights(&training, &keys)?;
        self.answer(settings, Body::Update(update), weights, output)
    }

    /// The site's training where its last round of this federation has left it; a new one if there was none.
    pub(crate) fn continued(&self, settings: &Settings, ctx: Ctx<'_>) -> Result<Training, FederatedError> {
        let start = if self.has_taken_part(settings)? { Start::Resume } else { Start::New };
        self.prepare(settings, start, ctx)
    }

    /// Whether the checkpoints of the fold are of this federation.
    pub(crate) fn has_taken_part(&self, settings: &Settings) -> Result<bool, FederatedError> {
        let folder = self.run_folder(settings)?;
        let mark = std::fs::read_to_string(folder.fold().join(FEDERATION)).unwrap_or_default();
        Ok(mark == settings.id() && folder.resumable_checkpoint().is_some())
    }

    /// Where the site's training is.
    pub(crate) fn run_folder(&self, settings: &Settings) -> Result<RunFolder, FederatedError> {
        let request = self.request(settings, Start::New)?;
        Ok(RunFolder::new(
            self.project.folders().results()?,
            self.dataset.as_str(),
            &request.recipe.name,
            &settings.plans,
            &settings.configuration,
            request.fold,
        ))
    }

    fn prepare(&self, settings: &Settings, start: Start, ctx: Ctx<'_>) -> Result<Training, FederatedError> {
        let registry = self.project.registry();
        let request = self.request(settings, start)?;
        Ok(Training::prepare_with(
            request,
            &registry.train,
            &registry.data,
            self.project.folders(),
            ctx.progress,
        )?)
    }

    fn request(&self, settings: &Settings, start: Start) -> Result<TrainRequest, FederatedError> {
        let Settings { trainer, plans, configuration, .. } = settings;
        let base = self.project.recipe(trainer, &self.dataset, plans, configuration)?;
        Ok(TrainRequest {
            dataset: self.dataset.clone(),
            configuration: configuration.clone(),
            fold: settings
                .fold
                .parse()
                .map_err(|problem| FederatedError::Settings { path: "fold".into(), problem })?,
            plans: plans.clone(),
            recipe: settings.recipe(base),
            batch_size: settings.batch_size,
            seed: settings.seed,
            backend: self.project.backend().clone(),
            start,
            checkpointing: true,
        })
    }
}

/// The tensors of the site's network that `tensors` of all sites have: key -> canonical name.
///
/// # Errors
/// Tensors that the network lacks or has with other shapes.
pub(crate) fn shared(
    training: &Training,
    settings: &Settings,
    tensors: &StateDict,
    input: &Path,
) -> Result<IndexMap<String, String>, FederatedError> {
    let graph = training.graph();
    let own = shared_keys(graph, settings.matching, settings.local_norms);
    let shapes: HashMap<&str, &[usize]> = graph.tensors().collect();
    let mut keys = IndexMap::new();
    for (key, tensor) in tensors.tensors() {
        let name = own.get(key).filter(|name| shapes.get(name.as_str()) == Some(&&tensor.shape[..]));
        let Some(name) = name else {
            let problem =
                format!("the network of this site has no tensor {key} of shape {:?} to share", tensor.shape);
            return Err(FederatedError::Refused { path: input.to_owned(), problem });
        };
        keys.insert(key.to_owned(), name.clone());
    }
    Ok(keys)
}

/// The weights of the training under their keys.
fn weights(training: &Training, keys: &IndexMap<String, String>) -> Result<StateDict, FederatedError> {
    let names: HashMap<&str, &str> = keys.iter().map(|(key, name)| (name.as_str(), key.as_str())).collect();
    let mut weights = StateDict::new();
    for (name, shape, data) in training.snapshot()?.parameters.into_tensors() {
        if let Some(key) = names.get(name.as_str()) {
            weights.insert(key, StateTensor { shape, data });
        }
    }
    Ok(weights)
}

/// Puts the weights of all into the training, whose optimiser stays as it is. Weights that are there already are not put in
/// again, so that nothing changes for a site that is alone.
pub(crate) fn install(
    training: &mut Training,
    keys: &IndexMap<String, String>,
    tensors: &StateDict,
) -> Result<(), FederatedError> {
    let mut parameters = training.snapshot()?.parameters;
    let own: HashMap<&str, &[f32]> = parameters
        .iter()
        .map(|(name, parameter)| (name, parameter.value()))
        .chain(parameters.buffers().map(|(name, buffer)| (name, buffer.value())))
        .collect();
    let differs = |(key, name): (&String, &String)| {
        tensors.get(key).map(|tensor| &tensor.data[..]) != own.get(name.as_str()).copied()
    };
    if !keys.iter().any(differs) {
        return Ok(());
    }
    for (key, name) in keys {
        if let Some(tensor) = tensors.get(key) {
            parameters.set(name, &tensor.shape, &tensor.data)?;
        }
    }
    Ok(training.restore(Snapshot { parameters, optimiser: None })?)
}

/// Weights of all sites that `input` has, with the settings.
pub(crate) fn global_weights(
    incoming: Incoming,
    input: &Path,
) -> Result<(Settings, GlobalWeights, StateDict), FederatedError> {
    match incoming.message {
        Some(Message { body: Body::Global(global), tensors, .. }) => Ok((incoming.settings, global, tensors)),
        Some(message) => Err(message.not(input, "weights of all sites")),
        None => Err(settings_instead(input, "weights of all sites")),
    }
}
