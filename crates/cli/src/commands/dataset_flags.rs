//! Flags that the verbs on raw and preprocessed datasets share, and the requests they turn into.

use std::path::Path;

use anyhow::Context;
use nnunet::dataset::{DatasetJson, DatasetName, Part, cases};
use nnunet::fingerprint::{ExtractOptions, Fingerprint, Parts, extract_part};
use nnunet::plan::{PlannerOptions, plan_dataset};

use super::writable;
use crate::environment::path_variable;
use crate::flags::{Flag, Matches};
use crate::messages::UsageError;
use crate::session::Session;

pub(super) const DATASETS: Flag =
    Flag::many(&["-d"], "DATASET", "one or more datasets, by id (4) or name (Dataset004_Hippocampus)");
pub(super) const CLEAN: Flag =
    Flag::switch(&["--clean"], "take the fingerprint anew; without this an existing one is kept");
pub(super) const VERIFY: Flag = Flag::switch(
    &["--verify_dataset_integrity"],
    "check the dataset first and stop if it has faults; all of them are listed",
);
pub(super) const THREADS: Flag =
    Flag::many(&["-np", "--threads"], "N", "number of threads (default: all cores, or $nnUNet_def_n_proc)");
pub(super) const MAX_RAM: Flag = Flag::one(
    &["--max-ram"],
    "GB",
    "main memory that the cases may take, in 10^9 bytes: fewer are worked on at once if they do not fit together, and \
     nothing is begun if one does not fit alone (default: half of what is available; a case alone may take all that this \
     process can have)",
);
/// The flags of work that several machines divide among themselves.
pub(super) const PART_FLAGS: &[Flag] = &[
    Flag::one(
        &["--num-parts"],
        "N",
        "divide the cases into N parts, for several machines with the same folders",
    ),
    Flag::one(&["--part-id"], "N", "which part this is, from 0"),
];
pub(super) const NO_PROGRESS_BAR: Flag = Flag::switch(&["--no_pbar"], "no progress; same as --progress none");
pub(super) const VERBOSE: Flag = Flag::switch(&["--verbose"], "a line for every case instead of a bar");
pub(super) const FINGERPRINT_EXTRACTOR: Flag =
    Flag::one(&["-fpe"], "NAME", "DatasetFingerprintExtractor, the one there is");
pub(super) const CONFIGURATIONS: Flag = Flag::many(
    &["-c"],
    "CONFIGURATION",
    "configurations to preprocess (default: 2d 3d_fullres 3d_lowres); those that a dataset does not have are skipped",
);

pub(super) const GPU_MEMORY_TARGET: Flag = Flag::one(
    &["-gpu_memory_target"],
    "GB",
    "memory that the patch and batch size are planned for (default: the planner's)",
);

/// The flags that decide a plan.
pub(super) const PLANNER_FLAGS: &[Flag] = &[
    Flag::one(
        &["-pl"],
        "PLANNER",
        "ExperimentPlanner (default), nnUNetPlannerResEncM, nnUNetPlannerResEncL, nnUNetPlannerResEncXL, \
         ResEncUNetPlanner; with PyTorch's resampling nnUNetPlanner_torchres, nnUNetPlannerResEncL_torchres, \
         nnUNetPlannerResEncL_torchres_sepz; without resampling nnUNetPlannerResEncL_noResampling",
    ),
    GPU_MEMORY_TARGET,
    Flag::one(
        &["-preprocessor_name"],
        "NAME",
        "preprocessor to name in the plans (default: DefaultPreprocessor)",
    ),
    Flag::many(
        &["-overwrite_target_spacing"],
        "MM",
        "target spacing (z y x) of 3d_fullres instead of the planned one",
    ),
    Flag::one(
        &["-overwrite_plans_name"],
        "NAME",
        "name of the plans file instead of the planner's; use it with the flags above",
    ),
];

/// Does what `--verbose` asks for.
pub(super) fn apply_verbose(matches: &Matches, session: &Session) {
    if matches.has(VERBOSE.key()) {
        session.display.show_every_step();
    }
}

/// Refuses extractors that are not here; scripts name the one that is.
pub(super) fn check_extractor(matches: &Matches) -> anyhow::Result<()> {
    match matches.text(FINGERPRINT_EXTRACTOR.key()) {
        None | Some("DatasetFingerprintExtractor") => Ok(()),
        Some(other) => {
            Err(UsageError(format!("argument -fpe: found {other:?}, expected DatasetFingerprintExtractor"))
                .into())
        }
    }
}

/// `--max-ram` in bytes.
pub(super) fn max_ram(matches: &Matches) -> Result<Option<u64>, UsageError> {
    let what = "a number of gigabytes above 0, e.g. 6 or 7.5";
    match matches.parsed::<f64>("--max-ram", what)? {
        Some(gigabytes) if gigabytes > 0.0 && gigabytes < 1e9 => Ok(Some((gigabytes * 1e9) as u64)),
        Some(other) => Err(UsageError(format!("argument --max-ram: found {other}, expected {what}"))),
        None => Ok(None),
    }
}

/// The part of the cases that `--num-parts` and `--part-id` ask for.
pub(super) fn part(matches: &Matches) -> Result<Part, UsageError> {
    let number = |flag| matches.parsed(flag, "a whole number");
    match (number("--part-id")?, number("--num-parts")?) {
        (None, None) => Ok(Part::default()),
        (Some(part), Some(parts)) => {
            Part::new(part, parts).map_err(|e| UsageError(format!("arguments --part-id, --num-parts: {e}")))
        }
        _ => Err(UsageError("the arguments --num-parts and --part-id are given together".to_owned())),
    }
}

/// The datasets named with `-d`.
pub(super) fn datasets(matches: &Matches, session: &Session) -> anyhow::Result<Vec<DatasetName>> {
    let asked = matches.texts("-d");
    if asked.is_empty() {
        return Err(UsageError("the argument -d is required".to_owned()).into());
    }
    asked.iter().map(|text| Ok(session.folders.find(text)?)).collect()
}

/// The memory to plan for, if it is given.
pub(super) fn gpu_memory_target(matches: &Matches) -> Result<Option<f64>, UsageError> {
    matches.parsed(GPU_MEMORY_TARGET.key(), "a number of gigabytes")
}

/// The planner's options.
pub(super) fn planner_options(matches: &Matches) -> anyhow::Result<PlannerOptions> {
    let mut options = PlannerOptions::default();
    if let Some(name) = matches.text("-pl") {
        options.planner = name.to_owned();
    }
    options.gpu_memory_target_gb = gpu_memory_target(matches)?;
    if let Some(name) = matches.text("-preprocessor_name") {
        options.preprocessor_name = name.to_owned();
    }
    if matches.has("-overwrite_target_spacing") {
        let spacing: Vec<f64> = matches.all_parsed("-overwrite_target_spacing", "a spacing in mm")?;
        let spacing: [f64; 3] = spacing.try_into().map_err(|found: Vec<f64>| {
            UsageError(format!(
                "argument -overwrite_target_spacing: found {} numbers, expected 3 (z y x)",
                found.len()
            ))
        })?;
        if !spacing.iter().all(|s| s.is_finite() && *s > 0.0) {
            return Err(UsageError(
                "argument -overwrite_target_spacing: spacings must be above 0".to_owned(),
            )
            .into());
        }
        options.overwrite_target_spacing = Some(spacing);
    }
    options.overwrite_plans_name = matches.text("-overwrite_plans_name").map(str::to_owned);
    options.check(&nnunet::Parts::default().planners)?;
    Ok(options)
}

/// Reads dataset.json in the folder of a raw dataset, with the variables in its paths replaced.
pub(super) fn raw_dataset_json(raw: &Path) -> anyhow::Result<DatasetJson> {
    let mut json = DatasetJson::load(&raw.join("dataset.json"))?;
    json.expand_variables(path_variable);
    Ok(json)
}

/// Takes the fingerprint of a dataset, unless there is one and `clean` is not set.
pub(super) fn fingerprint(
    dataset: &DatasetName,
    verify: bool,
    clean: bool,
    options: &ExtractOptions,
    session: &Session,
) -> anyhow::Result<()> {
    let raw = session.folders.raw()?.join(dataset.as_str());
    if verify {
        super::verify::check(&raw, session)?;
    }
    let folder = session.folders.preprocessed()?.join(dataset.as_str());
    let path = Fingerprint::path(&folder);
    if path.exists() && !clean {
        session.message(&format!("{}: kept (--clean takes it anew)", path.display()));
        return Ok(());
    }
    writable::check_folder(&folder)?;
    let json = raw_dataset_json(&raw)?;
    let cases = cases::training_cases_with_warnings(&raw, &json, &session.display)?;
    let parts = extract_part(&folder, &cases, &json, options, clean, session.ctx())
        .with_context(|| format!("fingerprint of {dataset}"))?;
    session.message(&match parts {
        Parts::Merged => format!("wrote {}", path.display()),
        Parts::Missing(missing) => format!(
            "part {} is done, missing: {missing:?}; the last one writes {}",
            options.part.number(),
            path.display()
        ),
    });
    Ok(())
}

/// Plans a dataset; returns the name of its plans.
pub(super) fn plan(
    dataset: &DatasetName,
    options: &PlannerOptions,
    session: &Session,
) -> anyhow::Result<String> {
    let raw = session.folders.raw()?.join(dataset.as_str());
    let preprocessed = session.folders.preprocessed()?.join(dataset.as_str());
    let plans = plan_dataset(dataset.as_str(), &raw, &preprocessed, options, &nnunet::Parts::default())
        .with_context(|| format!("plans of {dataset}"))?;
    let name = plans.plans_name().to_owned();
    session.message(&format!("wrote {}", preprocessed.join(format!("{name}.json")).display()));
    Ok(name)
}
