//! `predict`: segment new cases with a trained model.

use std::path::{Path, PathBuf};

use anyhow::Context;
use nnunet::backend::Backend;
use nnunet::dataset::cases::{case_of_files, prediction_cases_with_warnings};
use nnunet::dataset::splits::Fold;
use nnunet::dataset::{Case, DatasetError};
use nnunet::predict::{
    Model, PredictRequest, Predictor, WindowOptions, predict_cases, present_folds, previous_stage_model,
};

use super::dataset_flags::max_ram;
use super::network_flags::{NETWORK_FLAGS, backend};
use super::{Entry, writable};
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
    Flag::many(
        &["-i"],
        "INPUT",
        "folder of images named CASE_0000.ending; or one file of a case, whose other channels lie beside it; or \
         the files of all channels of one case, in their order",
    ),
    Flag::one(&["-o"], "FOLDER", "folder of the predictions, made if it does not exist"),
    Flag::one(
        &["-prev_stage_predictions"],
        "FOLDER",
        "for a cascade: segmentations of the previous stage; without it, the previous stage's model beside this \
         one predicts them first",
    ),
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
    Flag::one(
        &["--max-ram"],
        "GB",
        "main memory that may be used, in 10^9 bytes: cases come one after the other if they do not fit together, \
         and nothing is begun if one does not fit alone (default: what is available, and for a case alone all that \
         this process can have)",
    ),
    Flag::one(&["-num_parts"], "N", "divide the cases into N parts, for several machines (default: 1)"),
    Flag::one(&["-part_id"], "N", "which part this is, from 0 (default: 0)"),
    Flag::switch(&["--not_on_device"], "keep results in main memory; on a processor they always are"),
    Flag::switch(&["--disable_progress_bar"], "no progress; same as --progress none"),
    Flag::switch(&["--verbose"], "say how the images are tiled and what memory a pass of the network takes"),
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
        after_interruption: "rerun the command with --continue_prediction to make the others",
        positionals: &[],
        flags: &[FLAGS, MODEL_FLAGS, NETWORK_FLAGS, THREAD_FLAGS, FOLDER_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let request = request(matches)?;
    let options = window_options(matches)?;
    let chosen = Chosen { folds: folds(matches)?, checkpoint: matches.text("-chk").unwrap_or(FINAL) };
    writable::check_folder(&request.output)?;
    let folder = model_folder(matches, session)?;
    let model = chosen.load(&folder, session)?;
    let cases = cases(&request, &model, matches, session)?;
    let backend = &*backend(matches, session, false)?;
    let run = Run { cases: &cases, options, backend, matches, session };
    let previous_stage =
        match (matches.path("-prev_stage_predictions"), &model.spec.configuration.previous_stage) {
            (Some(given), _) => Some(given),
            (None, Some(previous)) => run.previous_stage(previous, &folder, &chosen, &request)?,
            (None, None) => None,
        };
    run.predict(model, &PredictRequest { previous_stage, ..request })
}

/// Name of a complete training's checkpoint.
const FINAL: &str = "checkpoint_final.pth";

/// Which weights of a model.
struct Chosen<'a> {
    /// None: those that are there.
    folds: Vec<Fold>,
    checkpoint: &'a str,
}

impl Chosen<'_> {
    fn load(&self, folder: &Path, session: &Session) -> anyhow::Result<Model> {
        let model = Model::load(folder, &self.folds, self.checkpoint)?;
        for remark in &model.remarks {
            session.warning(remark);
        }
        Ok(model)
    }
}

/// What the stages of a cascade have in common.
struct Run<'a> {
    cases: &'a [Case],
    options: WindowOptions,
    backend: &'a dyn Backend,
    matches: &'a Matches,
    session: &'a Session,
}

impl Run<'_> {
    /// Predicts the previous stage of a cascade with the model that lies beside `folder`, if there is one,
    /// and returns the folder of its segmentations.
    fn previous_stage(
        &self,
        previous: &str,
        folder: &Path,
        chosen: &Chosen<'_>,
        request: &PredictRequest,
    ) -> anyhow::Result<Option<PathBuf>> {
        let Some(beside) = previous_stage_model(folder, previous).filter(|model| model.is_dir()) else {
            return Ok(None);
        };
        let there = present_folds(&beside, chosen.checkpoint);
        let folds = if chosen.folds.iter().all(|fold| there.contains(fold)) { &chosen.folds } else { &there };
        let output = request.output.join(format!("prediction_{previous}"));
        self.session.message(&format!(
            "a cascade: {previous} comes first, from {} into {} (folds {}); -prev_stage_predictions takes \
             predictions that exist",
            beside.display(),
            output.display(),
            if folds.is_empty() { &there } else { folds }
                .iter()
                .map(Fold::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        ));
        let chosen = Chosen { folds: folds.clone(), checkpoint: chosen.checkpoint };
        let model = chosen.load(&beside, self.session)?;
        let request = PredictRequest { output: output.clone(), save_probabilities: false, ..request.clone() };
        self.predict(model, &request)?;
        Ok(Some(output))
    }

    fn predict(&self, model: Model, request: &PredictRequest) -> anyhow::Result<()> {
        let session = self.session;
        let step_fraction = self.options.step_fraction;
        let folds = model.weights.len();
        let mirrored = if self.options.mirroring { 1 << model.spec.mirroring_axes.len() } else { 1 };
        session.message(&format!("{} cases with {}", self.cases.len(), model.folder.display()));
        let mut predictor = Predictor::new(model.spec, model.weights, self.backend, self.options)?;
        if self.matches.has("--verbose") {
            let configuration = &predictor.spec().configuration;
            session.message(&format!(
                "tiles of {:?}, step {step_fraction} of a tile, {folds} folds, {mirrored} mirrored passes per tile",
                configuration.patch_size
            ));
            let pass = predictor.memory_of_pass()?;
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
            session.message(&format!(
                "{mirrored} mirrored passes per tile; --disable_tta is {mirrored}x faster"
            ));
        }
        let predicted = predict_cases(&mut predictor, self.cases, request, session.ctx())
            .with_context(|| format!("prediction of {}", shown(&request.sources)))?;
        let kept = match predicted.kept {
            0 => String::new(),
            kept => format!(", {kept} were there already"),
        };
        session.message(&format!(
            "{} cases predicted into {}{kept}",
            predicted.made,
            request.output.display()
        ));
        Ok(())
    }
}

/// What was typed, but the model.
fn request(matches: &Matches) -> Result<PredictRequest, UsageError> {
    let what = "a number of at least 1";
    let number =
        |key: &str, default: usize| Ok::<_, UsageError>(matches.parsed(key, what)?.unwrap_or(default));
    matches.required("-i")?;
    let request = PredictRequest {
        sources: matches.texts("-i").iter().map(PathBuf::from).collect(),
        output: matches.required("-o")?.into(),
        previous_stage: None,
        save_probabilities: matches.has("--save_probabilities"),
        overwrite: !matches.has("--continue_prediction"),
        num_parts: number("-num_parts", 1)?,
        part_id: number("-part_id", 0)?,
        preprocessing_threads: number("-npp", 1)?,
        export_threads: number("-nps", 1)?,
        max_ram: max_ram(matches)?,
    };
    if request.part_id >= request.num_parts {
        let text =
            format!("-part_id {} of -num_parts {}: parts count from 0", request.part_id, request.num_parts);
        return Err(UsageError(text));
    }
    Ok(request)
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

/// The cases of a folder, a file or a list of files. None are a warning, with `--strict` a failure.
fn cases(
    request: &PredictRequest,
    model: &Model,
    matches: &Matches,
    session: &Session,
) -> anyhow::Result<Vec<Case>> {
    let found = match request.sources.as_slice() {
        [source] => prediction_cases_with_warnings(source, &model.spec.dataset, &session.display),
        files => case_of_files(files, &model.spec.dataset).map(|case| vec![case]),
    };
    match found {
        Err(error @ DatasetError::NoCases { .. }) if !matches.has("--strict") => {
            session.warning(&format!("{error}; nothing was predicted (--strict makes this a failure)"));
            Ok(Vec::new())
        }
        other => Ok(other?),
    }
}

fn shown(sources: &[PathBuf]) -> String {
    sources.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
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
