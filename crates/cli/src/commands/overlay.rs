//! `overlay`: a picture of every training case with its labels in colours.

use nnunet::{OverlayJob, Shown};

use super::Entry;
use super::dataset_flags::THREADS;
use crate::environment::FOLDER_FLAGS;
use crate::flags::{Command, Flag, Group, Matches};
use crate::messages::UsageError;
use crate::progress::PROGRESS_FLAGS;
use crate::session::Session;

const FLAGS: &[Flag] = &[
    Flag::one(&["-d"], "DATASET", "dataset, by id or name").within(Group::Input).required("-d DATASET"),
    Flag::one(&["-o"], "FOLDER", "folder for the pictures, created if it does not exist")
        .within(Group::Output)
        .required("-o FOLDER"),
    Flag::one(&["-channel_idx"], "N", "channel to show, 0 for _0000 (default: 0)").within(Group::Input),
    Flag::switch(&["--use_raw"], "show the raw dataset instead of the preprocessed one").within(Group::Input),
    Flag::one(&["-p"], "PLANS", "name of the plans, unless --use_raw (default: nnUNetPlans)")
        .within(Group::Input),
    Flag::one(
        &["-c"],
        "CONFIGURATION",
        "configuration, unless --use_raw (default: 3d_fullres if the plans have it, else 2d)",
    )
    .within(Group::Input),
    Flag::one(&["-overlay_intensity"], "NUMBER", "brightness of the colours (default: 0.6)")
        .within(Group::Output),
    THREADS,
];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "overlay",
        reference_names: &["nnUNetv2_plot_overlay_pngs"],
        summary: "draw the labels of every training case over its image",
        description: "Writes CASE.png for every training case of a dataset: the slice with the most foreground, with its \
                      labels in colour over the image. Voxels are drawn square, whatever the spacing.",
        after_interruption: Command::START_AGAIN,
        positionals: &[],
        flags: &[FLAGS, FOLDER_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let shown = match matches.has("--use_raw") {
        true => Shown::Raw,
        false => Shown::Preprocessed {
            plans: matches.text("-p").unwrap_or("nnUNetPlans").to_owned(),
            configuration: matches.text("-c").map(str::to_owned),
        },
    };
    let job = OverlayJob {
        output: matches.required("-o")?.into(),
        channel: matches.parsed("-channel_idx", "a number of at least 0")?.unwrap_or(0),
        intensity: intensity(matches)?,
        dataset: session.project.dataset(matches.required("-d")?)?,
        shown,
    };
    let drawn = session.project.overlay(&job, session.ctx())?;
    session.message(&format!("{drawn} cases drawn into {}", job.output.display()));
    Ok(())
}

fn intensity(matches: &Matches) -> Result<f64, UsageError> {
    let what = "a number of at least 0";
    let given = matches.parsed("-overlay_intensity", what)?.unwrap_or(0.6);
    if !(given >= 0.0 && given <= f64::from(u8::MAX)) {
        return Err(UsageError(format!("argument -overlay_intensity: found {given}, expected {what}")));
    }
    Ok(given)
}
