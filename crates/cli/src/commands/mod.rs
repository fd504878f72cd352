//! The verbs, one file each: the table of flags, and the way from what was typed to a stage's request.

mod accumulate_crossval_results;
mod apply_postprocessing;
mod compare;
mod completions;
mod convert_msd;
mod convert_v1;
mod dataset_flags;
mod demo;
mod determine_postprocessing;
mod devices;
mod doctor;
mod ensemble;
mod evaluate;
pub(crate) mod examples;
mod experiment;
mod explain;
mod export_model;
mod federated;
mod find_best_configuration;
mod fingerprint;
mod install_links;
mod install_model;
mod job_flags;
mod man;
mod merge_datasets;
mod models;
mod move_plans;
mod network_flags;
mod overlay;
mod plan;
mod plan_and_preprocess;
mod predict;
mod predict_best;
mod preprocess;
mod report;
mod submit;
mod train;
mod trainers;
mod verify;

use nnunet::spelling::closest;

pub(crate) use network_flags::PRECISIONS;

use crate::flags::{Command, Matches};
use crate::session::Session;

/// A verb with what it does.
pub(crate) struct Entry {
    /// Its flags.
    pub(crate) spec: Command,
    /// What it does.
    pub(crate) run: fn(&Matches, &Session) -> anyhow::Result<()>,
}

/// Every verb, in the order of the main job.
const ENTRIES: &[Entry] = &[
    demo::ENTRY,
    convert_msd::ENTRY,
    convert_v1::ENTRY,
    merge_datasets::ENTRY,
    verify::ENTRY,
    fingerprint::ENTRY,
    plan::ENTRY,
    explain::ENTRY,
    move_plans::ENTRY,
    preprocess::ENTRY,
    plan_and_preprocess::ENTRY,
    trainers::ENTRY,
    train::ENTRY,
    predict::ENTRY,
    ensemble::ENTRY,
    evaluate::ENTRY,
    compare::ENTRY,
    experiment::ENTRY,
    federated::ENTRY,
    accumulate_crossval_results::ENTRY,
    find_best_configuration::ENTRY,
    predict_best::ENTRY,
    submit::ENTRY,
    determine_postprocessing::ENTRY,
    apply_postprocessing::ENTRY,
    overlay::ENTRY,
    report::ENTRY,
    models::ENTRY,
    install_model::ENTRY,
    export_model::ENTRY,
    install_links::ENTRY,
    doctor::ENTRY,
    devices::ENTRY,
    completions::ENTRY,
    man::ENTRY,
];

/// The tables of all verbs.
pub(crate) fn all() -> Vec<&'static Command> {
    ENTRIES.iter().map(|entry| &entry.spec).collect()
}

/// The verb `verb`.
pub(crate) fn by_verb(verb: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.spec.verb == verb)
}

/// The verb that does what the reference's program `name` does.
pub(crate) fn by_reference_name(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.spec.reference_names.contains(&name))
}

/// The verb or name of the reference's programs that `asked` resembles most, if it does.
pub(crate) fn closest_name(asked: &str) -> Option<&'static str> {
    let verbs = ENTRIES.iter().map(|entry| entry.spec.verb);
    let names = ENTRIES.iter().flat_map(|entry| entry.spec.reference_names.iter().copied());
    closest(asked, verbs.chain(names).chain(["--help", "--version"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = ENTRIES
            .iter()
            .flat_map(|e| e.spec.reference_names.iter().copied().chain([e.spec.verb]))
            .collect();
        names.sort_unstable();
        let before = names.len();
        names.dedup();
        assert_eq!(names.len(), before);
        for entry in ENTRIES {
            let mut flags: Vec<&str> = entry.spec.all_flags().flat_map(|f| f.names.iter().copied()).collect();
            flags.sort_unstable();
            let before = flags.len();
            flags.dedup();
            assert_eq!(flags.len(), before, "flags of {}", entry.spec.verb);
        }
    }

    /// Flags of the reference's programs (2.8.1), as their help pages list them.
    const REFERENCE_FLAGS: &[(&str, &str)] = &[
        (
            "nnUNetv2_extract_fingerprint",
            "-d -fpe -np --verify_dataset_integrity --clean --verbose --no_pbar",
        ),
        (
            "nnUNetv2_plan_experiment",
            "-d -pl -gpu_memory_target -preprocessor_name -overwrite_target_spacing -overwrite_plans_name",
        ),
        ("nnUNetv2_preprocess", "-d -plans_name -c -np --verbose --no_pbar"),
        (
            "nnUNetv2_plan_and_preprocess",
            "-d -fpe -npfp --verify_dataset_integrity --no_pp --clean -pl -gpu_memory_target -preprocessor_name \
             -overwrite_target_spacing -overwrite_plans_name -c -np --verbose --no_pbar",
        ),
        (
            "nnUNetv2_train",
            "-tr -p -pretrained_weights -num_gpus --npz --c --val --val_best --disable_checkpointing -device",
        ),
        (
            "nnUNetv2_predict",
            "-i -o -d -p -tr -c -f -step_size --disable_tta --verbose --save_probabilities --continue_prediction \
             -chk -npp -nps -prev_stage_predictions -num_parts -part_id -device --disable_progress_bar \
             --not_on_device",
        ),
        (
            "nnUNetv2_predict_from_modelfolder",
            "-i -o -m -f -step_size --disable_tta --verbose --save_probabilities --continue_prediction --c -chk \
             -npp -nps -prev_stage_predictions -device --disable_progress_bar --not_on_device",
        ),
        ("nnUNetv2_ensemble", "-i -o -np --save_npz"),
        ("nnUNetv2_accumulate_crossval_results", "-c -o -f -p -tr"),
        ("nnUNetv2_find_best_configuration", "-p -c -tr -np -f --disable_ensembling --no_overwrite"),
        ("nnUNetv2_determine_postprocessing", "-i -ref -plans_json -dataset_json -np --remove_postprocessed"),
        ("nnUNetv2_apply_postprocessing", "-i -o -pp_pkl_file -np -plans_json -dataset_json"),
        ("nnUNetv2_evaluate_folder", "-djfile -pfile -o -np --chill"),
        ("nnUNetv2_evaluate_simple", "-l -il -o -np --chill"),
        ("nnUNetv2_export_model_to_zip", "-d -o -c -tr -p -f -chk --not_strict --exp_cv_preds"),
        ("nnUNetv2_install_pretrained_model_from_zip", ""),
        ("nnUNetv2_download_pretrained_model_by_url", ""),
        ("nnUNetv2_convert_MSD_dataset", "-i -overwrite_id -np"),
        ("nnUNetv2_convert_old_nnUNet_dataset", ""),
        ("nnUNetv2_move_plans_between_datasets", "-s -t -sp -tp"),
        ("nnUNetv2_plot_overlay_pngs", "-d -o -np -channel_idx --use_raw -p -c -overlay_intensity"),
    ];

    #[test]
    fn flags_of_the_reference_are_taken() {
        for (name, flags) in REFERENCE_FLAGS {
            // Programs that this version does not have.
            let Some(entry) = by_reference_name(name) else { continue };
            let known: Vec<&str> = entry.spec.all_flags().flat_map(|f| f.names.iter().copied()).collect();
            for flag in flags.split_whitespace() {
                assert!(known.contains(&flag), "{name} takes {flag}");
            }
        }
        let unknown: Vec<&str> = ENTRIES
            .iter()
            .flat_map(|e| e.spec.reference_names.iter().copied())
            .filter(|name| !REFERENCE_FLAGS.iter().any(|(known, _)| known == name))
            .collect();
        assert!(unknown.is_empty(), "programs that the reference does not have: {unknown:?}");
    }
}
