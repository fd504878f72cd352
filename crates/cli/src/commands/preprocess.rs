//! `preprocess`: the cases as the network will see them.

use anyhow::Context;
use nnunet::dataset::{DatasetName, Part};
use nnunet::plan::Plans;
use nnunet::preprocess::{DatasetFolders, Existing, PreprocessOptions, preprocess_dataset};

use super::Entry;
use super::dataset_flags::{
    CONFIGURATIONS, DATASETS, MAX_RAM, NO_PROGRESS_BAR, PART_FLAGS, THREADS, VERBOSE, apply_verbose,
    datasets, max_ram, part, raw_dataset_json,
};
use crate::environment::FOLDER_FLAGS;
use crate::flags::{Command, Flag, Matches};
use crate::progress::PROGRESS_FLAGS;
use crate::session::Session;

const FLAGS: &[Flag] = &[
    DATASETS,
    Flag::one(&["-plans_name"], "NAME", "name of the plans (default: nnUNetPlans)"),
    CONFIGURATIONS,
    THREADS,
    MAX_RAM,
    NO_PROGRESS_BAR,
    VERBOSE,
];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "preprocess",
        reference_names: &["nnUNetv2_preprocess"],
        summary: "crop, normalise and resample the training cases",
        description: "Makes the cases of each configuration as its network will see them and stores them in \
                      the dataset's folder of preprocessed data, in the reference's own format. Cases that \
                      are finished already, made from the same files by the same plans, are kept: a run that \
                      was interrupted or killed goes on with the same command. With --num-parts, several \
                      machines that share the folders make a part of the cases each.",
        after_interruption: Command::RESUME,
        positionals: &[],
        flags: &[FLAGS, PART_FLAGS, FOLDER_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    apply_verbose(matches, session);
    let part = part(matches)?;
    for dataset in datasets(matches, session)? {
        let plans = matches.text("-plans_name").unwrap_or("nnUNetPlans");
        preprocess(&dataset, plans, matches, part, session)?;
    }
    Ok(())
}

/// Preprocesses the configurations of `-c` with the plans `plans_name`.
pub(super) fn preprocess(
    dataset: &DatasetName,
    plans_name: &str,
    matches: &Matches,
    part: Part,
    session: &Session,
) -> anyhow::Result<()> {
    let configurations: Vec<&str> = match matches.texts("-c") {
        [] => vec!["2d", "3d_fullres", "3d_lowres"],
        given => given.iter().map(String::as_str).collect(),
    };
    let options = PreprocessOptions {
        existing: Existing::Keep,
        max_ram: max_ram(matches)?,
        part,
        ..PreprocessOptions::default()
    };
    preprocess_configurations(dataset, plans_name, &configurations, &options, session)
}

/// Preprocesses `configurations` of a dataset.
pub(super) fn preprocess_configurations(
    dataset: &DatasetName,
    plans_name: &str,
    configurations: &[&str],
    options: &PreprocessOptions,
    session: &Session,
) -> anyhow::Result<()> {
    let raw = session.folders.raw()?.join(dataset.as_str());
    let preprocessed = session.folders.preprocessed()?.join(dataset.as_str());
    let plans = Plans::of_dataset(&preprocessed, plans_name)?;
    let json = raw_dataset_json(&raw)?;
    preprocess_dataset(
        DatasetFolders { raw: &raw, preprocessed: &preprocessed },
        &json,
        &plans,
        configurations,
        options,
        session.ctx(),
    )
    .with_context(|| format!("preprocessing of {dataset}"))?;
    Ok(())
}
