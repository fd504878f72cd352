//! What nnU-Net keeps in `checkpoint_best.pth`, `checkpoint_latest.pth` and `checkpoint_final.pth`.
//!
//! Keys as nnU-Net 2.8.1 writes and expects them: network_weights, optimizer_state, grad_scaler_state, logging,
//! _best_ema, current_epoch, init_args, trainer_name, inference_allowed_mirroring_axes.

use std::path::Path;

use indexmap::IndexMap;

use super::torch::{Archive, TensorWriter};
use crate::error::CheckpointError;
use crate::state_dict::{StateDict, without_wrappers};
use nnunet_graph::optimiser::{Decay, OptimiserSpec, OptimiserState, StateTensor};
use nnunet_pyformats::pickle::{Dict, Global, Object, Scalar, Value};

/// Key of [`Checkpoint::trained_weights`].
const TRAINED_WEIGHTS: &str = "nnunet_trained_weights";

/// A checkpoint of a training.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The network's weights, those to predict with.
    pub weights: StateDict,
    /// The weights that the optimiser changes, where those to predict with are an average of them; absent where it was not read.
    /// Python ignores them.
    pub trained_weights: Option<StateDict>,
    /// The optimiser, to resume the training; absent in files for inference only, and where it was not read.
    pub optimiser: Option<SavedOptimiser>,
    /// State of mixed-precision scaling; `None` on the CPU.
    pub grad_scaler: Value,
    /// Lists by epoch: losses, pseudo-Dice, learning rates, times.
    pub logging: Value,
    /// Best moving average of the pseudo-Dice so far.
    pub best_ema: Option<f64>,
    /// Number of epochs that are done.
    pub current_epoch: usize,
    /// Arguments of the trainer: plans, configuration, fold, dataset_json, device.
    pub init_args: Value,
    /// Python class of the trainer, e.g. `nnUNetTrainer`.
    pub trainer_name: String,
    /// Axes (0 = z for volumes) along which predictions may be mirrored; `None`: not at all.
    pub mirroring_axes: Option<Vec<usize>>,
    /// Further entries of the file.
    pub other: Dict,
}

/// PyTorch's `optimizer.state_dict()`.
#[derive(Debug, Clone, PartialEq)]
pub struct SavedOptimiser {
    /// Settings: a list of dicts, as PyTorch has them, each with the indices of its parameters.
    pub groups: Value,
    /// Tensors by parameter index.
    pub state: OptimiserState,
}

impl SavedOptimiser {
    /// State of `optimiser` over `count` parameters in one group, with the present and the first learning rate. Groups and
    /// state have PyTorch's keys, so that Python goes on with them.
    pub fn new(
        optimiser: &OptimiserSpec,
        learning_rate: f64,
        first_rate: f64,
        count: usize,
        state: OptimiserState,
    ) -> Self {
        let mut group: Vec<(&str, Value)> = vec![("lr", learning_rate.into())];
        group.extend(settings(optimiser));
        group.push(("initial_lr", first_rate.into()));
        group.push(("params", Value::List((0..count).map(Value::from).collect())));
        let group: Dict = group.into_iter().map(|(key, value)| (key.into(), value)).collect();
        Self { groups: Value::List(vec![group.into()]), state }
    }

    /// A number of the first group, e.g. `lr`.
    pub fn setting(&self, name: &str) -> Option<f64> {
        self.groups.as_sequence()?.first()?.get(name)?.as_f64()
    }
}

/// What PyTorch's optimiser of this kind keeps in a group beside the rates.
fn settings(optimiser: &OptimiserSpec) -> Vec<(&'static str, Value)> {
    match optimiser {
        OptimiserSpec::Sgd(options) => vec![
            ("momentum", options.momentum.into()),
            ("dampening", 0i64.into()),
            ("weight_decay", options.weight_decay.into()),
            ("nesterov", options.nesterov.into()),
            ("maximize", false.into()),
            ("foreach", Value::None),
            ("differentiable", false.into()),
            ("fused", Value::None),
        ],
        OptimiserSpec::Adam(options) => vec![
            ("betas", Value::Tuple(vec![options.betas.0.into(), options.betas.1.into()])),
            ("eps", options.epsilon.into()),
            ("weight_decay", options.weight_decay.into()),
            ("amsgrad", options.amsgrad.into()),
            ("maximize", false.into()),
            ("foreach", Value::None),
            ("capturable", false.into()),
            ("differentiable", false.into()),
            ("fused", Value::None),
            ("decoupled_weight_decay", (options.decay == Decay::Decoupled).into()),
        ],
        // As the package adan-pytorch has it.
        OptimiserSpec::Adan(options) => {
            let (b1, b2, b3) = options.betas;
            vec![
                ("betas", Value::Tuple(vec![b1.into(), b2.into(), b3.into()])),
                ("eps", options.epsilon.into()),
                ("weight_decay", options.weight_decay.into()),
                ("restart_cond", Value::None),
            ]
        }
    }
}

impl Checkpoint {
    /// A checkpoint with weights and nothing else.
    pub fn new(weights: StateDict, trainer_name: &str, init_args: Value) -> Self {
        Self {
            weights,
            trained_weights: None,
            optimiser: None,
            grad_scaler: Value::None,
            logging: Dict::new().into(),
            best_ema: None,
            current_epoch: 0,
            init_args,
            trainer_name: trainer_name.to_owned(),
            mirroring_axes: None,
            other: Dict::new(),
        }
    }

    /// Reads a checkpoint with all it has. Number types become f32; aliases are resolved; wrappers' prefixes
    /// (`module.`, `_orig_mod.`) are taken away.
    ///
    /// # Errors
    /// Files that are no checkpoints, are damaged or hostile. Nothing in the file is run.
    pub fn read(path: &Path) -> Result<Self, CheckpointError> {
        Self::read_parts(path, true)
    }

    /// As [`read`](Self::read), without the optimiser: for inference.
    pub fn read_for_inference(path: &Path) -> Result<Self, CheckpointError> {
        Self::read_parts(path, false)
    }

    fn read_parts(path: &Path, with_optimiser: bool) -> Result<Self, CheckpointError> {
        let (mut archive, value) = Archive::open(path)?;
        let Value::Dict(mut dict) = value else {
            return Err(not_a_checkpoint(path, format!("the file holds a value of kind {}", value.kind())));
        };
        // Bare state dicts are read too, for pretrained weights from elsewhere.
        let weights = match dict.remove("network_weights").or_else(|| dict.remove("state_dict")) {
            Some(Value::Dict(weights)) => weights,
            Some(other) => {
                return Err(not_a_checkpoint(path, format!("network_weights is of kind {}", other.kind())));
            }
            None if dict.iter().any(|(_, v)| matches!(v, Value::Tensor(_))) => std::mem::take(&mut dict),
            None => return Err(not_a_checkpoint(path, "it has no entry network_weights".to_owned())),
        };
        let weights = read_weights(&mut archive, weights)?;
        let trained_weights = match dict.remove(TRAINED_WEIGHTS) {
            Some(Value::Dict(weights)) if with_optimiser => Some(read_weights(&mut archive, weights)?),
            _ => None,
        };
        let optimiser = match dict.remove("optimizer_state") {
            Some(Value::Dict(state)) if with_optimiser => Some(read_optimiser(&mut archive, state)?),
            _ => None,
        };
        let mut take = |key: &str| archive.resolve(dict.remove(key).unwrap_or(Value::None));
        let (grad_scaler, logging, best_ema) =
            (take("grad_scaler_state")?, take("logging")?, take("_best_ema")?);
        let (epoch, init_args) = (take("current_epoch")?, take("init_args")?);
        let (trainer, axes) = (take("trainer_name")?, take("inference_allowed_mirroring_axes")?);
        let damaged = |part: &str, value: &Value, expected: &str| {
            CheckpointError::damaged(path, part, format!("a value of kind {}", value.kind()), expected)
        };
        let mirroring_axes = match &axes {
            Value::None => None,
            axes => Some(axes.as_usizes().ok_or_else(|| {
                damaged("inference_allowed_mirroring_axes", axes, "a tuple of axes or None")
            })?),
        };
        let current_epoch = match &epoch {
            Value::None => 0,
            epoch => epoch.as_usize().ok_or_else(|| damaged("current_epoch", epoch, "a number of epochs"))?,
        };
        let mut other = Dict::new();
        for (key, value) in dict {
            other.push(key, archive.resolve(value)?);
        }
        Ok(Self {
            weights,
            trained_weights,
            optimiser,
            grad_scaler,
            logging,
            best_ema: best_ema.as_f64(),
            current_epoch,
            init_args,
            trainer_name: trainer.as_str().unwrap_or_default().to_owned(),
            mirroring_axes,
            other,
        })
    }

    /// Writes the checkpoint as `torch.save` would, by a temporary name. Python's nnU-Net predicts with it, goes
    /// on training from it and takes it as pretrained weights.
    ///
    /// # Errors
    /// What the system refuses, and objects in the values that are not known data types.
    pub fn write(&self, path: &Path) -> Result<(), CheckpointError> {
        let mut tensors = TensorWriter::default();
        let mut dict = Dict::new();
        dict.insert("network_weights", ordered_dict(weights_value(&self.weights, &mut tensors)));
        let optimiser = self.optimiser.as_ref().map(|o| optimiser_value(o, &mut tensors));
        dict.insert("optimizer_state", optimiser.unwrap_or(Value::None));
        dict.insert("grad_scaler_state", self.grad_scaler.clone());
        dict.insert("logging", self.logging.clone());
        dict.insert("_best_ema", self.best_ema.map_or(Value::None, number));
        dict.insert("current_epoch", self.current_epoch);
        dict.insert("init_args", self.init_args.clone());
        dict.insert("trainer_name", self.trainer_name.as_str());
        let axes = self.mirroring_axes.as_ref();
        let axes = axes.map(|axes| Value::Tuple(axes.iter().map(|&a| a.into()).collect()));
        dict.insert("inference_allowed_mirroring_axes", axes.unwrap_or(Value::None));
        if let Some(weights) = &self.trained_weights {
            dict.insert(TRAINED_WEIGHTS, weights_value(weights, &mut tensors));
        }
        for (key, value) in self.other.iter() {
            dict.push(key.clone(), value.clone());
        }
        tensors.write(path, &dict.into())
    }
}

fn not_a_checkpoint(path: &Path, found: String) -> CheckpointError {
    CheckpointError::NotThisFormat { path: path.to_owned(), found, expected: "a checkpoint of nnU-Net" }
}

/// A key, for messages.
fn shown(key: &Value) -> String {
    match key {
        Value::Str(name) => format!("\"{}\"", name.chars().take(200).collect::<String>()),
        Value::Int(index) => index.to_string(),
        other => format!("under a key of kind {}", other.kind()),
    }
}

/// numpy's single precision where that is exact, as Python has it, else double.
fn number(value: f64) -> Value {
    let single = value as f32;
    if f64::from(single) == value { Scalar::f32(single).into() } else { Scalar::f64(value).into() }
}

fn ordered_dict(entries: Dict) -> Value {
    Value::Object(Box::new(Object {
        global: Global { module: "collections".to_owned(), name: "OrderedDict".to_owned() },
        args: Vec::new(),
        kwargs: Dict::new(),
        state: None,
        entries,
        items: Vec::new(),
    }))
}

fn read_weights(archive: &mut Archive, dict: Dict) -> Result<StateDict, CheckpointError> {
    let mut keys = Vec::with_capacity(dict.len());
    let mut refs = Vec::with_capacity(dict.len());
    for (key, value) in dict {
        let name = key.as_str().map(without_wrappers);
        let (Some(name), Value::Tensor(tensor)) = (name, &value) else {
            let part = format!("network_weights entry {}", shown(&key));
            return Err(archive.damaged(
                part,
                format!("a value of kind {}", value.kind()),
                "a name with a tensor",
            ));
        };
        keys.push(name.to_owned());
        refs.push((**tensor).clone());
    }
    let (numbers, tensors) = archive.load(&refs)?;
    Ok(StateDict::from_file(keys.into_iter().zip(numbers).collect(), tensors))
}

fn weights_value<'a>(weights: &'a StateDict, tensors: &mut TensorWriter<'a>) -> Dict {
    let mut values: IndexMap<&str, Value> = IndexMap::new();
    for (name, tensor) in weights.tensors() {
        // The one kind of tensor in these networks that torch keeps as whole numbers.
        let counts = name.ends_with(".num_batches_tracked");
        values.insert(name, if counts { tensors.add_counter(tensor) } else { tensors.add(tensor) });
    }
    let value = |(key, name): (&str, &str)| (key.into(), values.get(name).cloned().unwrap_or(Value::None));
    weights.keys().map(value).collect()
}

fn read_optimiser(archive: &mut Archive, mut dict: Dict) -> Result<SavedOptimiser, CheckpointError> {
    let groups = dict.remove("param_groups").unwrap_or(Value::List(Vec::new()));
    let groups = archive.resolve(groups)?;
    let Some(Value::Dict(states)) = dict.remove("state") else {
        return Err(archive.damaged(
            "optimizer_state".to_owned(),
            "no state".to_owned(),
            "state and param_groups",
        ));
    };
    // The highest index bounds the list: it must be that of a parameter.
    let params = groups.as_sequence().unwrap_or_default().iter().filter_map(|g| g.get("params")?.as_usizes());
    let count = params.map(|p| p.len()).sum::<usize>();
    let mut parameters = vec![None; count];
    let mut places = Vec::new();
    let mut refs = Vec::new();
    for (index, entries) in states {
        let place = index.as_usize().filter(|&i| i < count);
        let (Some(place), Value::Dict(entries)) = (place, entries) else {
            let part = format!("optimizer_state entry {}", shown(&index));
            return Err(archive.damaged(part, "no such parameter".to_owned(), "the state of a parameter"));
        };
        let state = parameters[place].insert(IndexMap::new());
        for (key, value) in entries {
            let Some(name) = key.as_str() else { continue };
            match value {
                Value::Tensor(tensor) => {
                    state.insert(name.to_owned(), StateTensor { shape: Vec::new(), data: Vec::new() });
                    places.push((place, name.to_owned()));
                    refs.push(*tensor);
                }
                // Momentum before the first step.
                Value::None => {}
                other => {
                    if let Some(number) = other.as_f64() {
                        state.insert(
                            name.to_owned(),
                            StateTensor { shape: Vec::new(), data: vec![number as f32] },
                        );
                    }
                }
            }
        }
        if state.is_empty() {
            parameters[place] = None;
        }
    }
    let (numbers, mut tensors) = archive.load(&refs)?;
    let mut uses = vec![0usize; tensors.len()];
    numbers.iter().for_each(|&n| uses[n] += 1);
    for ((place, name), number) in places.into_iter().zip(numbers) {
        uses[number] -= 1;
        let last = uses[number] == 0;
        let empty = StateTensor { shape: Vec::new(), data: Vec::new() };
        let tensor =
            if last { std::mem::replace(&mut tensors[number], empty) } else { tensors[number].clone() };
        if let Some(state) = &mut parameters[place] {
            state.insert(name, tensor);
        }
    }
    Ok(SavedOptimiser { groups, state: OptimiserState { parameters } })
}

fn optimiser_value<'a>(optimiser: &'a SavedOptimiser, tensors: &mut TensorWriter<'a>) -> Value {
    let mut states = Dict::new();
    for (index, state) in optimiser.state.parameters.iter().enumerate() {
        if let Some(state) = state {
            let entries: Dict = state.iter().map(|(k, t)| (k.as_str().into(), tensors.add(t))).collect();
            states.push(index.into(), entries.into());
        }
    }
    let mut dict = Dict::new();
    dict.insert("state", states);
    dict.insert("param_groups", optimiser.groups.clone());
    dict.into()
}
