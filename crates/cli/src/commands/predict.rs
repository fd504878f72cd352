//! `predict`: segment new cases with a trained model.

use std::path::PathBuf;

use anyhow::bail;
use nnunet::dataset::splits::Fold;
use nnunet::model::ModelName;
use nnunet::predict::{PredictRequest, WindowOptions};
use nnunet::{MissingChannels, ModelChoice, PredictJob, PredictionStage};

use super::Entry;
use super::network_flags::{NETWORK_FLAGS, backend};
use crate::environment::{FOLDER_FLAGS, number_in};
use crate::flags::{Command, Flag, Group, Matches};
use crate::messages::UsageError;
use crate::progress::PROGRESS_FLAGS;
use crate::session::{Session, THREAD_FLAGS};

const MODEL_FLAGS: &[Flag] = &[
    Flag::one(&["-m"], "FOLDER", "folder of the model, instead of -d, -p, -tr and -c")
        .within(Group::Input)
        .required("(-m FOLDER | -d DATASET -c CONFIGURATION)"),
    Flag::one(&["-d"], "DATASET", "dataset that the model was trained on, by id or name")
        .within(Group::Input),
    Flag::one(&["-p"], "PLANS", "name of its plans (default: nnUNetPlans)").within(Group::Input),
    Flag::one(&["-tr"], "TRAINER", "name of its trainer (default: nnUNetTrainer)").within(Group::Input),
    Flag::one(&["-c"], "CONFIGURATION", "its configuration, e.g. 3d_fullres").within(Group::Input),
    Flag::many(&["-f"], "FOLD", "folds to average over: numbers or all (default: those that are there)")
        .within(Group::Input),
    Flag::one(&["-chk"], "NAME", "name of the checkpoint (default: checkpoint_final.pth)")
        .within(Group::Input),
];

const FLAGS: &[Flag] = &[
    Flag::many(
        &["-i"],
        "INPUT",
        "folder of images named CASE_0000.ending; or one file of a case, next to its other channels; or the \
         files of all channels of one case, in order",
    )
    .within(Group::Input)
    .required("-i INPUT ..."),
    Flag::one(&["-o"], "FOLDER", "folder for the predictions, created if it does not exist")
        .within(Group::Output)
        .required("-o FOLDER"),
    Flag::one(
        &["-prev_stage_predictions"],
        "FOLDER",
        "for a cascade: segmentations of the previous stage; without this, a model of that stage found next \
         to this one runs first",
    )
    .within(Group::Input),
    Flag::one(
        &["--missing"],
        "CHANNELS",
        "do without these channels, whether they have files or not: names or numbers, separated by commas \
         (default: those of optional_channels in dataset.json that have no file)",
    )
    .within(Group::Input),
    Flag::switch(
        &["--missing-patterns"],
        "do without every set of channels in turn, each into a folder of its own in -o; 2^C - 1 predictions for \
         C channels, for `nnunet evaluate --missing-patterns`",
    )
    .within(Group::Input),
    Flag::one(
        &["-step_size"],
        "FRACTION",
        "distance between neighbouring tiles as a fraction of the tile (default: 0.5); larger is faster and \
         less accurate",
    ),
    Flag::switch(
        &["--disable_tta"],
        "do not average over mirrored inputs: up to 8 times faster, slightly less accurate",
    ),
    Flag::switch(&["--save_probabilities"], "also write probabilities (.npz) and properties (.pkl)")
        .within(Group::Output),
    Flag::switch(
        &["--qc"],
        "also write qc.tsv, the cases to look at first: how far folds and mirrored passes disagree, the Dice to \
         expect, and volumes that are odd beside the training set's",
    )
    .within(Group::Output),
    Flag::switch(&["--continue_prediction", "--c"], "keep predictions that are complete and make the others")
        .within(Group::Output),
    Flag::one(&["-npp"], "N", "cases read and preprocessed at once (default: 1)").within(Group::Speed),
    Flag::one(&["-nps"], "N", "cases exported at once (default: 1)").within(Group::Speed),
    Flag::one(
        &["--max-ram"],
        "GB",
        "main memory that may be used, in 10^9 bytes: cases run one after the other if they do not fit \
         together; exits before starting if any case exceeds the limit (default: what is available; a \
         single case may take all that this process can have)",
    )
    .within(Group::Speed),
    Flag::one(&["-num_parts"], "N", "divide the cases into N parts, for several machines (default: 1)")
        .within(Group::Speed),
    Flag::one(&["-part_id"], "N", "which part this is, from 0 (default: 0)").within(Group::Speed),
    Flag::switch(&["--not_on_device"], "keep results in main memory, where they always are on the CPU")
        .within(Group::Speed),
    Flag::switch(&["--disable_progress_bar"], "no progress; same as --progress none").within(Group::General),
    Flag::switch(&["--verbose"], "say how images are tiled and how much memory a pass of the network takes")
        .within(Group::General),
    Flag::switch(&["--strict"], "fail if there are no cases, instead of warning").within(Group::General),
];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "predict",
        reference_names: &["nnUNetv2_predict", "nnUNetv2_predict_from_modelfolder"],
        summary: "segment images with a trained model",
        description: "Segments every case of a folder with a trained model and writes the segmentations on the grids of \
                      the images. Name the model by dataset, configuration, plans and trainer, or by its folder (-m).",
        after_interruption: "rerun the command with --continue_prediction to make the others",
        positionals: &[],
        flags: &[FLAGS, MODEL_FLAGS, NETWORK_FLAGS, THREAD_FLAGS, FOLDER_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let job = PredictJob {
        files: files(matches)?,
        window: window_options(matches)?,
        missing: missing_channels(matches)?,
        quality: matches.has("--qc"),
        folds: folds(matches)?,
        checkpoint: matches.text("-chk").unwrap_or("checkpoint_final.pth").to_owned(),
        model: model(matches, session)?,
    };
    let project = session.project.clone().with_backend(backend(matches, session, false)?);
    let prediction = project.prepare_prediction(job, session.ctx())?;
    if let Some(error) = prediction.no_cases() {
        if matches.has("--strict") {
            bail!("{error}");
        }
        session.warning(&format!("{error}; nothing was predicted (--strict makes this a failure)"));
    }
    if let [first, _] = prediction.stages() {
        session.message(&format!(
            "a cascade: {} comes first, from {} into {} (folds {}); -prev_stage_predictions takes predictions that exist",
            first.spec().name(),
            first.model.display(),
            first.output().display(),
            first.folds.iter().map(Fold::to_string).collect::<Vec<_>>().join(", ")
        ));
    }
    if let [_, ..] = prediction.patterns() {
        session.message(&format!(
            "{} patterns of channels, each case is predicted as many times",
            prediction.patterns().len()
        ));
    }
    for stage in prediction.stages() {
        describe(stage, prediction.cases().len(), matches, session)?;
    }
    let last = prediction.stages().last();
    if matches.has("--qc") && last.is_some_and(|stage| stage.predictor.passes_per_tile() == 1) {
        session.warning("--qc has nothing to compare: one fold without mirrored passes; only the expected Dice and volumes tell");
    }
    for stage in prediction.run(session.ctx())? {
        let kept = match stage.predicted.kept {
            0 => String::new(),
            kept => format!(", {kept} were there already"),
        };
        let (made, output) = (stage.predicted.made, stage.output.display());
        session.message(&format!("{made} cases predicted into {output}{kept}"));
        session.wrote(&stage.output);
    }
    Ok(())
}

/// Says what a stage is about to do.
fn describe(
    stage: &PredictionStage,
    cases: usize,
    matches: &Matches,
    session: &Session,
) -> anyhow::Result<()> {
    session.message(&format!("{cases} cases with {}", stage.model.display()));
    let mirrored = stage.mirrored_passes;
    if matches.has("--verbose") || session.verbose {
        let step = window_options(matches)?.step_fraction;
        session.message(&format!(
            "tiles of {:?}, step {step} of a tile, {} folds, {mirrored} mirrored passes per tile",
            stage.spec().configuration.patch_size,
            stage.folds.len()
        ));
        let pass = stage.predictor.memory_of_pass()?;
        let gigabytes = |bytes: usize| bytes as f64 / 1e9;
        session.message(&format!(
            "memory of a pass: {:.2} GB ({:.2} activations, {:.2} weights, {:.2} input and output)",
            gigabytes(pass.total()),
            gigabytes(pass.activations),
            gigabytes(pass.weights),
            gigabytes(pass.border),
        ));
    }
    if mirrored > 1 {
        let faster = format!("--disable_tta is {mirrored}x faster");
        session.message(&format!("{mirrored} mirrored passes per tile; {faster}"));
    }
    Ok(())
}

/// What to predict, and where to.
fn files(matches: &Matches) -> Result<PredictRequest, UsageError> {
    let what = "a number of at least 1";
    let number =
        |key: &str, default: usize| Ok::<_, UsageError>(matches.parsed(key, what)?.unwrap_or(default));
    matches.required("-i")?;
    let request = PredictRequest {
        sources: matches.texts("-i").iter().map(PathBuf::from).collect(),
        output: matches.required("-o")?.into(),
        previous_stage: matches.path("-prev_stage_predictions"),
        save_probabilities: matches.has("--save_probabilities"),
        quality: None,
        overwrite: !matches.has("--continue_prediction"),
        num_parts: number("-num_parts", 1)?,
        part_id: number("-part_id", 0)?,
        preprocessing_threads: number("-npp", number_in("nnUNet_npp")?.unwrap_or(1).max(1))?,
        export_threads: number("-nps", number_in("nnUNet_nps")?.unwrap_or(1).max(1))?,
    };
    if request.part_id >= request.num_parts {
        let text =
            format!("-part_id {} of -num_parts {}: parts count from 0", request.part_id, request.num_parts);
        return Err(UsageError(text));
    }
    Ok(request)
}

/// What `--missing` and `--missing-patterns` ask for.
fn missing_channels(matches: &Matches) -> Result<MissingChannels, UsageError> {
    let names = |list: &str| list.split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>();
    match (matches.text("--missing"), matches.has("--missing-patterns")) {
        (None, false) => Ok(MissingChannels::WithoutFile),
        (None, true) => Ok(MissingChannels::EveryPattern),
        (Some(list), false) => Ok(MissingChannels::Named(names(list))),
        (Some(_), true) => {
            let text = "--missing and --missing-patterns: give one of them; the patterns contain all sets of channels";
            Err(UsageError(text.to_owned()))
        }
    }
}

fn window_options(matches: &Matches) -> Result<WindowOptions, UsageError> {
    let step_fraction = matches.parsed("-step_size", "a number above 0 and at most 1")?.unwrap_or(0.5);
    if !(step_fraction > 0.0 && step_fraction <= 1.0) {
        let text = format!("argument -step_size: found {step_fraction}, expected above 0 and at most 1");
        return Err(UsageError(text));
    }
    Ok(WindowOptions { step_fraction, mirroring: !matches.has("--disable_tta") })
}

fn folds(matches: &Matches) -> Result<Vec<Fold>, UsageError> {
    let parse = |text: &String| text.parse::<Fold>().map_err(|e| UsageError(format!("argument -f: {e}")));
    matches.texts("-f").iter().map(parse).collect()
}

/// The folder of `-m`, or the model of `-d`, `-tr`, `-p` and `-c` among the results.
fn model(matches: &Matches, session: &Session) -> anyhow::Result<ModelChoice> {
    if let Some(folder) = matches.path("-m") {
        return Ok(ModelChoice::Folder(folder));
    }
    let (Some(dataset), Some(configuration)) = (matches.text("-d"), matches.text("-c")) else {
        return Err(UsageError("name the model with -d and -c, or its folder with -m".to_owned()).into());
    };
    let name = ModelName {
        trainer: matches.text("-tr").unwrap_or("nnUNetTrainer").to_owned(),
        plans: matches.text("-p").unwrap_or("nnUNetPlans").to_owned(),
        configuration: configuration.to_owned(),
    };
    Ok(ModelChoice::Trained(session.project.dataset(dataset)?, name))
}
