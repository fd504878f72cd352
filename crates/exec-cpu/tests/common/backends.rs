//! What every backend has to show: the goldens of networks, losses and training steps, and sessions whose state comes out and
//! goes in again. Each backend's tests call these functions.
#![allow(dead_code, unreachable_pub)] // each test binary uses its own part

use std::sync::{Arc, Mutex};

use nnunet_checkpoint::Checkpoint;
use nnunet_graph::backend::{Backend, BatchRef, Snapshot, StepError, StepReport, StepSpec, TrainingSession};
use nnunet_graph::loss::{
    Ignored, LabelBatch, Loss, LossError, LossSpec, LossValue, RegionBatch, ScaleLossSpec, Target, Targets,
    Validity,
};
use nnunet_graph::optimiser::{AdamOptions, AdanOptions, OptimiserSpec, SgdOptions};
use nnunet_graph::{Graph, Parameters, Tensor, build, init, shapes};
use nnunet_testkit::npy::{Array, read_npy, read_npz};
use nnunet_testkit::shared::shared_path;
use serde_json::Value;

use crate::common::{self, Case};

/// A loss with given gradients, which keeps the logits that it was shown.
#[derive(Default)]
struct Given {
    gradients: Vec<Tensor>,
    logits: Mutex<Vec<Tensor>>,
}

impl Loss for Given {
    fn value(&self, logits: &[Tensor], _: &Targets) -> Result<LossValue, LossError> {
        *self.logits.lock().unwrap() = logits.to_vec();
        Ok(LossValue { total: 1.0, scales: Vec::new() })
    }

    fn value_and_gradient(
        &self,
        logits: &[Tensor],
        targets: &Targets,
    ) -> Result<(LossValue, Vec<Option<Tensor>>), LossError> {
        let value = self.value(logits, targets)?;
        Ok((value, self.gradients.iter().cloned().map(Some).collect()))
    }
}

impl Given {
    fn shown(&self) -> Vec<Tensor> {
        self.logits.lock().unwrap().clone()
    }
}

/// A training of a golden network with the golden gradients of its outputs. Its steps move nothing.
fn still(backend: &dyn Backend, case: &Case) -> (Arc<Given>, Box<dyn TrainingSession>) {
    let gradients = (0..2).map(|i| case.tensor(&format!("d{i}"))).collect();
    let given = Arc::new(Given { gradients, ..Given::default() });
    let step = StepSpec {
        loss: LossSpec::Host { loss: given.clone(), ignored: Ignored::Nothing },
        optimiser: OptimiserSpec::Sgd(SgdOptions { momentum: 0.0, weight_decay: 0.0, nesterov: false }),
        gradient_norm_limit: f64::INFINITY,
    };
    let session = backend.training(&case.graph(true), case.parameters(), &step).unwrap();
    (given, session)
}

/// The parameters with the gradients of a pass with the golden gradients of the outputs.
pub fn golden_gradients(backend: &dyn Backend, case: &Case) -> Parameters {
    let (_, mut session) = still(backend, case);
    let (x, targets) = (case.tensor("x"), labels_for(case));
    // In f16 the first steps are left out until their scale is small enough for gradients as large as these.
    let mut step = || session.step(BatchRef { image: &x, targets: &targets }, 0.0.into()).unwrap();
    assert!((0..24).any(|_| step().gradient_norm.is_finite()));
    let mut seen = Parameters::default();
    session.visit_parameters(&mut |parameters| seen = parameters.clone()).unwrap();
    seen
}

/// Outputs, gradients and running statistics of the small networks. `tolerance` is that of single elements relative to the
/// largest.
pub fn small_networks(backend: &dyn Backend, tolerance: f64) {
    for name in common::CASES {
        let case = common::case(name);
        let x = case.tensor("x");
        let close = |found: &Tensor, expected: &str| {
            let expected = case.tensor(expected);
            assert_eq!(found.shape, expected.shape, "{name}");
            let error = common::relative_error(&found.data, &expected.data);
            assert!(error < tolerance, "{name}: an output differs by {error:e}");
        };
        let mut output = Tensor::zeros([0; 5]);
        let mut session = backend.inference(&case.graph(true), case.parameters()).unwrap();
        session.run_into(&x, &mut output).unwrap();
        if !case.arrays.contains_key("e0") {
            close(&output, "y0");
        }

        let (given, mut session) = still(backend, &case);
        let targets = labels_for(&case);
        let batch = BatchRef { image: &x, targets: &targets };
        session.step(batch, 0.0.into()).unwrap();
        for (i, logits) in given.shown().iter().enumerate() {
            close(logits, &format!("y{i}"));
        }
        let mut seen = Parameters::default();
        session.visit_parameters(&mut |parameters| seen = parameters.clone()).unwrap();
        check_gradients(name, &case, &seen, tolerance);
        if case.arrays.contains_key("e0") {
            for (name, buffer) in seen.buffers() {
                let error = common::relative_error(buffer.value(), &case.arrays[&format!("a:{name}")].f32());
                assert!(error < tolerance, "{name} differs by {error:e}");
            }
            session.evaluate(batch).unwrap();
            for (i, logits) in given.shown().iter().enumerate() {
                close(logits, &format!("e{i}"));
            }
            session.inference().run_into(&x, &mut output).unwrap();
            close(&output, "e0");
            let after = session.export().unwrap().parameters;
            assert!(after == seen.without_gradients(), "{name}: evaluation changes the weights");
        }
    }
}

/// Gradients against the golden ones, each by its parameter's largest. The gradient of a bias in front of a norm is zero but for
/// the rounding of what is summed: PyTorch's own is up to 2.2e-7 of the largest of all gradients, the limit is 1e-6 of that.
fn check_gradients(what: &str, case: &Case, found: &Parameters, tolerance: f64) {
    let expected = |name: &str| case.arrays[&format!("g:{name}")].f32();
    let largest = |values: &[f32]| values.iter().fold(0f64, |m, v| m.max(f64::from(v.abs())));
    let scale = found.iter().map(|(name, _)| largest(&expected(name))).fold(0.0, f64::max);
    for (name, parameter) in found.iter() {
        let expected = expected(name);
        let limit = match largest(&expected) {
            own if own < 1e-6 * scale => 1e-6 * scale,
            own => tolerance * own.max(1e-3 * scale),
        };
        for (f, e) in parameter.gradient().unwrap().iter().zip(&expected) {
            let error = f64::from((f - e).abs());
            assert!(error < limit, "{what}: gradient of {name} differs by {error:e}, more than {limit:e}");
        }
    }
}

/// Dropouts change nothing in prediction.
pub fn dropouts_in_prediction(backend: &dyn Backend, tolerance: f64) {
    for name in common::DROPOUT_CASES {
        let case = common::case(name);
        let mut output = Tensor::zeros([0; 5]);
        let mut session = backend.inference(&case.graph(true), case.parameters()).unwrap();
        session.run_into(&case.tensor("x"), &mut output).unwrap();
        let error = common::relative_error(&output.data, &case.tensor("e0").data);
        assert!(error < tolerance, "{name} differs by {error:e}");
    }
}

/// Checkpoints of the reference, read as they are: every head.
pub fn reference_models(backend: &dyn Backend, tolerance: f64) {
    let names =
        ["plain3d", "plain2d", "resenc3d", "regions3d", "ignore3d", "cascade_lowres", "cascade_fullres"];
    for name in names {
        let Some(folder) = shared_path(&format!("reference/models/{name}")) else { continue };
        let read = |file: &str| -> Value {
            serde_json::from_str(&std::fs::read_to_string(folder.join(file)).unwrap()).unwrap()
        };
        let configuration = read("meta.json")["configuration"].as_str().unwrap().to_owned();
        let configurations = &read("model/plans.json")["configurations"];
        let own = &configurations[&configuration];
        let heir = own["inherits_from"].as_str().map_or(own, |parent| &configurations[parent]);
        let architecture = &heir["architecture"];
        let array = |file: &str| common::tensor(&read_npy(folder.join("forward").join(file)));
        let (x, y) = (array("x.npy"), array("y.npy"));
        let class = architecture["network_class_name"].as_str().unwrap();
        let graph = build(class, &architecture["arch_kwargs"], x.shape[1], y.shape[1], true).unwrap();
        let fold = if name == "cascade_lowres" { "fold_all" } else { "fold_0" };
        let file = folder.join("model").join(fold).join("checkpoint_final.pth");
        let weights = Checkpoint::read_for_inference(&file).unwrap().weights;
        let mut session = backend.inference(&graph, weights.into_parameters(&graph).unwrap()).unwrap();
        let mut output = Tensor::zeros([0; 5]);
        session.run_into(&x, &mut output).unwrap();
        let error = common::relative_error(&output.data, &y.data);
        assert!(error < tolerance, "{name} differs by {error:e}");
    }
}

fn target(array: &Array) -> Target {
    let shape = common::tensor(array).shape;
    if array.dtype == "b1" {
        return Target::Regions(RegionBatch { shape, data: array.data.iter().map(|v| *v != 0.0).collect() });
    }
    let [n, _, z, y, x] = shape;
    Target::Labels(LabelBatch { shape: [n, z, y, x], data: array.data.iter().map(|v| *v as i16).collect() })
}

/// Steps with the tolerance of a gradient, relative to the norm of all, and that of the norm: the reference's own distance from
/// the same step in f64 and a little (see `training_steps_of_the_reference`).
pub const LABEL_STEPS: [(&str, f64, f64); 4] = [
    ("plain3d", 8e-5, 1e-5),
    ("plain2d", 1.2e-3, 2.5e-4),
    ("resenc3d", 3e-6, 1e-6),
    ("lowres_nobatchdice", 3e-6, 2e-5),
];
/// Steps whose distance from f64 is not known, with tolerances that PyTorch's own kernels keep. Other sums fall on the other
/// side of a leaky ReLU here and there; the CPU's are held to these steps by the tests of trainings.
pub const OTHER_STEPS: [(&str, f64, f64); 2] = [("ignore3d", 8e-5, 2e-5), ("regions3d", 8e-5, 2e-5)];

/// Three training steps from the reference's weights: losses, gradient norms, clipped gradients, weights after one and three.
pub fn reference_training_steps(backend: &dyn Backend, steps: &[(&str, f64, f64)]) {
    for &(name, tolerance, norm_tolerance) in steps {
        let Some(step) = common::train_step(name) else { continue };
        let read = |file: &str| read_npz(step.folder.join(file));
        let json = |file: &str| -> Value {
            serde_json::from_str(&std::fs::read_to_string(step.folder.join(file)).unwrap()).unwrap()
        };
        let info = json("info.json");
        let batch_dice = info["batch_dice"].as_bool().unwrap();
        let outputs = step.graph.outputs().len();
        let scales: Vec<Target> =
            (0..outputs).map(|k| target(&read_npy(step.folder.join(format!("target{k}.npy"))))).collect();
        let ignore = json("dataset.json")["labels"]["ignore"].as_i64().map(|v| v as i16);
        let loss = match scales[0] {
            Target::Labels(_) => ScaleLossSpec::dice_and_cross_entropy(batch_dice, ignore),
            Target::Regions(_) => ScaleLossSpec::dice_and_binary_cross_entropy(batch_dice, ignore.is_some()),
        };
        let spec = StepSpec {
            loss: LossSpec::deep_supervision(loss, outputs),
            optimiser: OptimiserSpec::Sgd(SgdOptions::default()),
            gradient_norm_limit: 12.0,
        };
        let parameters = common::parameters(&step.graph, "", &step.weights);
        let mut session = backend.training(&step.graph, parameters, &spec).unwrap();
        let targets = Targets::new(scales);
        let batch = BatchRef { image: &step.data, targets: &targets };
        for (i, expected) in info["steps"].as_array().unwrap().iter().enumerate() {
            let report = session.step(batch, info["lr"].as_f64().unwrap().into()).unwrap();
            let expected_loss = expected["loss"].as_f64().unwrap();
            assert!(
                (report.loss - expected_loss).abs() < 2e-5,
                "{name} step {i}: {report:?} not {expected_loss}"
            );
            let norm = expected["grad_norm_before_clip"].as_f64().unwrap();
            let error = (report.gradient_norm / norm - 1.0).abs();
            assert!(error < norm_tolerance, "{name} step {i}: {report:?} not {norm}");
            if i == 0 && step.folder.join("grads0_clipped.npz").exists() {
                let expected = read("grads0_clipped.npz");
                session
                    .visit_parameters(&mut |parameters| {
                        for (key, parameter) in parameters.iter() {
                            let Some(gradient) = parameter.gradient() else {
                                assert!(!expected.contains_key(key), "{name}: no gradient of {key}");
                                continue;
                            };
                            let pairs = gradient.iter().zip(expected[key].f32());
                            let worst = pairs.fold(0f32, |m, (a, b)| m.max((a - b).abs()));
                            assert!(
                                f64::from(worst) < tolerance * norm,
                                "{name}: {key} differs by {worst:e}"
                            );
                        }
                    })
                    .unwrap();
            }
            let file = format!("weights{}.npz", i + 1);
            if step.folder.join(&file).exists() {
                let expected = read(&file);
                for (key, parameter) in session.export().unwrap().parameters.iter() {
                    let pairs = parameter.value().iter().zip(expected[key].f32());
                    let error = pairs.fold(0f32, |m, (a, b)| m.max((a - b).abs()));
                    assert!(
                        f64::from(error) < 1e-7 + 0.1 * tolerance,
                        "{name} after step {i}: {key} differs by {error:e}"
                    );
                }
            }
        }
    }
}

/// Labels at the resolution of each output of a golden network.
pub fn labels_for(case: &Case) -> Targets {
    let (graph, image) = (case.graph(true), case.tensor("x"));
    let shapes = shapes::infer(&graph, image.shape).unwrap();
    let target = |node: &nnunet_graph::graph::NodeId| {
        let [n, classes, z, y, x] = shapes[node.0];
        let data = (0..n * z * y * x).map(|i| (i / 3 * 31 % classes) as i16).collect();
        Target::Labels(LabelBatch { shape: [n, z, y, x], data })
    };
    Targets::new(graph.outputs().iter().map(target).collect())
}

/// All optimisers, as a training may choose them.
pub fn optimisers() -> Vec<OptimiserSpec> {
    let sgd = SgdOptions { momentum: 0.99, weight_decay: 3e-5, nesterov: true };
    vec![
        OptimiserSpec::Sgd(sgd),
        OptimiserSpec::Sgd(SgdOptions { nesterov: false, ..sgd }),
        OptimiserSpec::Sgd(SgdOptions { momentum: 0.0, weight_decay: 1e-2, nesterov: false }),
        OptimiserSpec::Adam(AdamOptions::adam()),
        OptimiserSpec::Adam(AdamOptions { weight_decay: 1e-2, ..AdamOptions::adam() }),
        OptimiserSpec::Adam(AdamOptions { amsgrad: true, ..AdamOptions::adamw() }),
        OptimiserSpec::Adan(AdanOptions { weight_decay: 0.02, ..AdanOptions::default() }),
    ]
}

/// A training of `graph` by nnU-Net's loss with an ignored label.
pub fn training(
    backend: &dyn Backend,
    graph: &Graph,
    seed: u64,
    optimiser: OptimiserSpec,
) -> Box<dyn TrainingSession> {
    let loss = ScaleLossSpec::dice_and_cross_entropy(true, Some(1));
    let loss = LossSpec::deep_supervision(loss, graph.outputs().len());
    let step = StepSpec { loss, optimiser, gradient_norm_limit: 12.0 };
    backend.training(graph, init::initialise(graph, seed), &step).unwrap()
}

/// Some steps.
pub fn steps(session: &mut dyn TrainingSession, batch: BatchRef<'_>, count: usize) -> Vec<StepReport> {
    (0..count).map(|_| session.step(batch, 0.01.into()).unwrap()).collect()
}

/// A session goes on from the state that another has exported, whatever the optimiser: exactly where `other` is the backend that
/// exported it, else as far as `tolerance` says.
pub fn states_go_over(backend: &dyn Backend, other: &dyn Backend, tolerance: f64) {
    for name in ["plain3d", "plain3d_batch"] {
        let case = common::case(name);
        let (graph, image, targets) = (case.graph(true), case.tensor("x"), labels_for(&case));
        let batch = BatchRef { image: &image, targets: &targets };
        for optimiser in optimisers() {
            let mut first = training(backend, &graph, 1, optimiser);
            steps(&mut *first, batch, 2);
            let state = first.export().unwrap();
            let mut second = training(other, &graph, 2, optimiser);
            steps(&mut *second, batch, 1);
            second.import(state.clone()).unwrap();
            let taken = second.export().unwrap();
            assert!(taken == state, "{name} {optimiser:?}: the state changes on its way");
            let (a, b) = (steps(&mut *first, batch, 2), steps(&mut *second, batch, 2));
            for (a, b) in a.iter().zip(&b) {
                assert!(close(a.loss, b.loss, tolerance), "{name} {optimiser:?}: {a:?} and {b:?}");
                let norms = close(a.gradient_norm, b.gradient_norm, 10.0 * tolerance);
                assert!(norms, "{name} {optimiser:?}: {a:?} and {b:?}");
            }
            let (a, b) = (first.evaluate(batch).unwrap(), second.evaluate(batch).unwrap());
            // Adam's steps of biases in front of norms follow the signs of rounding errors, which running means then miss.
            let rounding =
                tolerance > 1e-5 && name == "plain3d_batch" && !matches!(optimiser, OptimiserSpec::Sgd(_));
            let limit = if rounding { 1e-2 } else { 10.0 * tolerance };
            assert!(close(a.loss, b.loss, limit), "{name} {optimiser:?}: {a:?} and {b:?}");
            let counted = |c: &nnunet_graph::loss::OverlapCounts| {
                c.true_positives + c.false_positives + c.false_negatives
            };
            assert!(a.overlap.iter().map(counted).sum::<u64>() > 0, "{a:?}");
            if name == "plain3d" {
                assert!(a.overlap.iter().any(|counts| counts.true_positives > 0), "{a:?}");
            }
            check_states(
                &first.export().unwrap(),
                &second.export().unwrap(),
                tolerance,
                &format!("{name} {optimiser:?}"),
            );
        }
    }
}

fn close(a: f64, b: f64, tolerance: f64) -> bool {
    a == b || (a - b).abs() <= tolerance * a.abs().max(b.abs())
}

/// Parameters and states of two trainings that took the same steps.
fn check_states(a: &Snapshot, b: &Snapshot, tolerance: f64, what: &str) {
    let same = |name: &str, a: &[f32], b: &[f32]| {
        let error = if a == b { 0.0 } else { common::relative_error(a, b) };
        // Adam moves parameters without gradients but rounding (biases before a norm) as far as others.
        let rounding = name.ends_with("conv.bias") || name.contains("convs") && name.ends_with(".bias");
        assert!(error <= tolerance || rounding, "{what}: {name} differs by {error:e}");
    };
    for ((name, a), (_, b)) in a.parameters.iter().zip(b.parameters.iter()) {
        same(name, a.value(), b.value());
    }
    let (Some(first), Some(second)) = (&a.optimiser, &b.optimiser) else { return };
    assert_eq!(first.parameters.len(), second.parameters.len(), "{what}");
    for ((entry, other), (name, _)) in
        first.parameters.iter().zip(&second.parameters).zip(a.parameters.iter())
    {
        assert_eq!(entry.is_some(), other.is_some(), "{what}: {name}");
        let (Some(entry), Some(other)) = (entry, other) else { continue };
        for ((key, tensor), (other_key, other)) in entry.iter().zip(other) {
            assert_eq!((key, &tensor.shape), (other_key, &other.shape), "{what}: {name}");
            same(name, &tensor.data, &other.data);
        }
    }
}

/// Counts, losses and steps leave out samples that were not annotated.
pub fn samples_without_annotations(backend: &dyn Backend) {
    let case = common::case("plain3d");
    let (graph, image, targets) = (case.graph(true), case.tensor("x"), labels_for(&case));
    let [samples, ..] = image.shape;
    let classes = 3;
    let masked = |rows: &[bool]| {
        let data = rows.iter().flat_map(|row| vec![*row; classes]).collect();
        Targets { validity: Some(Validity { shape: [samples, classes], data }), ..targets.clone() }
    };
    let new = || training(backend, &graph, 1, optimisers()[0]);
    let report = |targets: &Targets| new().evaluate(BatchRef { image: &image, targets }).unwrap();
    assert_eq!(report(&masked(&vec![true; samples])), report(&targets));
    let mut first_only = vec![false; samples];
    first_only[0] = true;
    let some = report(&masked(&first_only));
    let count = |report: &nnunet_graph::backend::EvaluationReport| -> u64 {
        report.overlap.iter().map(|c| c.true_positives + c.false_negatives).sum()
    };
    if samples > 1 {
        assert!(count(&some) < count(&report(&targets)));
    }
    let none = masked(&vec![false; samples]);
    let nothing = report(&none);
    assert_eq!((nothing.loss, count(&nothing)), (0.0, 0));
    // Nothing is learned from nothing but the decay of weights.
    let mut session = new();
    let taken = session.step(BatchRef { image: &image, targets: &none }, 0.01.into()).unwrap();
    assert_eq!((taken.loss, taken.gradient_norm), (0.0, 0.0));
    let data: Vec<bool> = (0..samples * classes).map(|i| i % classes == 0).collect();
    let part = Targets { validity: Some(Validity { shape: [samples, classes], data }), ..targets.clone() };
    let error = new().evaluate(BatchRef { image: &image, targets: &part }).unwrap_err().to_string();
    assert!(error.contains("1 of 3 classes annotated"), "{error}");
}

/// Frozen parameters stay, others learn at their own rates, and adjusted gradients are the ones that count.
pub fn rates_and_adjustments(backend: &dyn Backend, other: &dyn Backend, tolerance: f64) {
    let case = common::case("plain3d");
    let (graph, image, targets) = (case.graph(true), case.tensor("x"), labels_for(&case));
    let batch = BatchRef { image: &image, targets: &targets };
    let factors: Vec<f64> = (0..graph.parameters().len()).map(|i| [0.0, 1.0, 0.5][i % 3]).collect();
    let rates = nnunet_graph::optimiser::Rates { base: 0.01, factors: &factors };
    let run = |backend: &dyn Backend| {
        let mut session = training(backend, &graph, 1, optimisers()[0]);
        let before = session.export().unwrap().parameters;
        let mut reports = vec![session.step(batch, rates).unwrap()];
        let halve = &mut |parameters: &mut Parameters| {
            for (_, parameter) in parameters.iter_mut() {
                if let Some((_, gradient)) = parameter.value_and_gradient() {
                    gradient.iter_mut().for_each(|g| *g *= 0.5);
                }
            }
        };
        reports.push(session.step_with(batch, rates, halve).unwrap());
        let after = session.export().unwrap();
        for (i, ((name, a), (_, b))) in before.iter().zip(after.parameters.iter()).enumerate() {
            if factors[i] == 0.0 {
                assert_eq!(a, b, "{name} is frozen");
            }
        }
        (reports, after)
    };
    let ((a, state), (b, expected)) = (run(backend), run(other));
    for (a, b) in a.iter().zip(&b) {
        assert!(
            close(a.loss, b.loss, tolerance) && close(a.gradient_norm, b.gradient_norm, 10.0 * tolerance)
        );
    }
    check_states(&state, &expected, tolerance, "rates");
}

/// What does not fit is refused, and the session is as before.
pub fn misfits_change_nothing(backend: &dyn Backend) {
    let case = common::case("plain3d");
    let (graph, mut image, targets) = (case.graph(true), case.tensor("x"), labels_for(&case));
    let mut session = training(backend, &graph, 1, optimisers()[0]);
    steps(&mut *session, BatchRef { image: &image, targets: &targets }, 1);
    let before = session.export().unwrap();
    let others = common::case("residual3d").graph(true);
    let mut short = before.optimiser.clone().unwrap();
    short.parameters.iter_mut().rev().flatten().next().unwrap()["momentum_buffer"].data.pop();
    let own = || init::initialise(&graph, 3);
    let wrong = [
        (init::initialise(&others, 1), before.optimiser.clone()),
        (Parameters::default(), None),
        (own(), Some(short)),
    ];
    for (parameters, optimiser) in wrong {
        let error = session.import(Snapshot { parameters, optimiser }).unwrap_err();
        assert!(session.export().unwrap() == before, "{error}");
    }
    let mut stray = targets.clone();
    if let Target::Labels(labels) = &mut stray.scales[0] {
        labels.data[5] = 7;
    }
    let error = session.step(BatchRef { image: &image, targets: &stray }, 0.01.into()).unwrap_err();
    assert!(matches!(error, StepError::Loss(LossError::Label { label: 7, .. })), "{error}");
    let mut fewer = targets.clone();
    fewer.scales.pop();
    let error = session.step(BatchRef { image: &image, targets: &fewer }, 0.01.into()).unwrap_err();
    assert!(matches!(error, StepError::Loss(LossError::Outputs { .. })), "{error}");
    image.data.pop();
    let error = session.step(BatchRef { image: &image, targets: &targets }, 0.01.into()).unwrap_err();
    assert!(matches!(error, StepError::Network(_)), "{error}");
    image.data.push(f32::NAN);
    let batch = BatchRef { image: &image, targets: &targets };
    for error in [session.step(batch, 0.01.into()).unwrap_err(), session.evaluate(batch).unwrap_err()] {
        assert!(matches!(error, StepError::NotFinite { what: "loss", .. }), "{error}");
    }
    assert!(session.export().unwrap() == before);
}

/// A training that is begun on `backend`, goes on on `other` and ends on `backend` takes the steps of one that never left.
pub fn trainings_travel(backend: &dyn Backend, other: &dyn Backend, tolerance: f64) {
    let case = common::case("residual3d");
    let (graph, image, targets) = (case.graph(true), case.tensor("x"), labels_for(&case));
    let batch = BatchRef { image: &image, targets: &targets };
    let new = |backend: &dyn Backend| training(backend, &graph, 1, optimisers()[0]);
    let mut at_home = new(backend);
    let expected: Vec<f64> = steps(&mut *at_home, batch, 12).iter().map(|report| report.loss).collect();
    let mut found = Vec::new();
    let mut state = None;
    for place in [backend, other, backend] {
        let mut session = new(place);
        if let Some(state) = state.take() {
            session.import(state).unwrap();
        }
        found.extend(steps(&mut *session, batch, 4).iter().map(|report| report.loss));
        state = Some(session.export().unwrap());
    }
    assert!(expected[11] < expected[0] - 0.05, "{expected:?}");
    assert!(expected.iter().zip(&found).all(|(a, b)| close(*a, *b, tolerance)), "{expected:?} and {found:?}");
    check_states(&state.unwrap(), &at_home.export().unwrap(), 10.0 * tolerance, "a training that travelled");
}
