//! Experiments: what is missing is trained, what is there is kept, what fails is named.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use nnunet::experiment::{Experiment, RunState};
use nnunet::submit::ExperimentTasks;
use nnunet::{
    Ctx, Error, ExperimentJob, ExperimentOutcome, Folders, PlanAndPreprocessJob, Project, Registry,
};
use nnunet_base::progress::{Cancel, Event, Progress};
use nnunet_testkit::phantom::PhantomDataset;
use nnunet_testkit::warnings::Warnings;
use serde_json::Value;

const DATASET: &str = "Dataset007_Balls";

/// A preprocessed phantom dataset with plans `tiny`, whose network trains in milliseconds.
struct Place {
    folder: tempfile::TempDir,
    warnings: Warnings,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap(), warnings: Warnings::default() };
        PhantomDataset::default().write(&place.folder.path().join("raw"), DATASET);
        let project = place.project();
        let mut job = PlanAndPreprocessJob::new([project.dataset(DATASET).unwrap()]);
        job.configurations = vec!["3d_fullres".to_owned()];
        project.plan_and_preprocess(&job, Ctx::new(&place.warnings, &Cancel::new())).unwrap();
        let folder = place.folder.path().join("pre").join(DATASET);
        let mut plans: Value =
            serde_json::from_slice(&fs::read(folder.join("nnUNetPlans.json")).unwrap()).unwrap();
        plans["plans_name"] = "tiny".into();
        nnunet_testkit::plans::shrink(&mut plans["configurations"]["3d_fullres"]);
        fs::write(folder.join("tiny.json"), plans.to_string()).unwrap();
        place
    }

    fn project(&self) -> Project {
        let folder = |name: &str| Some(self.folder.path().join(name));
        Project::new(Folders { raw: folder("raw"), preprocessed: folder("pre"), results: folder("res") })
    }

    fn read(&self, variants: &str) -> Experiment {
        let text = format!(
            "dataset = 7\nplans = \"tiny\"\nfolds = [0, 1]\n[base]\nepochs = 1\niterations_per_epoch = 2\n\
             validation_iterations = 1\n{variants}"
        );
        let path = self.folder.path().join("small.toml");
        fs::write(&path, text).unwrap();
        Experiment::read(&path, &Registry::default()).unwrap()
    }

    fn run(
        &self,
        variants: &str,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<ExperimentOutcome, Error> {
        let job = ExperimentJob { experiment: self.read(variants), only: None };
        self.project().experiment(&job, Ctx::new(progress, cancel))
    }

    fn states(&self, variants: &str) -> Vec<RunState> {
        self.project().experiment_runs(&self.read(variants)).unwrap().iter().map(|run| run.state).collect()
    }

    fn fold(&self, recipe: &str, fold: u32) -> PathBuf {
        self.folder.path().join("res").join(DATASET).join(format!("{recipe}__tiny__3d_fullres/fold_{fold}"))
    }
}

/// Asks to stop as soon as a training begins its second iteration.
struct StopsSoon<'a>(&'a Cancel);

impl Progress for StopsSoon<'_> {
    fn event(&self, event: Event<'_>) {
        if matches!(event, Event::Advanced { .. }) {
            self.0.cancel();
        }
    }
}

const CE: &str = "[variants.only_ce]\nloss = \"ce\"\n";
/// Refused by the training, since the network has another number of outputs.
const WRONG: &str = "[variants.wrong]\ndeep_supervision_weights = [1, 1, 1, 1, 1, 1, 1, 1]\n";

fn modified(path: &Path) -> std::time::SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

#[test]
fn what_is_missing_is_trained_and_compared() {
    let place = Place::new();
    // Interrupted within the first training, which goes on from there.
    let cancel = Cancel::new();
    let error = place.run("", &StopsSoon(&cancel), &cancel).unwrap_err();
    assert!(nnunet_base::progress::Interrupted::caused(&error), "{error}");
    assert_eq!(place.states(""), [RunState::Interrupted, RunState::New]);

    let variants = format!("{WRONG}{CE}");
    let outcome = place.run(&variants, &place.warnings, &Cancel::new()).unwrap();
    assert_eq!((outcome.runs, outcome.failures.len()), (6, 1));
    assert!(outcome.failures[0].error.to_string().contains("deep_supervision_weights"));
    let said = place.warnings.said();
    assert!(said.iter().any(|w| w.starts_with("wrong 3d_fullres fold 0 failed: ")), "{said:?}");
    assert!(said.contains(&"wrong 3d_fullres fold 1: left out, since fold 0 failed".to_owned()), "{said:?}");
    let comparison = outcome.comparison.unwrap();
    let names: Vec<_> = comparison.models.iter().map(|model| model.result.name.trainer.as_str()).collect();
    assert_eq!((names, comparison.baseline), (vec!["small", "only_ce"], 0));
    assert_eq!(comparison.models[1].changes, ["loss was dice_ce, is ce"]);
    assert!(comparison.models[1].result.seconds().is_some());
    let folds: Vec<_> = comparison.models[1].result.folds.iter().map(|fold| fold.fold).collect();
    assert_eq!(folds, [0, 1]);

    // Nothing is done twice; what has lost its validation gets only that.
    assert_eq!(place.states(CE), [RunState::Done; 4]);
    let checkpoint = place.fold("only_ce", 1).join("checkpoint_final.pth");
    let before = modified(&checkpoint);
    fs::remove_file(place.fold("only_ce", 1).join("validation/summary.json")).unwrap();
    assert_eq!(place.states(CE)[3], RunState::Trained);
    place.run(CE, &place.warnings, &Cancel::new()).unwrap();
    assert_eq!((place.states(CE)[3], modified(&checkpoint)), (RunState::Done, before));

    // The same name for another recipe.
    let other = place.read("[variants.only_ce]\nloss = \"focal\"\n");
    let error = place.project().experiment_runs(&other).unwrap_err().to_string();
    assert!(
        error.contains("fold_0: there are results of another training: loss was ce, is focal"),
        "{error}"
    );
}

#[test]
fn the_trainings_of_an_experiment_can_be_jobs() {
    let place = Place::new();
    let (project, experiment) = (place.project(), place.read(CE));
    let only = |name: &str| {
        let job = ExperimentJob { experiment: experiment.clone(), only: Some(name.to_owned()) };
        project.experiment(&job, Ctx::new(&place.warnings, &Cancel::new()))
    };
    let outcome = only("only_ce/3d_fullres/1").unwrap();
    assert!(outcome.runs == 1 && outcome.comparison.is_none());
    let [done, new] = [RunState::Done, RunState::New];
    assert_eq!(place.states(CE), [new, new, new, done]);
    let error = only("only_ce/3d_fullres/2").unwrap_err().to_string();
    let expected = "the experiment has no training only_ce/3d_fullres/2; it has small/3d_fullres/0, ";
    assert!(error.starts_with(expected), "{error}");

    let file = Path::new("/experiments/small.toml");
    let (training, common) =
        (["--precision".to_owned(), "exact".to_owned()], ["--raw".to_owned(), "/raw".to_owned()]);
    let tasks = ExperimentTasks { file, training: &training, common: &common };
    let jobs = project.experiment_jobs(&experiment, tasks).unwrap().jobs;
    let names: Vec<_> =
        jobs.iter().map(|job| (job.name.as_str(), job.needs.as_slice(), job.resumes)).collect();
    assert_eq!(names, [("train_3d_fullres", &[][..], true), ("compare", &[0][..], false)]);
    let lines: Vec<String> =
        jobs.iter().flat_map(|job| &job.tasks).map(|task| task.arguments.join(" ")).collect();
    let training =
        |name: &str| format!("experiment /experiments/small.toml --only {name} --precision exact --raw /raw");
    let expected = [
        training("small/3d_fullres/0"),
        training("only_ce/3d_fullres/0"),
        training("small/3d_fullres/1"),
        "experiment /experiments/small.toml --raw /raw".to_owned(),
    ];
    assert_eq!(lines, expected);
}
