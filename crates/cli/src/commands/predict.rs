//! `predict`: segment new cases with a trained model.

use std::path::{Path, PathBuf};

use anyhow::Context;
use nnunet::dataset::splits::Fold;
use nnunet::dataset::{DatasetError, cases::prediction_cases};
use nnunet::predict::{Model, PredictRequest, Predictor, WindowOptions, predict_cases};

use super::Entry;
use super::network_flags::{NETWORK_FLAGS, cpu_options};
use crate::environment::FOLDER_FLAGS;
use crate::flags::{Command, Flag, Matches};
use crate::messages::UsageError;
use crate::progress::PROGRESS_FLAGS;
use crate::session::{Session, THREAD_FLAGS};

const MODEL_FLAGS: &[Flag] = &[
    Flag::one(&["-m"], "FOLDER", "folder of the model, instead of -d, -p, -tr and -c"),
    Flag::one(&["-d"], "DATASET", "dataset that the model was trained on, by id or name"),
    Flag::one(&["-p"], "PLANS", "name of its plans (default: nnUNetPlans)"),
    Flag::one(&["-tr"], "TRAINER", "name of its trainer (default: nnUNetTrainer)"),
    Flag::one(&["-c"], "CONFIGURATION", "its configuration, e.g. 3d_fullres"),
    Flag::many(&["-f"], "FOLD", "folds to average over: numbers or all (default: those that are there)"),
    Flag::one(&["-chk"], "NAME", "name of the checkpoint (default: checkpoint_final.pth)"),
];

const FLAGS: &[Flag] = &[
    Flag::one(&["-i"], "INPUT", "folder of images named CASE_0000.ending, or one file"),
    Flag::one(&["-o"], "FOLDER", "folder of the predictions, made if it does not exist"),
    Flag::one(
        &["-step_size"],
        "FRACTION",
        "distance of neighbouring tiles as a share of the tile (default: 0.5); larger is faster and less exact",
    ),
    Flag::switch(
        &["--disable_tta"],
        "do not average over mirrored inputs: up to 8 times faster, a little less exact",
    ),
    Flag::switch(&["--save_probabilities"], "write probabilities (.npz) and properties (.pkl) too"),
    Flag::switch(&["--continue_prediction", "--c"], "keep predictions that are complete, make the others"),
    Flag::one(&["-npp"], "N", "cases read and preprocessed at once (default: 1)"),
    Flag::one(&["-nps"], "N", "cases exported at once (default: 1)"),
    Flag::one(&["-num_parts"], "N", "divide the cases into N parts, for several machines (default: 1)"),
    Flag::one(&["-part_id"], "N", "which part this is, from 0 (default: 0)"),
    Flag::switch(&["--not_on_device"], "keep results in main memory; on a processor they always are"),
    Flag::switch(&["--disable_progress_bar"], "no progress; same as --progress none"),
    Flag::switch(&["--verbose"], "say how the images are tiled"),
    Flag::switch(&["--strict"], "fail if there are no cases, instead of a warning"),
];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "predict",
        reference_names: &["nnUNetv2_predict", "nnUNetv2_predict_from_modelfolder"],
        summary: "segment images with a trained model",
        description: "Segments every case of a folder with a trained model and writes the segmentations on \
                      the images' own grids. The model is named by dataset, plans, trainer and configuration, \
                      or by its folder (-m).",
        positionals: &[],
        flags: &[FLAGS, MODEL_FLAGS, NETWORK_FLAGS, THREAD_FLAGS, FOLDER_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let what = "a number of at least 1";
    let number =
        |key: &str, default: usize| Ok::<_, UsageError>(matches.parsed(key, what)?.unwrap_or(default));
    let request = PredictRequest {
        source: matches.required("-i")?.into(),
        output: matches.required("-o")?.into(),
        save_probabilities: matches.has("--save_probabilities"),
        overwrite: !matches.has("--continue_prediction"),
        num_parts: number("-num_parts", 1)?,
        part_id: number("-part_id", 0)?,
        preprocessing_threads: number("-npp", 1)?,
        export_threads: number("-nps", 1)?,
    };
    if request.part_id >= request.num_parts {
        let text =
            format!("-part_id {} of -num_parts {}: parts count from 0", request.part_id, request.num_parts);
        return Err(UsageError(text).into());
    }
    let step_fraction = matches.parsed("-step_size", "a number above 0 and at most 1")?.unwrap_or(0.5);
    if !(step_fraction > 0.0 && step_fraction <= 1.0) {
        let text = format!("argument -step_size: found {step_fraction}, expected above 0 and at most 1");
        return Err(UsageError(text).into());
    }
    let folds = match matches.texts("-f") {
        [] => Vec::new(),
        given => given
            .iter()
            .map(|text| text.parse::<Fold>().map_err(|e| UsageError(format!("argument -f: {e}"))))
            .collect::<Result<Vec<_>, _>>()?,
    };
    let folder = model_folder(matches, session)?;
    let checkpoint = matches.text("-chk").unwrap_or("checkpoint_final.pth");
    let model = Model::load(&folder, &folds, checkpoint)?;
    for remark in &model.remarks {
        session.warning(remark);
    }
    let cases = match prediction_cases(&request.source, &model.dataset) {
        Err(error @ DatasetError::NoCases { .. }) if !matches.has("--strict") => {
            session.warning(&format!("{error}; nothing was predicted (--strict makes this a failure)"));
            return Ok(());
        }
        other => other?,
    };
    let options = WindowOptions { step_fraction, mirroring: !matches.has("--disable_tta") };
    let folds = model.folds.len();
    let mirrored = if options.mirroring { 1 << model.mirroring_axes.len() } else { 1 };
    let mut predictor = Predictor::new(model, cpu_options(matches, session)?, options)?;
    session.message(&format!("{} cases with {}", cases.len(), folder.display()));
    if matches.has("--verbose") {
        let configuration = &predictor.model().configuration;
        session.message(&format!(
            "tiles of {:?}, step {step_fraction} of a tile, {folds} folds, {mirrored} mirrored passes per tile",
            configuration.patch_size
        ));
    } else if mirrored > 1 {
        session.message(&format!("{mirrored} mirrored passes per tile; --disable_tta is {mirrored}x faster"));
    }
    let predicted = predict_cases(&mut predictor, &cases, &request, &session.display, &session.cancel)
        .with_context(|| format!("prediction of {}", request.source.display()))?;
    let kept =
        if predicted.kept > 0 { format!(", {} were there already", predicted.kept) } else { String::new() };
    session.message(&format!("{} cases predicted into {}{kept}", predicted.made, request.output.display()));
    Ok(())
}

/// The folder of `-m`, or that of `-d`, `-tr`, `-p` and `-c` among the results.
fn model_folder(matches: &Matches, session: &Session) -> anyhow::Result<PathBuf> {
    if let Some(folder) = matches.text("-m") {
        return Ok(Path::new(folder).to_owned());
    }
    let (Some(dataset), Some(configuration)) = (matches.text("-d"), matches.text("-c")) else {
        return Err(UsageError("name the model with -d and -c, or its folder with -m".to_owned()).into());
    };
    let dataset = session.folders.find(dataset)?;
    let trainer = matches.text("-tr").unwrap_or("nnUNetTrainer");
    let plans = matches.text("-p").unwrap_or("nnUNetPlans");
    Ok(session.folders.results()?.join(dataset.as_str()).join(format!("{trainer}__{plans}__{configuration}")))
}
