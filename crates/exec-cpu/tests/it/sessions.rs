//! Sessions of the CPU backend: their state goes out and comes back, losses of one's own train as built-in ones do, and
//! what does not fit is refused without harm.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nnunet_exec_cpu::loss::host_loss;
use nnunet_exec_cpu::{CpuBackend, CpuOptions};
use nnunet_graph::backend::{
    Backend, BatchRef, InferenceSession, Snapshot, StepError, StepReport, StepSpec, TrainingSession,
};
use nnunet_graph::loss::{
    LabelBatch, Loss, LossError, LossSpec, LossValue, ScaleLossSpec, Target, Targets, Validity,
};
use nnunet_graph::optimiser::{AdamOptions, AdanOptions, OptimiserSpec, OptimiserState, SgdOptions};
use nnunet_graph::{Graph, NetworkError, Parameters, Tensor, init, shapes};

use crate::common;

const SGD: OptimiserSpec =
    OptimiserSpec::Sgd(SgdOptions { momentum: 0.99, weight_decay: 3e-5, nesterov: true });

fn backend() -> CpuBackend {
    CpuBackend::new(CpuOptions { threads: 2, ..CpuOptions::default() })
}

/// The input of a golden network, with labels at the resolution of each output.
fn batch(case: &common::Case) -> (Graph, Tensor, Targets) {
    let (graph, image) = (case.graph(true), case.tensor("x"));
    let shapes = shapes::infer(&graph, image.shape).unwrap();
    let target = |node: &nnunet_graph::graph::NodeId| {
        let [n, classes, z, y, x] = shapes[node.0];
        let data = (0..n * z * y * x).map(|i| (i / 3 * 31 % classes) as i16).collect();
        Target::Labels(LabelBatch { shape: [n, z, y, x], data })
    };
    let scales = graph.outputs().iter().map(target).collect();
    (graph, image, Targets::new(scales))
}

fn built_in(outputs: usize) -> LossSpec {
    let loss = ScaleLossSpec::dice_and_cross_entropy(true, Some(1));
    LossSpec::deep_supervision(loss, outputs)
}

fn session(graph: &Graph, seed: u64, loss: LossSpec, optimiser: OptimiserSpec) -> Box<dyn TrainingSession> {
    let step = StepSpec { loss, optimiser, gradient_norm_limit: 12.0 };
    backend().training(graph, init::initialise(graph, seed), &step).unwrap()
}

fn steps(session: &mut dyn TrainingSession, batch: BatchRef<'_>, count: usize) -> Vec<StepReport> {
    (0..count).map(|_| session.step(batch, 0.01.into()).unwrap()).collect()
}

#[test]
fn a_fresh_session_goes_on_from_an_exported_state() {
    let adam = |options: AdamOptions| OptimiserSpec::Adam(options);
    let amsgrad = AdamOptions { amsgrad: true, ..AdamOptions::adamw() };
    // Running statistics of batch norms are a part of the state.
    for name in ["plain3d", "plain3d_batch"] {
        let (graph, image, targets) = batch(&common::case(name));
        let batch = BatchRef { image: &image, targets: &targets };
        let adan = OptimiserSpec::Adan(AdanOptions::default());
        for optimiser in [SGD, adam(AdamOptions::adam()), adam(amsgrad), adan] {
            let new = |seed| session(&graph, seed, built_in(graph.outputs().len()), optimiser);
            let mut first = new(1);
            steps(&mut *first, batch, 2);
            let state = first.export().unwrap();
            let mut second = new(2);
            steps(&mut *second, batch, 1);
            second.import(state.clone()).unwrap();
            assert_eq!(second.export().unwrap(), state);
            assert_eq!(steps(&mut *first, batch, 2), steps(&mut *second, batch, 2), "{name} {optimiser:?}");
            assert_eq!(first.evaluate(batch).unwrap(), second.evaluate(batch).unwrap());
            let (first, second) = (first.export().unwrap(), second.export().unwrap());
            assert_eq!(first, second, "{name} {optimiser:?}");
            assert_ne!(first.parameters, state.parameters);
        }
    }
}

/// Logits and labels of `samples` for two outputs, made from the numbers of the samples.
fn made(samples: &[usize]) -> (Vec<Tensor>, Targets) {
    let output = |edge: usize| {
        let (voxels, n) = (edge * edge * edge, samples.len());
        let logits =
            samples.iter().flat_map(|s| (0..3 * voxels).map(move |i| ((i + 5 * s) * 7 % 11) as f32 / 5.0));
        let labels = samples.iter().flat_map(|s| (0..voxels).map(move |i| ((i / 2 + s) % 3) as i16));
        let target = LabelBatch { shape: [n, edge, edge, edge], data: labels.collect() };
        (Tensor { shape: [n, 3, edge, edge, edge], data: logits.collect() }, Target::Labels(target))
    };
    let (logits, targets) = [output(6), output(3), output(2)].into_iter().unzip();
    (logits, Targets::new(targets))
}

#[test]
fn samples_without_annotations_do_not_count() {
    let loss = host_loss(&built_in(3));
    let (logits, targets) = made(&[0, 1, 2]);
    let masked = |rows: [[bool; 3]; 3]| {
        let data = rows.into_iter().flatten().collect();
        Targets { validity: Some(Validity { shape: [3, 3], data }), ..targets.clone() }
    };
    let (all, none) = ([true; 3], [false; 3]);

    let (logits_alone, alone) = made(&[0, 2]);
    let (expected, gradients_alone) = loss.value_and_gradient(&logits_alone, &alone).unwrap();
    let (found, gradients) = loss.value_and_gradient(&logits, &masked([all, none, all])).unwrap();
    assert_eq!(found, expected);
    assert_ne!(found, loss.value(&logits, &targets).unwrap());
    for (gradient, alone) in gradients.iter().zip(&gradients_alone) {
        let thirds = |g: &Tensor| g.data.chunks(g.data.len() / 3).map(<[f32]>::to_vec).collect::<Vec<_>>();
        let Some([first, second, third]) = gradient.as_ref().map(|g| <[_; 3]>::try_from(thirds(g)).unwrap())
        else {
            assert!(alone.is_none());
            continue;
        };
        assert!(second.iter().all(|g| *g == 0.0));
        assert_eq!([first, third].concat(), alone.as_ref().unwrap().data);
    }

    assert_eq!(loss.value(&logits, &masked([none; 3])).unwrap().total, 0.0);
    assert_eq!(loss.value(&logits, &masked([all; 3])), loss.value(&logits, &targets));
    let error = loss.value(&logits, &masked([all, [true, false, false], all])).unwrap_err().to_string();
    assert!(error.contains("sample 1 of the batch: 1 of 3 classes annotated"), "{error}");
}

#[test]
fn weights_alone_leave_the_optimiser_as_it_is() {
    let (graph, image, targets) = batch(&common::case("plain3d"));
    let batch = BatchRef { image: &image, targets: &targets };
    let mut session = session(&graph, 1, built_in(graph.outputs().len()), SGD);
    steps(&mut *session, batch, 1);
    let momentum = session.export().unwrap().optimiser;
    let parameters = init::initialise(&graph, 2);
    session.import(Snapshot { parameters: parameters.clone(), optimiser: None }).unwrap();
    assert_eq!(session.export().unwrap(), Snapshot { parameters, optimiser: momentum });
}

/// A loss of one's own: another one, and how often it was asked.
struct Counted {
    loss: Arc<dyn Loss>,
    calls: AtomicUsize,
}

impl Loss for Counted {
    fn value(&self, logits: &[Tensor], targets: &Targets) -> Result<LossValue, LossError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.loss.value(logits, targets)
    }

    fn value_and_gradient(
        &self,
        logits: &[Tensor],
        targets: &Targets,
    ) -> Result<(LossValue, Vec<Option<Tensor>>), LossError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.loss.value_and_gradient(logits, targets)
    }
}

#[test]
fn a_loss_of_ones_own_trains_like_the_built_in_one_that_it_copies() {
    let (graph, image, targets) = batch(&common::case("plain3d"));
    let batch = BatchRef { image: &image, targets: &targets };
    let spec = built_in(graph.outputs().len());
    let own = Arc::new(Counted { loss: host_loss(&spec), calls: AtomicUsize::new(0) });
    let own_spec = LossSpec::Host { loss: own.clone(), ignored: spec.ignored() };
    let mut built_in = session(&graph, 1, spec, SGD);
    let mut host = session(&graph, 1, own_spec, SGD);
    assert_eq!(steps(&mut *built_in, batch, 3), steps(&mut *host, batch, 3));
    let report = host.evaluate(batch).unwrap();
    assert_eq!(built_in.evaluate(batch).unwrap(), report);
    assert!(report.overlap.iter().any(|counts| counts.true_positives > 0), "{report:?}");
    assert_eq!(built_in.export().unwrap(), host.export().unwrap());
    assert_eq!(own.calls.load(Ordering::Relaxed), 4);
}

#[test]
fn a_state_that_does_not_fit_changes_nothing() {
    let (graph, image, targets) = batch(&common::case("plain3d"));
    let batch = BatchRef { image: &image, targets: &targets };
    let new = |optimiser| session(&graph, 1, built_in(graph.outputs().len()), optimiser);
    let (mut session, mut undisturbed) = (new(SGD), new(SGD));
    for session in [&mut session, &mut undisturbed] {
        steps(&mut **session, batch, 1);
    }
    let before = session.export().unwrap();

    let parameters = || init::initialise(&graph, 3);
    let mut adam = new(OptimiserSpec::Adam(AdamOptions::adam()));
    steps(&mut *adam, batch, 1);
    let mut short = before.optimiser.clone().unwrap();
    let mut too_many = short.clone();
    short.parameters.iter_mut().rev().flatten().next().unwrap()["momentum_buffer"].data.pop();
    too_many.parameters.extend_from_within(..1);
    let others = common::case("residual3d").graph(true);
    let wrong: [(Parameters, Option<OptimiserState>, &str); 6] = [
        (init::initialise(&others, 1), before.optimiser.clone(), "parameter"),
        (init::initialise(&others, 1), None, "parameter"),
        (Parameters::default(), None, "missing"),
        (parameters(), adam.export().unwrap().optimiser, "exp_avg"),
        (parameters(), Some(short), "elements"),
        (parameters(), Some(too_many), "at most"),
    ];
    for (parameters, optimiser, words) in wrong {
        let error = session.import(Snapshot { parameters, optimiser }).unwrap_err().to_string();
        assert!(error.contains(words), "{words:?} in {error}");
        assert!(session.export().unwrap() == before, "{error}");
    }
    assert_eq!(steps(&mut *session, batch, 2), steps(&mut *undisturbed, batch, 2));
    assert!(session.export().unwrap() == undisturbed.export().unwrap());
}

#[test]
fn an_input_that_is_not_a_number_stops_the_step_before_the_weights_change() {
    let (graph, mut image, targets) = batch(&common::case("plain3d"));
    let mut session = session(&graph, 1, built_in(graph.outputs().len()), SGD);
    let before = session.export().unwrap();
    image.data[3] = f32::NAN;
    let batch = BatchRef { image: &image, targets: &targets };
    for error in [session.step(batch, 0.01.into()).unwrap_err(), session.evaluate(batch).unwrap_err()] {
        assert!(matches!(error, StepError::NotFinite { what: "loss", value } if value.is_nan()), "{error}");
    }
    assert!(session.export().unwrap() == before);
}

#[test]
fn an_inference_session_takes_the_weights_of_its_network_only() {
    let case = common::case("plain3d");
    let (graph, image, _) = batch(&case);
    let mut session = backend().inference(&graph, init::initialise(&graph, 1)).unwrap();
    let run = |session: &mut dyn InferenceSession| {
        let mut output = Tensor::zeros([0; 5]);
        session.run_into(&image, &mut output).unwrap();
        output
    };
    let first = run(&mut *session);
    let others = common::case("residual3d").graph(true);
    let error = session.exchange_parameters(init::initialise(&others, 1)).unwrap_err();
    assert!(matches!(error, NetworkError::Parameter { .. }), "{error}");
    assert_eq!(run(&mut *session), first);
    let own = session.exchange_parameters(init::initialise(&graph, 2)).unwrap();
    assert_eq!(own, init::initialise(&graph, 1));
    assert_ne!(run(&mut *session), first);
    session.exchange_parameters(own).unwrap();
    session.renew().unwrap();
    assert_eq!(run(&mut *session), first);
}

#[test]
fn a_training_predicts_with_the_weights_that_it_has_reached() {
    let case = common::case("plain3d");
    let (graph, image, targets) = batch(&case);
    let batch = BatchRef { image: &image, targets: &targets };
    let mut training = session(&graph, 1, built_in(graph.outputs().len()), SGD);
    steps(&mut *training, batch, 2);
    let parameters = training.export().unwrap().parameters;
    let mut alone = backend().inference(&graph, parameters).unwrap();
    let (mut found, mut expected) = (Tensor::zeros([0; 5]), Tensor::zeros([0; 5]));
    training.inference().run_into(&image, &mut found).unwrap();
    alone.run_into(&image, &mut expected).unwrap();
    assert_eq!(found, expected);
    // And goes on as if nobody had asked.
    let mut undisturbed = session(&graph, 1, built_in(graph.outputs().len()), SGD);
    steps(&mut *undisturbed, batch, 2);
    assert_eq!(steps(&mut *training, batch, 1), steps(&mut *undisturbed, batch, 1));
}

#[test]
fn the_memory_of_a_training_has_the_state_of_its_optimiser() {
    let (graph, image, _) = batch(&common::case("plain3d"));
    let of = |optimiser| {
        let session = session(&graph, 1, built_in(graph.outputs().len()), optimiser);
        session.memory(image.shape).unwrap()
    };
    let bytes = graph.parameter_count() * size_of::<f32>();
    let amsgrad = AdamOptions { amsgrad: true, ..AdamOptions::adam() };
    let (sgd, adam, largest) =
        (of(SGD), of(OptimiserSpec::Adam(AdamOptions::adam())), of(OptimiserSpec::Adam(amsgrad)));
    assert_eq!([sgd.optimiser, adam.optimiser, largest.optimiser], [bytes, 2 * bytes, 3 * bytes]);
    assert_eq!(of(OptimiserSpec::Adan(AdanOptions::default())).optimiser, 4 * bytes);
    assert_eq!(sgd.step, adam.step);
    assert_eq!(adam.total(), sgd.total() + bytes);
}
