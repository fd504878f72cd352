//! `apply-postprocessing`: remove what a postprocessing.pkl says from predicted segmentations.

use std::path::Path;

use anyhow::Context;
use nnunet::postprocess::{Postprocessing, apply_to_folder};
use nnunet::prediction_folder::PredictionFolder;

use super::dataset_flags::THREADS;
use super::{Entry, writable};
use crate::flags::{Command, Flag, Matches};
use crate::progress::PROGRESS_FLAGS;
use crate::session::Session;

/// Where dataset.json and plans.json are, if not beside the segmentations.
pub(super) const COMPANION_FLAGS: &[Flag] = &[
    Flag::one(&["-plans_json"], "FILE", "plans.json of the segmentations (default: the one beside them)"),
    Flag::one(&["-dataset_json"], "FILE", "dataset.json of the segmentations (default: the one beside them)"),
];

const FLAGS: &[Flag] = &[
    Flag::one(&["-i"], "FOLDER", "folder of segmentations"),
    Flag::one(&["-o"], "FOLDER", "folder for the changed segmentations, made if it does not exist"),
    Flag::one(
        &["-pp_pkl_file"],
        "FILE",
        "postprocessing.pkl (or .json) of determine-postprocessing or find-best-configuration",
    ),
    THREADS,
];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "apply-postprocessing",
        reference_names: &["nnUNetv2_apply_postprocessing"],
        summary: "remove all but the largest components where a postprocessing says so",
        description: "Applies the steps of a postprocessing.pkl to every segmentation of a folder. The file is \
                      read as data; nothing in it is run.",
        after_interruption: Command::START_AGAIN,
        positionals: &[],
        flags: &[FLAGS, COMPANION_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let output = Path::new(matches.required("-o")?);
    let file = Path::new(matches.required("-pp_pkl_file")?);
    let folder = prediction_folder(matches, matches.required("-i")?)?;
    writable::check_folder(output)?;
    let postprocessing = Postprocessing::read(file)?;
    let removed = apply_to_folder(&postprocessing, &folder, output, session.ctx())
        .with_context(|| format!("postprocessing of {}", folder.path().display()))?;
    session.message(&format!(
        "{} steps, {removed} voxels removed; written to {}",
        postprocessing.steps.len(),
        output.display()
    ));
    Ok(())
}

/// The folder `path` with the companions that the flags name.
pub(super) fn prediction_folder(matches: &Matches, path: &str) -> anyhow::Result<PredictionFolder> {
    let (dataset, plans) = (matches.path("-dataset_json"), matches.path("-plans_json"));
    Ok(PredictionFolder::open(
        Path::new(path),
        dataset.as_deref(),
        plans.as_deref(),
        &nnunet::Parts::default(),
    )?)
}
