//! Training, resuming, validation and prediction on a backend of one's own: the pipeline asks for nothing beyond the
//! trait.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use nnunet_base::Ctx;
use nnunet_base::progress::{Cancel, Silent};
use nnunet_data::Parts;
use nnunet_dataset::DatasetName;
use nnunet_dataset::cases::prediction_cases;
use nnunet_dataset::splits::Fold;
use nnunet_exec_cpu::{CpuBackend, CpuOptions};
use nnunet_graph::backend::{
    Backend, BatchRef, EvaluationReport, InferenceSession, MemoryEstimate, Snapshot, StepError, StepReport,
    StepSpec, TrainingMemory, TrainingSession,
};
use nnunet_graph::optimiser::Rates;
use nnunet_graph::{Graph, NetworkError, Parameters, Tensor};
use nnunet_infer::model::Recipe;
use nnunet_infer::predict::{Model, PredictRequest, Predictor, WindowOptions, predict_cases};
use nnunet_recipe::recipes;
use nnunet_train::{Start, TrainRequest, Training};
use serde_json::{Value, json};

use crate::common::{NAME, prepare};

/// How often each method was called.
#[derive(Debug, Clone, Default)]
struct Calls(Arc<Mutex<BTreeMap<&'static str, usize>>>);

impl Calls {
    fn note(&self, method: &'static str) {
        *self.0.lock().unwrap().entry(method).or_default() += 1;
    }

    fn take(&self) -> BTreeMap<&'static str, usize> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// The CPU under another name, which counts what is asked of it.
#[derive(Debug, Clone)]
struct Counting {
    cpu: CpuBackend,
    calls: Calls,
}

struct CountingSession<S: ?Sized> {
    session: Box<S>,
    calls: Calls,
}

impl Backend for Counting {
    fn name(&self) -> &str {
        "counting"
    }

    fn host_threads(&self) -> usize {
        self.cpu.host_threads()
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        vec![("counts", "calls".to_owned())]
    }

    fn inference(
        &self,
        graph: &Graph,
        parameters: Parameters,
    ) -> Result<Box<dyn InferenceSession>, NetworkError> {
        self.calls.note("inference");
        let (session, calls) = (self.cpu.inference(graph, parameters)?, self.calls.clone());
        Ok(Box::new(CountingSession { session, calls }))
    }

    fn training(
        &self,
        graph: &Graph,
        parameters: Parameters,
        step: &StepSpec,
    ) -> Result<Box<dyn TrainingSession>, NetworkError> {
        self.calls.note("training");
        let (session, calls) = (self.cpu.training(graph, parameters, step)?, self.calls.clone());
        Ok(Box::new(CountingSession { session, calls }))
    }
}

impl InferenceSession for CountingSession<dyn InferenceSession> {
    fn run_into(&mut self, input: &Tensor, output: &mut Tensor) -> Result<(), NetworkError> {
        self.calls.note("run_into");
        self.session.run_into(input, output)
    }

    fn exchange_parameters(&mut self, parameters: Parameters) -> Result<Parameters, NetworkError> {
        self.calls.note("exchange_parameters");
        self.session.exchange_parameters(parameters)
    }

    fn renew(&mut self) -> Result<(), NetworkError> {
        self.session.renew()
    }

    fn memory(&self, input: [usize; 5]) -> Result<MemoryEstimate, NetworkError> {
        self.session.memory(input)
    }
}

impl InferenceSession for CountingSession<dyn TrainingSession> {
    fn run_into(&mut self, input: &Tensor, output: &mut Tensor) -> Result<(), NetworkError> {
        self.calls.note("run_into of a training");
        self.session.inference().run_into(input, output)
    }

    fn exchange_parameters(&mut self, parameters: Parameters) -> Result<Parameters, NetworkError> {
        self.session.inference().exchange_parameters(parameters)
    }

    fn renew(&mut self) -> Result<(), NetworkError> {
        self.session.inference().renew()
    }

    fn memory(&self, input: [usize; 5]) -> Result<MemoryEstimate, NetworkError> {
        Ok(self.session.memory(input)?.step)
    }
}

impl TrainingSession for CountingSession<dyn TrainingSession> {
    fn step(&mut self, batch: BatchRef<'_>, rates: Rates<'_>) -> Result<StepReport, StepError> {
        self.calls.note("step");
        self.session.step(batch, rates)
    }

    fn step_with(
        &mut self,
        batch: BatchRef<'_>,
        rates: Rates<'_>,
        adjust: &mut dyn FnMut(&mut Parameters),
    ) -> Result<StepReport, StepError> {
        self.calls.note("step_with");
        self.session.step_with(batch, rates, adjust)
    }

    fn visit_parameters(&mut self, visit: &mut dyn FnMut(&mut Parameters)) -> Result<(), NetworkError> {
        self.calls.note("visit_parameters");
        self.session.visit_parameters(visit)
    }

    fn evaluate(&mut self, batch: BatchRef<'_>) -> Result<EvaluationReport, StepError> {
        self.calls.note("evaluate");
        self.session.evaluate(batch)
    }

    fn export(&self) -> Result<Snapshot, NetworkError> {
        self.calls.note("export");
        self.session.export()
    }

    fn import(&mut self, state: Snapshot) -> Result<(), NetworkError> {
        self.calls.note("import");
        self.session.import(state)
    }

    fn inference(&mut self) -> &mut dyn InferenceSession {
        self
    }

    fn memory(&self, input: [usize; 5]) -> Result<TrainingMemory, NetworkError> {
        self.session.memory(input)
    }
}

#[test]
fn training_validation_and_prediction_ask_the_backend_only() {
    let root = tempfile::tempdir().unwrap();
    let folders = prepare(root.path());
    let cpu = CpuBackend::new(CpuOptions { threads: 2, ..CpuOptions::default() });
    let calls = Calls::default();
    let backend = Arc::new(Counting { cpu, calls: calls.clone() });
    let request = |start| TrainRequest {
        dataset: DatasetName::new(NAME).unwrap(),
        configuration: "3d_fullres".to_owned(),
        fold: Fold::Number(0),
        plans: "nnUNetPlans".to_owned(),
        recipe: Recipe::default_trainer().with_epochs(2).with_iterations(6),
        batch_size: None,
        seed: 0,
        backend: backend.clone(),
        start,
        checkpointing: true,
    };
    let (progress, cancel) = (&Silent, Cancel::new());

    let mut training = Training::prepare(request(Start::New), &folders, progress).unwrap();
    assert_eq!(calls.take(), BTreeMap::from([("training", 1)]));
    training.run(Ctx::new(progress, &cancel)).unwrap();
    let seen = calls.take();
    // Two epochs of 6 steps and 2 evaluations; a checkpoint at the end, and one for each epoch that is the best so far.
    assert_eq!((seen["step"], seen["evaluate"]), (12, 4), "{seen:?}");
    assert!((2..=3).contains(&seen["export"]) && seen.len() == 3, "{seen:?}");
    let summary = training.validate(false, Ctx::new(progress, &cancel)).unwrap();
    let seen = calls.take();
    assert!(seen["run_into of a training"] > 0 && seen.len() == 1, "{seen:?}");
    let model = training.folder().model().to_owned();
    let fold = training.folder().fold().to_owned();
    let checkpoint = training.folder().final_checkpoint();
    drop(training);
    let debug: Value = serde_json::from_slice(&std::fs::read(fold.join("debug.json")).unwrap()).unwrap();
    assert_eq!((&debug["device"], &debug["counts"]), (&json!("counting"), &json!("calls")));

    // The weights come back from the checkpoint, and validate as before.
    let mut again = Training::prepare(request(Start::From(checkpoint.clone())), &folders, progress).unwrap();
    assert_eq!(calls.take(), BTreeMap::from([("import", 1), ("training", 1)]));
    let same = again.validate(false, Ctx::new(progress, &cancel)).unwrap();
    assert_eq!(same.foreground_mean.dice.to_bits(), summary.foreground_mean.dice.to_bits());
    drop(again);
    calls.take();
    // Fine-tuning takes weights out, changes them and puts them back.
    let start = Start::Pretrained(checkpoint);
    drop(Training::prepare(request(start), &folders, progress).unwrap());
    assert_eq!(calls.take(), BTreeMap::from([("export", 1), ("import", 1), ("training", 1)]));

    // A second fold with the same weights: the folds take turns in one session.
    let other = model.join("fold_1");
    std::fs::create_dir(&other).unwrap();
    std::fs::copy(fold.join("checkpoint_final.pth"), other.join("checkpoint_final.pth")).unwrap();
    let model = Model::load(&model, &[], "checkpoint_final.pth", &Parts::default(), &recipes()).unwrap();
    let mut predictor =
        Predictor::new(model.spec, model.weights, &*backend, WindowOptions::default()).unwrap();
    assert_eq!(calls.take(), BTreeMap::from([("inference", 1)]));
    let images = root.path().join("raw").join(NAME).join("imagesTr");
    let cases = prediction_cases(&images, &predictor.spec().dataset).unwrap();
    let request = PredictRequest::new(&images, &root.path().join("predictions"));
    predict_cases(&mut predictor, &cases[..1], &request, Ctx::new(progress, &cancel)).unwrap();
    let seen = calls.take();
    assert!(seen["run_into"] > 0 && seen["exchange_parameters"] > 0 && seen.len() == 2, "{seen:?}");
}
