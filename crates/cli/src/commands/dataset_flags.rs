//! Flags that the verbs on raw and preprocessed datasets share, and what they turn into.

use nnunet::dataset::Part;
use nnunet::plan::PlannerOptions;
use nnunet::{DatasetName, FingerprintJob, FingerprintState, PlanJob};

use crate::flags::{Flag, Group, Matches};
use crate::messages::UsageError;
use crate::session::Session;

pub(super) const DATASETS: Flag =
    Flag::many(&["-d"], "DATASET", "one or more datasets, by id (4) or name (Dataset004_Hippocampus)")
        .within(Group::Input)
        .required("-d DATASET ...");
pub(super) const CLEAN: Flag =
    Flag::switch(&["--clean"], "extract the fingerprint again; without this, an existing one is kept");
pub(super) const VERIFY: Flag = Flag::switch(
    &["--verify_dataset_integrity"],
    "verify the dataset first, list all its faults, and stop if there are any",
)
.within(Group::Input);
pub(super) const THREADS: Flag =
    Flag::many(&["-np", "--threads"], "N", "number of threads (default: all cores, or $nnUNet_def_n_proc)")
        .within(Group::Speed);
pub(super) const MAX_RAM: Flag = Flag::one(
    &["--max-ram"],
    "GB",
    "main memory that the cases may take, in 10^9 bytes: fewer are processed at once if they do not fit \
         together; exits before starting if any case exceeds the limit (default: half of what is available; \
         a single case may take all that this process can have)",
)
.within(Group::Speed);
/// The flags of work that several machines divide among themselves.
pub(super) const PART_FLAGS: &[Flag] = &[
    Flag::one(
        &["--num-parts"],
        "N",
        "divide the cases into N parts, for several machines that share the folders",
    )
    .within(Group::Speed),
    Flag::one(&["--part-id"], "N", "which part this is, from 0").within(Group::Speed),
];
pub(super) const NO_PROGRESS_BAR: Flag =
    Flag::switch(&["--no_pbar"], "no progress; same as --progress none").within(Group::General);
pub(super) const VERBOSE: Flag =
    Flag::switch(&["--verbose"], "a line for every case instead of a bar").within(Group::General);
pub(super) const FINGERPRINT_EXTRACTOR: Flag =
    Flag::one(&["-fpe"], "NAME", "DatasetFingerprintExtractor, the only one");
pub(super) const CONFIGURATIONS: Flag = Flag::many(
    &["-c"],
    "CONFIGURATION",
    "configurations to preprocess (default: 2d 3d_fullres 3d_lowres); those that a dataset does not \
         have are skipped",
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
        "name of the preprocessor to write into the plans (default: DefaultPreprocessor)",
    ),
    Flag::many(
        &["-overwrite_target_spacing"],
        "MM",
        "target spacing (z y x) of 3d_fullres, instead of the planned one",
    ),
    Flag::one(
        &["-overwrite_plans_name"],
        "NAME",
        "name of the plans file, instead of the planner's; use it with the flags above",
    )
    .within(Group::Output),
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
    asked.iter().map(|text| Ok(session.project.dataset(text)?)).collect()
}

/// The memory to plan for, if it is given.
pub(super) fn gpu_memory_target(matches: &Matches) -> Result<Option<f64>, UsageError> {
    matches.parsed(GPU_MEMORY_TARGET.key(), "a number of gigabytes")
}

/// The planner's options.
pub(super) fn planner_options(matches: &Matches, session: &Session) -> anyhow::Result<PlannerOptions> {
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
    options.check(&session.project.registry().data.planners)?;
    Ok(options)
}

/// Takes the fingerprint of a dataset and says what became of it.
pub(super) fn fingerprint(job: &FingerprintJob, session: &Session) -> anyhow::Result<()> {
    let taken = session.project.fingerprint(job, session.ctx())?;
    let path = taken.path.display();
    if matches!(taken.state, FingerprintState::Written) {
        session.wrote(&taken.path);
    }
    session.message(&match taken.state {
        FingerprintState::Kept => format!("{path}: kept (--clean extracts it again)"),
        FingerprintState::Written => format!("wrote {path}"),
        FingerprintState::PartTaken { part, missing } => {
            format!("part {part} is done, missing: {missing:?}; the last one writes {path}")
        }
    });
    Ok(())
}

/// Plans a dataset; returns the name of its plans.
pub(super) fn plan(job: &PlanJob, session: &Session) -> anyhow::Result<String> {
    let planned = session.project.plan(job)?;
    session.message(&format!("wrote {}", planned.path.display()));
    session.wrote(&planned.path);
    Ok(planned.plans.plans_name().to_owned())
}
