//! `demo`: the whole main job on a small synthetic dataset.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use nnunet::dataset::splits::Fold;
use nnunet::recipe::Recipe;
use nnunet::train::{Start, TrainRequest};
use nnunet::{
    DatasetName, EvaluateJob, EvaluationReport, Folders, PlanAndPreprocessJob, PredictJob, ReportJob,
    TrainJob,
};

use super::evaluate::print_table;
use super::network_flags::{NETWORK_FLAGS, backend};
use super::{Entry, verify};
use crate::demo::{CaseCounts, DATASET, write_dataset};
use crate::flags::{Command, Flag, Group, Matches};
use crate::progress::PROGRESS_FLAGS;
use crate::session::{Session, THREAD_FLAGS};

/// A trained network reaches this on the test cases with room to spare.
const EXPECTED_DICE: f64 = 0.8;
const CONFIGURATION: &str = "3d_fullres";
/// Marks a folder as a demonstration's, which a later one may replace.
const MARKER: &str = "nnunet-demo.txt";

const FLAGS: &[Flag] = &[
    Flag::one(
        &["--out"],
        "DIR",
        "folder for everything (default: nnunet-demo); an earlier demo there is replaced",
    )
    .within(Group::Output),
    Flag::switch(&["--short"], "run every stage on a tiny schedule: half a minute, no useful result")
        .within(Group::Speed),
];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "demo",
        reference_names: &[],
        summary: "run the whole method on a small synthetic dataset: a few minutes",
        description: "Runs the whole method on synthetic volumes that it generates: verify, fingerprint, plan, \
                      preprocess, a short training, prediction of test cases, their evaluation and a report of it. \
                      Fails if the segmentations are worse than they should be.",
        after_interruption: Command::START_AGAIN,
        positionals: &[],
        flags: &[FLAGS, NETWORK_FLAGS, THREAD_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let short = matches.has("--short");
    let out = matches.path("--out").unwrap_or_else(|| PathBuf::from("nnunet-demo"));
    prepare_folder(&out)?;
    let folders = Folders {
        raw: Some(out.join("raw")),
        preprocessed: Some(out.join("preprocessed")),
        results: Some(out.join("results")),
    };
    let backend = backend(matches, session, false)?;
    let session = &session.with_project(session.project.in_folders(folders).with_backend(backend));
    let counts =
        if short { CaseCounts { training: 5, test: 1 } } else { CaseCounts { training: 20, test: 5 } };
    let raw = out.join("raw").join(DATASET);
    write_dataset(&raw, counts)?;
    session.message(&format!(
        "{}: {} training and {} test cases",
        raw.display(),
        counts.training,
        counts.test
    ));

    let dataset = DatasetName::new(DATASET)?;
    verify::check(&dataset, session)?;
    let ctx = session.ctx();
    let mut job = PlanAndPreprocessJob::new([dataset.clone()]);
    (job.anew, job.configurations) = (true, vec![CONFIGURATION.to_owned()]);
    session.project.plan_and_preprocess(&job, ctx)?;
    let model = session.project.train(training(dataset, short, session), ctx)?.folder.model().to_owned();
    let predictions = out.join("predictions");
    session.project.predict(PredictJob::new(&model, raw.join("imagesTs"), &predictions), ctx)?;
    let job = EvaluateJob::new(raw.join("labelsTs"), &predictions);
    let summary = session.project.evaluate(&job, ctx)?.summary;
    print_table(&summary, session);
    session.result(&format!("model:       {}", model.display()));
    session.result(&format!("predictions: {} (with summary.json)", predictions.display()));
    let page = session.project.report(&report(&predictions, &raw), ctx)?;
    session.result(&format!("report:      {} (open it in a browser)", page.path.display()));
    check_files(&out, &model, counts)?;
    let dice = summary.foreground_mean.dice;
    if !short && (dice.is_nan() || dice < EXPECTED_DICE) {
        bail!(
            "the mean Dice is {dice:.3}, expected at least {EXPECTED_DICE}: this build or machine computes wrongly"
        );
    }
    if !short {
        session.result("next: put your data into raw/Dataset001_Name and run");
        session.result("  nnunet plan-and-preprocess -d 1 --raw raw --preprocessed preprocessed");
        session.result("  nnunet train 1 3d_fullres 0 --preprocessed preprocessed --results results");
    }
    Ok(())
}

/// Every stage has left what the next one, or Python, looks for.
fn check_files(out: &Path, model: &Path, counts: CaseCounts) -> anyhow::Result<()> {
    let preprocessed = out.join("preprocessed").join(DATASET);
    let fold = model.join("fold_0");
    let mut expected: Vec<PathBuf> = ["dataset_fingerprint.json", "nnUNetPlans.json", "splits_final.json"]
        .iter()
        .map(|name| preprocessed.join(name))
        .collect();
    for case in 0..counts.training {
        let stem = format!("demo_{case:03}");
        let stored = preprocessed.join("nnUNetPlans_3d_fullres");
        expected.extend([".b2nd", "_seg.b2nd", ".pkl"].map(|ending| stored.join(format!("{stem}{ending}"))));
        expected.push(preprocessed.join("gt_segmentations").join(format!("{stem}.nii.gz")));
    }
    let in_fold = ["checkpoint_final.pth", "checkpoint_best.pth", "progress.png", "debug.json"];
    expected.extend(in_fold.map(|name| fold.join(name)));
    expected.push(fold.join("validation/summary.json"));
    for case in counts.training..counts.training + counts.test {
        expected.push(out.join("predictions").join(format!("demo_{case:03}.nii.gz")));
    }
    expected.extend(["summary.json", "report.html"].map(|name| out.join("predictions").join(name)));
    match expected.iter().find(|path| !path.is_file()) {
        Some(missing) => bail!("{}: was not written, though every stage succeeded", missing.display()),
        None => Ok(()),
    }
}

/// Makes `out`, or empties it if it is an earlier demonstration's.
fn prepare_folder(out: &Path) -> anyhow::Result<()> {
    let occupied = std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some());
    if occupied && !out.join(MARKER).is_file() {
        bail!("{}: is not empty and not an earlier demo; choose another folder with --out", out.display());
    }
    for part in ["raw", "preprocessed", "results", "predictions"] {
        let path = out.join(part);
        if path.exists() {
            std::fs::remove_dir_all(&path)
                .with_context(|| format!("{}: cannot be removed", path.display()))?;
        }
    }
    std::fs::create_dir_all(out).with_context(|| format!("{}: cannot be made", out.display()))?;
    let marker = out.join(MARKER);
    std::fs::write(&marker, "Made by nnunet demo, which replaces the contents of this folder.\n")
        .with_context(|| format!("{}: cannot be written", marker.display()))
}

/// A page that shows the evaluated predictions over their images.
fn report(predictions: &Path, raw: &Path) -> ReportJob {
    ReportJob::new(EvaluationReport {
        summary: predictions.join("summary.json"),
        references: None,
        predictions: None,
        images: Some(raw.join("imagesTs")),
        viewer: false,
        dataset_json: None,
    })
}

/// A short training of fold 0.
fn training(dataset: DatasetName, short: bool, session: &Session) -> TrainJob {
    let (epochs, iterations) = if short { (1, 4) } else { (6, 40) };
    TrainJob::new(TrainRequest {
        dataset,
        configuration: CONFIGURATION.to_owned(),
        fold: Fold::Number(0),
        plans: "nnUNetPlans".to_owned(),
        recipe: Recipe::default_trainer().with_epochs(epochs).with_iterations(iterations),
        batch_size: Some(2),
        seed: 0,
        backend: session.project.backend().clone(),
        start: Start::New,
        checkpointing: true,
    })
}
