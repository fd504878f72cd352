//! `export-model`: trained models in one zip archive.

use std::path::Path;

use nnunet::dataset::splits::Fold;
use nnunet::model_store::ExportRequest;

use super::Entry;
use crate::environment::FOLDER_FLAGS;
use crate::flags::{Command, Flag, Group, Matches};
use crate::messages::UsageError;
use crate::progress::PROGRESS_FLAGS;
use crate::session::Session;

const FLAGS: &[Flag] = &[
    Flag::one(&["-d"], "DATASET", "dataset, by id or name").within(Group::Input).required("-d DATASET"),
    Flag::one(&["-o"], "FILE", "the zip archive to write").within(Group::Output).required("-o FILE"),
    Flag::many(
        &["-c"],
        "CONFIGURATION",
        "configurations (default: 3d_lowres 3d_fullres 2d 3d_cascade_fullres)",
    )
    .within(Group::Input),
    Flag::one(&["-tr"], "TRAINER", "name of the trainer (default: nnUNetTrainer)").within(Group::Input),
    Flag::one(&["-p"], "PLANS", "name of the plans (default: nnUNetPlans)").within(Group::Input),
    Flag::many(&["-f"], "FOLD", "folds: numbers or all (default: 0 1 2 3 4)").within(Group::Input),
    Flag::many(&["-chk"], "NAME", "names of the checkpoints (default: checkpoint_final.pth)")
        .within(Group::Input),
    Flag::switch(&["--not_strict"], "leave out configurations and folds that are missing")
        .within(Group::Input),
    Flag::switch(&["--exp_cv_preds"], "also pack the predictions of the cross-validation")
        .within(Group::Output),
];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "export-model",
        reference_names: &["nnUNetv2_export_model_to_zip"],
        summary: "pack trained models into a zip archive",
        description: "Packs plans, checkpoints and postprocessing of trained models into a zip archive that \
                      install-model and the Python nnU-Net install.",
        after_interruption: Command::START_AGAIN,
        positionals: &[],
        flags: &[FLAGS, FOLDER_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let given = |key: &str, default: &[&str]| match matches.texts(key) {
        [] => default.iter().map(|text| (*text).to_owned()).collect(),
        texts => texts.to_vec(),
    };
    let output = Path::new(matches.required("-o")?);
    let folds: Vec<String> = given("-f", &["0", "1", "2", "3", "4"]);
    let request = ExportRequest {
        dataset: session.project.dataset(matches.required("-d")?)?,
        configurations: given("-c", &["3d_lowres", "3d_fullres", "2d", "3d_cascade_fullres"]),
        trainer: matches.text("-tr").unwrap_or("nnUNetTrainer").to_owned(),
        plans: matches.text("-p").unwrap_or("nnUNetPlans").to_owned(),
        folds: folds.iter().map(|f| f.parse::<Fold>()).collect::<Result<_, _>>().map_err(UsageError)?,
        checkpoints: given("-chk", &["checkpoint_final.pth"]),
        strict: !matches.has("--not_strict"),
        crossval_predictions: matches.has("--exp_cv_preds"),
    };
    let packed = session.project.export_model(&request, output, session.ctx())?;
    session.message(&format!("{} files packed into {}", packed.len(), output.display()));
    Ok(())
}
