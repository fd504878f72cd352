//! A training that a caller drives: epoch by epoch, with weights, rates, cases and hooks of its own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use nnunet_augment::Sample;
use nnunet_base::Ctx;
use nnunet_base::parts::{Choice, Options};
use nnunet_base::progress::{Cancel, Event, Progress, Silent};
use nnunet_exec_cpu::{CpuBackend, CpuOptions};
use nnunet_graph::Parameters;
use nnunet_graph::backend::Snapshot;
use nnunet_graph::loss::{LossBuilder, LossFacts, LossSpec, losses};
use nnunet_infer::model::Recipe;
use nnunet_train::batch::Batch;
use nnunet_train::case_source::{CaseLayout, CaseSource, SourceError};
use nnunet_train::sampler::ForegroundLocations;
use nnunet_train::{
    FinishedStep, HookError, Members, ParameterGroup, Parts, Sources, Start, StepAddress, StepHook,
    TrainError, TrainRequest, Training,
};
use nnunet_volume::ChannelVolume;

use crate::common::{NAME, prepare};

fn request(fold: u32, epochs: usize) -> TrainRequest {
    TrainRequest {
        dataset: nnunet_dataset::DatasetName::new(NAME).unwrap(),
        configuration: "3d_fullres".to_owned(),
        fold: nnunet_dataset::splits::Fold::Number(fold),
        plans: "nnUNetPlans".to_owned(),
        recipe: Recipe::default_trainer().with_epochs(epochs).with_iterations(3),
        batch_size: None,
        seed: 0,
        backend: Arc::new(CpuBackend::new(CpuOptions { threads: 2, ..CpuOptions::default() })),
        start: Start::New,
        checkpointing: true,
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

#[test]
fn fine_tuning_learns_the_heads_first_and_then_each_stage_at_its_rate() {
    let root = tempfile::tempdir().unwrap();
    let folders = prepare(root.path());
    let mut first = Training::prepare(request(0, 1), &folders, &Silent).unwrap();
    let cancel = Cancel::new();
    let ctx = Ctx::new(&Silent, &cancel);
    first.run(ctx).unwrap();
    let (trained, file) = (parameters(&first), first.folder().final_checkpoint());
    drop(first);

    let mut tuned = TrainRequest { start: Start::Pretrained(file), seed: 1, ..request(0, 2) };
    // Without momentum and decay, a step is the gradient times the rate.
    tuned.recipe.optimiser = Choice::new("sgd").with("momentum", 0.0).with("weight_decay", 0.0);
    tuned.recipe = tuned.recipe.with_iterations(1);
    tuned.recipe.save_every = 1;
    tuned.recipe.fine_tuning.head_epochs = 1;
    tuned.recipe.fine_tuning.rate_decay = 0.5;
    tuned.recipe.fine_tuning.frozen = vec!["encoder.stages.0".to_owned()];
    let resumed = TrainRequest { start: Start::Resume, ..tuned.clone() };
    let mut training = Training::prepare(tuned, &folders, &Silent).unwrap();
    let is_head = |name: &str| name.contains(".seg_layers.");
    let begun = parameters(&training);
    for ((name, trained), (_, begun)) in trained.iter().zip(begun.iter()) {
        assert_eq!(trained.value() == begun.value(), !is_head(name), "{name}");
    }
    training.next_epoch(ctx).unwrap();
    let heads = parameters(&training);
    for ((name, before), (_, after)) in begun.iter().zip(heads.iter()) {
        assert_eq!(before.value() != after.value(), is_head(name), "{name}");
    }
    drop(training);

    // Killed after the first epoch and resumed. The change of each weight is its rate times the gradient.
    let mut training = Training::prepare(resumed, &folders, &Silent).unwrap();
    assert_eq!(training.completed_epochs(), 1);
    let gradients = Arc::new(Mutex::new(None));
    training.add_hook(Box::new(Gradients(Arc::clone(&gradients))));
    let report = training.next_epoch(ctx).unwrap();
    let (after, gradients) = (parameters(&training), gradients.lock().unwrap().take().unwrap());
    for (part, factor) in [
        ("decoder.seg_layers.0.weight", 1.0),
        ("decoder.stages.0.convs.0.conv.weight", 0.5),
        ("decoder.transpconvs.0.weight", 0.5),
        ("encoder.stages.1.0.convs.0.conv.weight", 0.25),
        ("encoder.stages.0.0.convs.0.conv.weight", 0.0),
    ] {
        let (old, new) = (heads.get(part).unwrap().value(), after.get(part).unwrap().value());
        let Some(gradient) = gradients.get(part).unwrap().gradient() else {
            assert!(factor == 0.0 && old == new, "{part} is frozen");
            continue;
        };
        let rate = (report.learning_rate * factor) as f32;
        for ((old, new), gradient) in old.iter().zip(new).zip(gradient) {
            assert!((old - new - rate * gradient).abs() < 1e-6, "{part}: {old} {new} {gradient}");
        }
        assert!(old != new, "{part} learns");
    }
}

/// Collects the weights after each step.
struct Weights(Arc<Mutex<Vec<Parameters>>>);

impl StepHook for Weights {
    fn after_step(&mut self, step: &mut FinishedStep<'_>) -> Result<(), HookError> {
        let collected = &self.0;
        step.session.visit_parameters(&mut |parameters| {
            collected.lock().unwrap().push(parameters.without_gradients());
        })?;
        Ok(())
    }
}

#[test]
fn the_average_of_the_weights_is_saved_to_predict_with_and_resumed_exactly() {
    let root = tempfile::tempdir().unwrap();
    let folders = prepare(root.path());
    let averaged = |start| {
        let mut request = TrainRequest { start, ..request(0, 3) };
        (request.recipe.ema, request.recipe.save_minutes) = (Some(0.75), 1e-9);
        request
    };
    let cancel = Cancel::new();
    let ctx = Ctx::new(&Silent, &cancel);
    let mut training = Training::prepare(averaged(Start::New), &folders, &Silent).unwrap();
    let collected = Arc::new(Mutex::new(Vec::new()));
    training.add_hook(Box::new(Weights(Arc::clone(&collected))));
    let begun = parameters(&training);
    training.next_epoch(ctx).unwrap();
    let latest = training.folder().latest_checkpoint();
    let half_way = std::fs::read(&latest).unwrap();
    training.run(ctx).unwrap();
    let file = training.folder().final_checkpoint();
    let trained = parameters(&training);
    let saved = nnunet_checkpoint::Checkpoint::read(&file).unwrap();
    let own = saved.trained_weights.clone().unwrap().into_parameters(training.graph()).unwrap();
    assert!(own == trained, "the optimiser's weights are kept too");
    let average = saved.weights.into_parameters(training.graph()).unwrap();
    let collected = collected.lock().unwrap();
    assert_eq!(collected.len(), 9);
    for (name, average) in average.iter() {
        let mut expected: Vec<f64> =
            begun.get(name).unwrap().value().iter().map(|&weight| weight.into()).collect();
        for step in collected.iter() {
            let weights = step.get(name).unwrap().value();
            expected.iter_mut().zip(weights).for_each(|(a, &w)| *a = 0.75 * *a + 0.25 * f64::from(w));
        }
        for (found, expected) in average.value().iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-6, "{name}: {found} {expected}");
        }
    }
    assert!(
        average.get("encoder.stages.0.0.convs.0.conv.weight")
            != trained.get("encoder.stages.0.0.convs.0.conv.weight")
    );
    drop(training);

    // Where the average is saved in the middle, both go on as they were; what was the final state is not there.
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&latest, half_way).unwrap();
    let mut resumed = Training::prepare(averaged(Start::Resume), &folders, &Silent).unwrap();
    assert_eq!(resumed.completed_epochs(), 1);
    resumed.run(ctx).unwrap();
    let again = nnunet_checkpoint::Checkpoint::read(&file).unwrap();
    assert!(again.weights.into_parameters(resumed.graph()).unwrap() == average);
    assert!(again.trained_weights.unwrap().into_parameters(resumed.graph()).unwrap() == trained);
    // The validation leaves the trained weights where they were.
    resumed.validate(false, ctx).unwrap();
    assert!(parameters(&resumed) == trained);
}

/// Keeps the parameters with their gradients after a step.
struct Gradients(Arc<Mutex<Option<Parameters>>>);

impl StepHook for Gradients {
    fn after_step(&mut self, step: &mut FinishedStep<'_>) -> Result<(), HookError> {
        step.session
            .visit_parameters(&mut |parameters| *self.0.lock().unwrap() = Some(parameters.clone()))?;
        Ok(())
    }
}

/// Collects messages and warnings.
#[derive(Default)]
struct Said(Mutex<Vec<String>>);

impl Progress for Said {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Message(text) => self.0.lock().unwrap().push(text.to_owned()),
            Event::Warning(text) => self.0.lock().unwrap().push(format!("warning: {text}")),
            _ => {}
        }
    }
}

#[test]
fn weights_of_another_network_are_listed_tensor_by_tensor_and_contradictions_refused() {
    let root = tempfile::tempdir().unwrap();
    let folders = prepare(root.path());
    let mut first = Training::prepare(request(0, 1), &folders, &Silent).unwrap();
    let cancel = Cancel::new();
    first.run(Ctx::new(&Silent, &cancel)).unwrap();
    let file = first.folder().final_checkpoint();
    drop(first);
    let pretrained = || TrainRequest { start: Start::Pretrained(file.clone()), ..request(0, 2) };
    let prepare = |request: TrainRequest| {
        let said = Said::default();
        let training = Training::prepare(request, &folders, &said).map(drop);
        (training.map_err(|error| error.to_string()), said.0.into_inner().unwrap().join("\n"))
    };

    let (_, said) = prepare(pretrained());
    assert!(said.contains("tensors of the network; the segmentation heads start anew, as always"), "{said}");
    assert!(!said.contains("warning"), "{said}");
    let mut wider = pretrained();
    wider.recipe.network.arguments.insert("features_per_stage".to_owned(), serde_json::json!([8, 24]));
    let (outcome, said) = prepare(wider);
    assert!(outcome.is_ok());
    let misfit = "encoder.stages.1.0.convs.0.conv.weight: [16, 8, 3, 3, 3] in the checkpoint, [24, 8, 3, 3, 3] in the \
                  network";
    assert!(said.contains("these do not fit and start anew: ") && said.contains(misfit), "{said}");
    assert_eq!(said.matches("warning").count(), 1, "{said}");
    let mut none = pretrained();
    none.recipe.network.arguments.insert("features_per_stage".to_owned(), serde_json::json!([9, 24]));
    let error = prepare(none).0.unwrap_err();
    let misfit = "[16, 8, 3, 3, 3] in the checkpoint, [24, 9, 3, 3, 3] in the network";
    assert!(error.contains("nothing in it fits") && error.contains(misfit), "{error}");

    // A checkpoint of another network is not resumed from either.
    let mut resumed = TrainRequest { start: Start::Resume, ..request(0, 1) };
    resumed.recipe.network.arguments.insert("features_per_stage".to_owned(), serde_json::json!([8, 24]));
    let error = prepare(resumed).0.unwrap_err();
    assert!(error.contains("network was not set, is"), "{error}");

    for (frozen, head_epochs, words) in [
        ("encodr", 0, "frozen part \"encodr\" (did you mean encoder?)"),
        ("heads", 1, "nothing would learn"),
        ("*", 0, "nothing would learn"),
    ] {
        let mut request = pretrained();
        request.recipe.fine_tuning.frozen = vec![frozen.to_owned()];
        request.recipe.fine_tuning.head_epochs = head_epochs;
        let error = prepare(request).0.unwrap_err();
        assert!(error.contains(words), "{error}");
    }
    let mut alone = request(0, 2);
    alone.recipe.fine_tuning.head_epochs = 1;
    let (outcome, said) = prepare(alone);
    assert!(outcome.is_ok() && said.contains("but the training starts from random weights"), "{said}");
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
struct Collected(Mutex<Vec<(usize, f64, Vec<f64>)>>);

impl Progress for Collected {
    fn event(&self, event: Event<'_>) {
        if let Event::EpochFinished(report) = event {
            self.0.lock().unwrap().push((report.epoch, report.train_loss, report.pseudo_dice.clone()));
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

/// A case that is made up, of which nothing or everything was annotated.
struct MadeUp {
    annotated: bool,
}

impl CaseSource for MadeUp {
    fn identifier(&self) -> &str {
        "made up"
    }

    fn layout(&self) -> Result<CaseLayout, SourceError> {
        Ok(CaseLayout { shape: [20; 3], image_channels: 1, segmentation_channels: 1 })
    }

    fn foreground_locations(&self) -> Result<Arc<ForegroundLocations>, SourceError> {
        Ok(Arc::new(ForegroundLocations { classes: vec![vec![[5, 6, 7]]], annotated: None }))
    }

    fn annotated_classes(&self) -> Option<Vec<bool>> {
        (!self.annotated).then(|| vec![false; 3])
    }

    fn read_box(&self, _start: [usize; 3], size: [usize; 3]) -> Result<Sample, SourceError> {
        let voxels: usize = size.iter().product();
        let image = (0..voxels).map(|i| (i % 13) as f32 / 6.0 - 1.0).collect();
        let labels = (0..voxels).map(|i| (i / 5 % 3) as i16).collect();
        Ok(Sample {
            image: ChannelVolume::new(1, size, image).unwrap(),
            segmentation: ChannelVolume::new(1, size, labels).unwrap(),
        })
    }
}

/// Notes the cases of each step.
struct Cases(Arc<Mutex<Vec<String>>>);

impl StepHook for Cases {
    fn after_step(&mut self, step: &mut FinishedStep<'_>) -> Result<(), HookError> {
        self.0.lock().unwrap().extend(step.batch.cases.iter().cloned());
        Ok(())
    }
}

#[test]
fn cases_are_exchanged_between_epochs_and_those_without_annotations_teach_nothing() {
    let root = tempfile::tempdir().unwrap();
    let mut training = training(&root, 0, 3);
    let seen = Arc::new(Mutex::new(Vec::new()));
    training.add_hook(Box::new(Cases(Arc::clone(&seen))));
    let cancel = Cancel::new();
    let ctx = Ctx::new(&Silent, &cancel);
    let epoch = |training: &mut Training| {
        let report = training.next_epoch(ctx).unwrap();
        (report, std::mem::take(&mut *seen.lock().unwrap()))
    };
    let (_, cases) = epoch(&mut training);
    assert!(cases.len() == 6 && cases.iter().all(|case| case.starts_with("ball")), "{cases:?}");
    for (annotated, learns) in [(true, true), (false, false)] {
        let source: Arc<dyn CaseSource> = Arc::new(MadeUp { annotated });
        training.set_sources(Sources { training: vec![Arc::clone(&source)], validation: vec![source] });
        let (report, cases) = epoch(&mut training);
        assert!(cases.len() == 6 && cases.iter().all(|case| case == "made up"), "{cases:?}");
        assert_eq!(report.train_loss != 0.0, learns, "{report:?}");
    }
}

#[test]
fn a_resumed_training_is_the_undisturbed_one_with_every_optimiser() {
    for trainer in ["nnUNetTrainer", "nnUNetTrainerAdam", "nnUNetTrainerVanillaAdam", "nnUNetTrainerAdan"] {
        let root = tempfile::tempdir().unwrap();
        let folders = prepare(root.path());
        let request = |start| {
            let recipe = Recipe::by_name(trainer).unwrap().with_epochs(3).with_iterations(2);
            TrainRequest { recipe: Recipe { save_every: 1, ..recipe }, start, ..request(0, 3) }
        };
        let cancel = Cancel::new();
        let ctx = Ctx::new(&Silent, &cancel);
        let mut undisturbed = Training::prepare(request(Start::New), &folders, &Silent).unwrap();
        undisturbed.run(ctx).unwrap();
        let expected = undisturbed.snapshot().unwrap();
        drop(undisturbed);
        let mut killed = Training::prepare(request(Start::New), &folders, &Silent).unwrap();
        killed.next_epoch(ctx).unwrap();
        killed.next_epoch(ctx).unwrap();
        drop(killed);
        let mut resumed = Training::prepare(request(Start::Resume), &folders, &Silent).unwrap();
        assert_eq!(resumed.completed_epochs(), 2, "{trainer}");
        resumed.run(ctx).unwrap();
        assert!(resumed.snapshot().unwrap() == expected, "{trainer}");
    }
}

#[test]
fn a_state_saved_within_an_epoch_ends_like_the_undisturbed_training() {
    /// Takes a copy of the latest checkpoint before each step.
    struct Copies {
        latest: std::path::PathBuf,
        taken: Arc<Mutex<Vec<Vec<u8>>>>,
    }
    impl StepHook for Copies {
        fn before_step(&mut self, _at: StepAddress, _batch: &mut Batch) -> Result<(), HookError> {
            self.taken.lock().unwrap().extend(std::fs::read(&self.latest).ok());
            Ok(())
        }
    }
    let root = tempfile::tempdir().unwrap();
    let folders = prepare(root.path());
    let request = |start| {
        let mut request = TrainRequest { start, ..request(0, 2) };
        (request.recipe.save_minutes, request.recipe.validation_iterations) = (1e-9, 3);
        request
    };
    let cancel = Cancel::new();
    let ctx = Ctx::new(&Silent, &cancel);
    let mut undisturbed = Training::prepare(request(Start::New), &folders, &Silent).unwrap();
    let (latest, taken) = (undisturbed.folder().latest_checkpoint(), Arc::new(Mutex::new(Vec::new())));
    undisturbed.add_hook(Box::new(Copies { latest: latest.clone(), taken: Arc::clone(&taken) }));
    undisturbed.next_epoch(ctx).unwrap();
    let (report, expected) = (undisturbed.next_epoch(ctx).unwrap(), undisturbed.snapshot().unwrap());
    drop(undisturbed);
    let taken = taken.lock().unwrap();
    assert_eq!(taken.len(), 5, "before every step but the first");
    for (state, epoch) in taken.iter().zip([0, 0, 1, 1, 1]) {
        std::fs::write(&latest, state).unwrap();
        let mut resumed = Training::prepare(request(Start::Resume), &folders, &Silent).unwrap();
        assert_eq!(resumed.completed_epochs(), epoch);
        let mut last = resumed.next_epoch(ctx).unwrap();
        if epoch == 0 {
            last = resumed.next_epoch(ctx).unwrap();
        }
        assert_eq!(
            (last.train_loss, last.validation_loss, &last.pseudo_dice, last.is_best),
            (report.train_loss, report.validation_loss, &report.pseudo_dice, report.is_best)
        );
        assert!(resumed.snapshot().unwrap() == expected);
    }
}

#[test]
fn a_latest_checkpoint_knows_of_the_best_one() {
    let root = tempfile::tempdir().unwrap();
    let folders = prepare(root.path());
    let mut request = request(0, 3);
    request.recipe.save_every = 1;
    let mut training = Training::prepare(request, &folders, &Silent).unwrap();
    let cancel = Cancel::new();
    let report = training.next_epoch(Ctx::new(&Silent, &cancel)).unwrap();
    assert!(report.is_best);
    let read = |path: &std::path::Path| nnunet_checkpoint::Checkpoint::read(path).unwrap().best_ema.unwrap();
    let folder = training.folder();
    for path in [folder.latest_checkpoint(), folder.best_checkpoint()] {
        assert_eq!(read(&path), report.moving_average, "{}", path.display());
    }
}

#[test]
fn a_record_that_cannot_be_written_ends_the_training_and_names_its_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    let mut training = training(&root, 0, 2);
    let fold = training.folder().fold().to_owned();
    std::fs::create_dir(fold.join("progress.png")).unwrap();
    let cancel = Cancel::new();
    let error = training.next_epoch(Ctx::new(&Silent, &cancel)).unwrap_err().to_string();
    let kept = format!("unharmed in {}", fold.join("checkpoint_best.pth").display());
    assert!(error.contains("progress.png") && error.contains(&kept), "{error}");
}

/// A case with one value everywhere in its image, or that and its negative in turn.
struct Extreme(f32);

impl CaseSource for Extreme {
    fn identifier(&self) -> &str {
        "extreme"
    }

    fn layout(&self) -> Result<CaseLayout, SourceError> {
        MadeUp { annotated: true }.layout()
    }

    fn foreground_locations(&self) -> Result<Arc<ForegroundLocations>, SourceError> {
        MadeUp { annotated: true }.foreground_locations()
    }

    fn read_box(&self, start: [usize; 3], size: [usize; 3]) -> Result<Sample, SourceError> {
        let image =
            (0..size.iter().product()).map(|i: usize| if i.is_multiple_of(2) { self.0 } else { -self.0 });
        let image = ChannelVolume::new(1, size, image.collect()).unwrap();
        Ok(Sample { image, ..MadeUp { annotated: true }.read_box(start, size)? })
    }
}

#[test]
fn a_step_without_a_finite_result_names_case_patch_and_term() {
    for (value, reason) in [
        (f32::INFINITY, "the image has values that are not finite"),
        (f32::MAX, "loss is NaN for the cross-entropy term alone"),
    ] {
        let root = tempfile::tempdir().unwrap();
        let mut request = request(0, 1);
        request.recipe.augmentation = Choice::new("none");
        let mut training = Training::prepare(request, &prepare(root.path()), &Silent).unwrap();
        let source = |value| Arc::new(Extreme(value)) as Arc<dyn CaseSource>;
        training.set_sources(Sources { training: vec![source(value)], validation: vec![source(1.0)] });
        let cancel = Cancel::new();
        let error = training.next_epoch(Ctx::new(&Silent, &cancel)).unwrap_err().to_string();
        let patch = "case extreme, patch from voxel (";
        assert!(error.starts_with("epoch 0, iteration 0: the loss became NaN: "), "{error}");
        assert!(error.contains(patch) && error.contains(reason), "{error}");
    }
}

#[test]
fn parts_of_ones_own_are_named_by_a_recipe() {
    let train = |kind: &str| {
        let root = tempfile::tempdir().unwrap();
        let mut parts = Parts::default();
        let build: LossBuilder = Arc::new(|options: &mut Options<'_>, facts: &LossFacts| {
            let factor = options.number("factor", 1.0)?;
            let LossSpec::DeepSupervision { mut loss, weights } =
                losses().get("ce").unwrap()(options, facts)?
            else {
                panic!("a loss as data");
            };
            loss.terms.iter_mut().for_each(|term| term.weight *= factor);
            Ok(LossSpec::DeepSupervision { loss, weights })
        });
        parts.losses.register("scaled_ce", "cross-entropy times a factor", build).unwrap();
        let mut request = request(0, 1);
        request.recipe.loss = Choice::new(kind);
        if kind == "scaled_ce" {
            request.recipe.loss = request.recipe.loss.with("factor", 2.0);
        }
        let folders = prepare(root.path());
        let mut training =
            Training::prepare_with(request, &parts, &nnunet_data::Parts::default(), &folders, &Silent)
                .unwrap();
        let (cancel, first) = (Cancel::new(), Arc::new(Mutex::new(None)));
        training.add_hook(Box::new(FirstLoss(Arc::clone(&first))));
        training.next_epoch(Ctx::new(&Silent, &cancel)).unwrap();
        first.lock().unwrap().unwrap()
    };
    let (own, built_in) = (train("scaled_ce"), train("ce"));
    assert!((own / built_in - 2.0).abs() < 1e-6, "{own} {built_in}");
    let root = tempfile::tempdir().unwrap();
    let mut unknown = request(0, 1);
    unknown.recipe.loss = Choice::new("scaled_ce");
    let error = Training::prepare(unknown, &prepare(root.path()), &Silent).err().unwrap().to_string();
    assert!(error.starts_with("recipe: loss \"scaled_ce\" is not known"), "{error}");
}

/// Notes the loss of the first step.
struct FirstLoss(Arc<Mutex<Option<f64>>>);

impl StepHook for FirstLoss {
    fn after_step(&mut self, step: &mut FinishedStep<'_>) -> Result<(), HookError> {
        self.0.lock().unwrap().get_or_insert(step.report.loss);
        Ok(())
    }
}
