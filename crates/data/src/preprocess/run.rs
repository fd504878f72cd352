//! Preprocessing a dataset for configurations of its plans, several cases at once.
//!
//! Cases are independent, so the files depend neither on the number of workers nor on the parts that several
//! machines make.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::error::PreprocessError;
use super::leftovers::clean;
use super::made_from::Recipe;
use super::memory::memory_of_case;
use super::pipeline::Preprocessor;
use super::read_case::{read_case, warn_of_undeclared};
use super::store::write_case;
use crate::parts::Parts;
use crate::plan::{Configuration, Plans, transposed};
use nnunet_base::Ctx;
use nnunet_base::files::write_atomic;
use nnunet_base::lock::{FolderLock, Hold, LockError, LockRequest, lock_beside};
use nnunet_base::one_case::one_case;
use nnunet_base::progress::{Event, Interrupted};
use nnunet_base::workers::Workers;
use nnunet_dataset::cases::{training_cases, training_cases_with_warnings};
use nnunet_dataset::{Case, DatasetJson, ImageReader, LabelManager, Part, warn_of_missing_spacing_files};

/// What happens to cases that are preprocessed already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Existing {
    /// They are removed and made again, as the reference does.
    #[default]
    Replace,
    /// Those stay that are complete and were made, by this version of the program, from the very files and by
    /// everything in the plans that decides how a case comes out. Others are made again.
    Keep,
}

/// How a dataset is preprocessed.
#[derive(Debug, Clone, Default)]
pub struct PreprocessOptions {
    /// Cases worked on at once; [`Ctx::threads`] if absent.
    pub workers: Option<usize>,
    /// The cases to make; all by default.
    pub part: Part,
    /// What happens to cases that are there already.
    pub existing: Existing,
}

/// What was done for one configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preprocessed {
    /// Cases that were made.
    pub made: usize,
    /// Cases that were kept.
    pub kept: usize,
}

/// The folders of a dataset.
#[derive(Debug, Clone, Copy)]
pub struct DatasetFolders<'a> {
    /// nnUNet_raw/DatasetXXX
    pub raw: &'a Path,
    /// nnUNet_preprocessed/DatasetXXX
    pub preprocessed: &'a Path,
}

/// Preprocesses the training cases for one configuration into `<preprocessed>/<data_identifier>`. What plans and dataset name
/// is among `parts`.
/// Faulty cases do not stop the others; all are reported.
///
/// The folder is locked meanwhile. If a training or another run holds it, this one ends at once, unless no case has to be made.
pub fn preprocess_configuration(
    folders: DatasetFolders<'_>,
    dataset: &DatasetJson,
    plans: &Plans,
    configuration: &Configuration,
    options: &PreprocessOptions,
    parts: &Parts,
    ctx: Ctx<'_>,
) -> Result<Preprocessed, PreprocessError> {
    let labels = plans.label_manager(dataset, parts)?;
    let reader = plans.reader(dataset, parts)?;
    let job = Job {
        dataset,
        preprocessor: Preprocessor::new(plans, configuration, parts)?,
        configuration,
        order: plans.transpose_forward(),
        recipe: Recipe::new(plans, configuration, dataset, &labels, &reader),
        labels,
        reader,
        folder: folders.preprocessed.join(&configuration.data_identifier),
        ctx,
    };
    let all = training_cases_with_warnings(folders.raw, dataset, ctx.progress)?;
    std::fs::create_dir_all(&job.folder).map_err(|e| PreprocessError::io(&job.folder, "create it", e))?;
    let share: Vec<&Case> = options.part.share(&all).collect();
    let total = share.len();
    let cases: Vec<&Case> = match options.existing {
        Existing::Replace => share,
        Existing::Keep => {
            share.into_iter().filter(|case| !job.recipe.is_finished(&job.folder, case)).collect()
        }
    };
    let kept = total - cases.len();
    if !cases.is_empty() {
        warn_of_missing_spacing_files(&job.reader, &all, ctx.progress);
    }
    let needs: Vec<(&str, u64)> =
        cases.iter().map(|case| (case.identifier.as_str(), job.memory_of(case))).collect();
    let workers = Workers::plan(&needs, options.workers, ctx)?;
    let belongs: BTreeSet<&str> = all.iter().map(|case| case.identifier.as_str()).collect();
    let remade: BTreeSet<&str> = cases.iter().map(|case| case.identifier.as_str()).collect();
    // Where nothing is to be made, whoever uses the folder is left alone.
    let _lock = match job.lock(options.part) {
        Err(_) if cases.is_empty() => None,
        lock => {
            let lock = lock?;
            clean(&job.folder, &belongs, &remade, options.part.of() == 1)?;
            lock
        }
    };

    if kept > 0 {
        let finished = format!("preprocess {}: {kept} finished cases are kept", configuration.name);
        ctx.event(Event::Message(&finished));
    }
    let stage = format!("preprocess {}", configuration.name);
    ctx.event(Event::Started { stage: &stage, total: cases.len() as u64 });
    let done = Mutex::new(0u64);
    let faults = Mutex::new(Vec::new());
    let work = |number: usize| {
        let case = cases[number];
        match one_case(|| job.run(case)) {
            Ok(()) => {
                let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                *done += 1;
                ctx.event(Event::Advanced { done: *done, detail: &case.identifier });
            }
            Err(fault) => {
                let fault = format!("case {}: {fault}", case.identifier);
                faults.lock().unwrap_or_else(PoisonError::into_inner).push((number, fault));
            }
        }
    };
    workers.run(work, ctx.cancel);
    ctx.event(Event::Finished);

    let made = done.into_inner().unwrap_or_else(PoisonError::into_inner) as usize;
    let mut faults = faults.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !faults.is_empty() {
        faults.sort();
        let faults = faults.into_iter().map(|(_, fault)| fault).collect();
        return Err(PreprocessError::Cases { faults, total: cases.len() });
    }
    if made < cases.len() {
        return Err(PreprocessError::Interrupted { done: made, total: cases.len(), source: Interrupted });
    }
    Ok(Preprocessed { made, kept })
}

/// Copies the segmentations to `<preprocessed>/gt_segmentations`, where validation looks for them.
/// Files that are there and not older than the raw ones stay.
pub fn copy_segmentations(
    folders: DatasetFolders<'_>,
    dataset: &DatasetJson,
    part: Part,
) -> Result<(), PreprocessError> {
    let target_folder = folders.preprocessed.join("gt_segmentations");
    std::fs::create_dir_all(&target_folder)
        .map_err(|e| PreprocessError::io(&target_folder, "create it", e))?;
    for case in part.share(&training_cases(folders.raw, dataset)?) {
        let Some(label) = &case.label else { continue };
        let target = target_folder.join(format!("{}{}", case.identifier, dataset.file_ending));
        if modified(&target).zip(modified(label)).is_some_and(|(copy, raw)| copy >= raw) {
            continue;
        }
        let bytes = std::fs::read(label).map_err(|e| PreprocessError::io(label, "read it", e))?;
        write_atomic(&target, &bytes).map_err(|e| PreprocessError::io(&target, "write it", e))?;
    }
    Ok(())
}

/// Preprocesses the training cases for each of `configurations` and copies the segmentations.
/// Configurations that the plans do not have are skipped with a message, as the reference does.
///
/// # Errors
/// As [`preprocess_configuration`]; a configuration whose name is probably misspelt, or none that the plans have. Nothing
/// is preprocessed then.
pub fn preprocess_dataset(
    folders: DatasetFolders<'_>,
    dataset: &DatasetJson,
    plans: &Plans,
    configurations: &[&str],
    options: &PreprocessOptions,
    parts: &Parts,
    ctx: Ctx<'_>,
) -> Result<Vec<(String, Preprocessed)>, PreprocessError> {
    let mut all = Vec::new();
    let (there, missing) = plans.choose(configurations)?;
    let known = plans.configuration_names().join(", ");
    for name in missing {
        ctx.event(Event::Message(&format!(
            "configuration {name} is not in {}; it has: {known}. Skipped",
            plans.plans_name()
        )));
    }
    for name in there {
        let configuration = plans.configuration(name)?;
        let result = preprocess_configuration(folders, dataset, plans, &configuration, options, parts, ctx)?;
        all.push((name.to_owned(), result));
    }
    copy_segmentations(folders, dataset, options.part)?;
    Ok(all)
}

struct Job<'a> {
    dataset: &'a DatasetJson,
    preprocessor: Preprocessor<'a>,
    configuration: &'a Configuration,
    order: [usize; 3],
    recipe: Recipe,
    labels: LabelManager,
    reader: ImageReader,
    folder: PathBuf,
    ctx: Ctx<'a>,
}

impl Job<'_> {
    /// Keeps trainings and other preprocessing out of the folder. Parts are made side by side.
    fn lock(&self, part: Part) -> Result<Option<FolderLock>, LockError> {
        let request = LockRequest {
            folder: &self.folder,
            file: &lock_beside(&self.folder),
            hold: if part.of() == 1 { Hold::Alone } else { Hold::Together },
            what: &format!("preprocessing of {}", self.configuration.name),
            advice: "cases must not be replaced meanwhile: wait for it to end or stop it",
        };
        request.take(self.ctx.progress)
    }

    fn run(&self, case: &Case) -> Result<(), PreprocessError> {
        // As they are before they are read: a file that changes meanwhile makes the case outdated.
        let files = case.stamps();
        let raw = read_case(&self.reader, case, self.ctx.progress)?;
        if let (Some(path), Some(segmentation)) = (&case.label, &raw.segmentation) {
            warn_of_undeclared(path, segmentation, &self.labels, self.ctx.progress);
        }
        let run = self.preprocessor.run(raw, Some(&self.labels));
        let mut preprocessed = run.map_err(|error| error.naming(&case.images))?;
        preprocessed.properties.annotated_labels =
            self.dataset.annotated_in(&case.identifier).map(<[String]>::to_vec);
        write_case(&self.folder, &case.identifier, &preprocessed, &self.configuration.patch_size)?;
        self.recipe.note(&self.folder, case, files)
    }

    /// Bytes that a case needs at most.
    fn memory_of(&self, case: &Case) -> u64 {
        let first = case.images.first().and_then(|path| self.reader.read_header(path).ok());
        let Some((_, shape, spacing)) = first else {
            // Whatever it is, 16 times the size of the files is a fair guess.
            let files = case.images.iter().filter_map(|path| std::fs::metadata(path).ok());
            return files.map(|file| file.len().saturating_mul(16)).sum();
        };
        let shape = transposed(shape, self.order);
        let spacing = spacing.transposed(self.order);
        let output = self.preprocessor.output_shape(shape, spacing).unwrap_or(shape);
        let voxels = |shape: [usize; 3]| shape.iter().fold(1u64, |all, &v| all.saturating_mul(v as u64));
        let channels = self.configuration.channels() as u64;
        memory_of_case(channels, voxels(shape), voxels(output))
    }
}

fn modified(path: &Path) -> Option<std::time::SystemTime> {
    std::fs::metadata(path).and_then(|file| file.modified()).ok()
}
