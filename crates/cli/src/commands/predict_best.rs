//! `predict-best`: segment images with what find-best-configuration has chosen.

use nnunet::PredictBestJob;

use super::Entry;
use super::network_flags::{NETWORK_FLAGS, backend};
use crate::environment::FOLDER_FLAGS;
use crate::flags::{Command, Flag, Group, Matches, Positional};
use crate::progress::PROGRESS_FLAGS;
use crate::session::{Session, THREAD_FLAGS};

const FLAGS: &[Flag] = &[
    Flag::one(&["-i"], "INPUT", "folder of images named CASE_0000.ending, or one file of a case")
        .within(Group::Input)
        .required("-i INPUT"),
    Flag::one(&["-o"], "FOLDER", "folder for the segmentations, created if it does not exist")
        .within(Group::Output)
        .required("-o FOLDER"),
];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "predict-best",
        reference_names: &[],
        summary: "segment images with the best model or ensemble, postprocessing included",
        description: "Does what inference_instructions.txt says: predicts with each model that \
                      find-best-configuration has chosen, averages them if it is an ensemble, and applies the \
                      postprocessing.",
        after_interruption: Command::START_AGAIN,
        positionals: &[Positional { name: "DATASET", help: "dataset by id or name" }],
        flags: &[FLAGS, NETWORK_FLAGS, THREAD_FLAGS, FOLDER_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let job = PredictBestJob {
        dataset: session.project.dataset(matches.required("DATASET")?)?,
        input: matches.required("-i")?.into(),
        output: matches.required("-o")?.into(),
    };
    let project = session.project.clone().with_backend(backend(matches, session, false)?);
    let chosen = project.predict_best(&job, session.ctx())?;
    let models: Vec<String> = chosen.models.iter().map(ToString::to_string).collect();
    session.message(&format!("{}: predicted with {}", job.output.display(), models.join(" and ")));
    Ok(())
}
