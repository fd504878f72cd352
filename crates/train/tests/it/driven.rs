//! A training that a caller drives: epoch by epoch, with weights, rates, cases and hooks of its own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use nnunet_base::Ctx;
use nnunet_base::progress::{Cancel, Event, Progress, Silent};
use nnunet_exec_cpu::{CpuBackend, CpuOptions};
use nnunet_graph::Parameters;
use nnunet_graph::backend::Snapshot;
use nnunet_infer::model::Recipe;
use nnunet_train::train::batch::Batch;
use nnunet_train::train::{
    FinishedStep, HookError, Members, ParameterGroup, Start, StepAddress, StepHook, TrainError, TrainRequest,
    Training,
};

use crate::common::{NAME, prepare};

fn request(fold: u32, epochs: usize) -> TrainRequest {
    TrainRequest {
        data_parts: nnunet_data::Parts::default(),
        dataset: nnunet_data::dataset::DatasetName::new(NAME).unwrap(),
        configuration: "3d_fullres".to_owned(),
        fold: nnunet_data::dataset::splits::Fold::Number(fold),
        plans: "nnUNetPlans".to_owned(),
        recipe: Recipe::default_trainer().with_epochs(epochs).with_iterations(3),
        batch_size: None,
        seed: 0,
        backend: Arc::new(CpuBackend::new(CpuOptions { threads: 2, ..CpuOptions::default() })),
        start: Start::New,
        checkpointing: true,
        max_ram: None,
    }
}

fn training(root: &tempfile::TempDir, fold: u32, epochs: usize) -> Training {
    Training::prepare(request(fold, epochs), &prepare(root.path()), &Silent).unwrap()
}

/// The mean of two sets of parameters.
fn average(a: &Parameters, b: &Parameters) -> Parameters {
    let mut mean = a.without_gradients();
    for (name, parameter) in mean.iter_mut() {
        let other = b.get(name).unwrap().value();
        parameter.value_mut().iter_mut().zip(other).for_each(|(x, y)| *x = (*x + y) / 2.0);
    }
    mean
}

fn parameters(training: &Training) -> Parameters {
    training.snapshot().unwrap().parameters
}

#[test]
fn two_trainings_exchange_averaged_weights_after_every_epoch() {
    let root = tempfile::tempdir().unwrap();
    let folders = prepare(root.path());
    let mut sites = [0, 1].map(|fold| Training::prepare(request(fold, 2), &folders, &Silent).unwrap());
    let cancel = Cancel::new();
    let ctx = Ctx::new(&Silent, &cancel);
    for epoch in 0..2 {
        for site in &mut sites {
            let report = site.next_epoch(ctx).unwrap();
            assert_eq!(report.epoch, epoch);
            assert!(report.train_loss.is_finite() && report.seconds > 0.0 && report.waiting <= 1.0);
        }
        let [a, b] = [parameters(&sites[0]), parameters(&sites[1])];
        assert_ne!(a, b, "sites learn from different cases");
        let mean = average(&a, &b);
        for site in &mut sites {
            let momentum = site.snapshot().unwrap().optimiser;
            site.restore(Snapshot { parameters: mean.clone(), optimiser: None }).unwrap();
            assert_eq!(parameters(site), mean);
            assert_eq!(site.snapshot().unwrap().optimiser, momentum, "the optimiser goes on as it was");
        }
    }
    let error = sites[0].next_epoch(ctx).unwrap_err();
    assert!(matches!(error, TrainError::Complete { epochs: 2 }), "{error}");
    let final_weights = parameters(&sites[0]);
    for site in &mut sites {
        site.finish(ctx).unwrap();
        assert!(site.folder().final_checkpoint().is_file());
    }
    let path = sites[0].folder().final_checkpoint();
    drop(sites);
    let start = TrainRequest { start: Start::From(path), ..request(0, 2) };
    assert_eq!(parameters(&Training::prepare(start, &folders, &Silent).unwrap()), final_weights);
}

#[test]
fn driving_a_training_is_running_it() {
    let weights = |drive: fn(&mut Training, Ctx<'_>)| {
        let root = tempfile::tempdir().unwrap();
        let mut training = training(&root, 0, 2);
        let cancel = Cancel::new();
        drive(&mut training, Ctx::new(&Silent, &cancel));
        assert!(training.is_complete() && training.folder().final_checkpoint().is_file());
        training.snapshot().unwrap()
    };
    let run = weights(|training, ctx| training.run(ctx).unwrap());
    let driven = weights(|training, ctx| {
        assert!(matches!(training.finish(ctx), Err(TrainError::Incomplete { done: 0, epochs: 2 })));
        training.next_epoch(ctx).unwrap();
        // Exchanging weights for themselves changes nothing.
        let own = training.snapshot().unwrap();
        training.restore(own).unwrap();
        training.next_epoch(ctx).unwrap();
        training.finish(ctx).unwrap();
    });
    assert!(run == driven);
}

#[test]
fn frozen_groups_stay_and_others_learn_at_their_rate() {
    let root = tempfile::tempdir().unwrap();
    let mut training = training(&root, 0, 2);
    let group = |prefixes: &[&str], rate_factor| ParameterGroup {
        members: Members::Prefixes(prefixes.iter().map(|&p| p.to_owned()).collect()),
        rate_factor,
    };
    let error = training.set_parameter_groups(&[group(&["encoder.stage"], 0.5), group(&["encodr"], 0.0)]);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("begins with \"encodr\" (did you mean encoder?)"), "{error}");
    assert!(training.set_parameter_groups(&[group(&["encoder"], -1.0)]).is_err());
    let heads = ParameterGroup {
        members: Members::Chosen(Arc::new(|name: &str| name.contains("seg_layers"))),
        rate_factor: 0.25,
    };
    training.set_parameter_groups(&[group(&["encoder"], 0.0), heads]).unwrap();
    let before = parameters(&training);
    let cancel = Cancel::new();
    training.next_epoch(Ctx::new(&Silent, &cancel)).unwrap();
    let snapshot = training.snapshot().unwrap();
    let state = snapshot.optimiser.unwrap().parameters;
    for (i, ((name, old), (_, new))) in before.iter().zip(snapshot.parameters.iter()).enumerate() {
        let learned = state.get(i).is_some_and(Option::is_some);
        if name.starts_with("encoder") {
            assert!(!learned && old.value() == new.value(), "{name} is frozen");
        } else if name.ends_with("conv.weight") {
            assert!(learned && old.value() != new.value(), "{name} learns");
        }
    }
    assert!(before.get("encoder.stages.0.0.convs.0.conv.weight").is_some());
    assert!(state.iter().flatten().count() > 2, "the decoder learns");
}

/// Notes what it sees and scales every gradient.
struct Scaling {
    factor: f32,
    seen: Arc<Mutex<Vec<(StepAddress, f64, f64)>>>,
    asked: Arc<AtomicUsize>,
}

impl StepHook for Scaling {
    fn before_step(&mut self, _at: StepAddress, batch: &mut Batch) -> Result<(), HookError> {
        assert_eq!(batch.cases.len(), 2);
        assert!(batch.targets.teacher.is_none());
        Ok(())
    }

    fn adjusts_gradients(&self) -> bool {
        self.factor != 1.0
    }

    fn adjust_gradients(&mut self, _at: StepAddress, batch: &Batch, parameters: &mut Parameters) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        assert_eq!(batch.targets.teacher.as_ref().unwrap().shape[..2], [2, 3]);
        for (_, parameter) in parameters.iter_mut() {
            if let Some((_, gradient)) = parameter.value_and_gradient() {
                gradient.iter_mut().for_each(|g| *g *= self.factor);
            }
        }
    }

    fn after_step(&mut self, step: &mut FinishedStep<'_>) -> Result<(), HookError> {
        let mut squares = 0.0;
        step.session.visit_parameters(&mut |parameters| {
            let gradients = parameters.iter().filter_map(|(_, p)| p.gradient()).flatten();
            squares = gradients.map(|&g| f64::from(g) * f64::from(g)).sum();
        })?;
        self.seen.lock().unwrap().push((step.at, step.report.gradient_norm, squares.sqrt()));
        if step.at.epoch == 1 { Err("enough".into()) } else { Ok(()) }
    }
}

#[test]
fn hooks_see_each_step_with_its_teacher_and_may_change_gradients() {
    let root = tempfile::tempdir().unwrap();
    let mut training = training(&root, 0, 2);
    let (seen, asked) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
    let teacher = parameters(&training);
    training.set_teacher(Some(teacher)).unwrap();
    training.set_teacher(Some(Parameters::default())).unwrap_err();
    training.add_hook(Box::new(Scaling {
        factor: 0.001,
        seen: Arc::clone(&seen),
        asked: Arc::clone(&asked),
    }));
    let cancel = Cancel::new();
    let ctx = Ctx::new(&Silent, &cancel);
    training.next_epoch(ctx).unwrap();
    let error = training.next_epoch(ctx).unwrap_err();
    assert_eq!(error.to_string(), "epoch 1, iteration 0: enough");
    let seen = seen.lock().unwrap();
    let steps: Vec<_> = seen.iter().map(|(at, ..)| (at.epoch, at.iteration)).collect();
    assert_eq!(steps, [(0, 0), (0, 1), (0, 2), (1, 0)]);
    assert_eq!(asked.load(Ordering::Relaxed), 4);
    // Scaled down, no gradient is clipped: the norm of the report is that of what is there after the step.
    for (at, reported, found) in seen.iter() {
        assert!((reported / found - 1.0).abs() < 1e-5 && *reported < 1.0, "{at:?}: {reported} {found}");
    }
}

/// Collects the numbers of epochs.
#[derive(Default)]
struct Collected(Mutex<Vec<(u64, f64, Vec<f64>)>>);

impl Progress for Collected {
    fn event(&self, event: Event<'_>) {
        if let Event::EpochFinished { epoch, train_loss, pseudo_dice, .. } = event {
            self.0.lock().unwrap().push((epoch, train_loss, pseudo_dice.to_vec()));
        }
    }
}

#[test]
fn the_event_the_report_and_the_log_say_the_same() {
    let root = tempfile::tempdir().unwrap();
    let mut training = training(&root, 0, 1);
    let (collected, cancel) = (Collected::default(), Cancel::new());
    let report = training.next_epoch(Ctx::new(&collected, &cancel)).unwrap();
    let events = collected.0.into_inner().unwrap();
    assert_eq!(events, [(0, report.train_loss, report.pseudo_dice.clone())]);
    assert_eq!(report.pseudo_dice.len(), 2);
    let fold = training.folder().fold();
    let mut log = std::fs::read_dir(fold).unwrap().map(|entry| entry.unwrap().path());
    let log = log.find(|path| path.extension().is_some_and(|e| e == "txt")).unwrap();
    let text = std::fs::read_to_string(log).unwrap();
    let loss = (report.train_loss * 1e4).round() / 1e4;
    assert!(text.contains(&format!("train_loss {loss}\n")) && text.contains("Pseudo dice ["), "{text}");
    assert!(fold.join("progress.png").is_file());
}
