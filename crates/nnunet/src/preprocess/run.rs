//! Preprocessing a dataset for configurations of its plans, several cases at once.
//!
//! Workers are plain threads, one case each, and share the rayon pool for the work within a case; a
//! memory budget holds workers back when cases are large. Cases are independent, so the files do not
//! depend on the number of workers.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::error::PreprocessError;
use super::memory_budget::{MemoryBudget, default_limit, memory_of_case};
use super::pipeline::Preprocessor;
use super::read_case::read_case;
use super::store::{CaseFiles, StoredCase, write_case};
use crate::dataset::cases::training_cases;
use crate::dataset::{Case, DatasetJson, ImageReader, LabelManager};
use crate::files::write_atomic;
use crate::plan::{Configuration, Plans, transposed};
use crate::progress::{Cancel, Event, Progress};

/// What happens to cases that are preprocessed already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Existing {
    /// They are removed and made again, as the reference does.
    #[default]
    Replace,
    /// They stay if they are complete, fit the plans and are newer than the images, the labels and
    /// the plans they were made from.
    Keep,
}

/// How a dataset is preprocessed.
#[derive(Debug, Clone, Copy, Default)]
pub struct PreprocessOptions {
    /// Cases worked on at once; the number of threads of the rayon pool if absent.
    pub workers: Option<usize>,
    /// Bytes that the cases worked on at once may need; half of what is available if absent.
    pub max_ram: Option<u64>,
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

/// Preprocesses all training cases for one configuration into
/// `<preprocessed>/<data_identifier>`. Faulty cases do not stop the others; all are reported.
pub fn preprocess_configuration(
    folders: DatasetFolders<'_>,
    dataset: &DatasetJson,
    plans: &Plans,
    configuration: &Configuration,
    options: &PreprocessOptions,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Preprocessed, PreprocessError> {
    let job = Job {
        preprocessor: Preprocessor::new(plans, configuration)?,
        configuration,
        order: plans.transpose_forward(),
        labels: LabelManager::new(dataset)?,
        reader: ImageReader::new(Some(plans.image_reader_writer()), &dataset.file_ending, dataset.path())?,
        folder: folders.preprocessed.join(&configuration.data_identifier),
        budget: MemoryBudget::new(options.max_ram.unwrap_or_else(default_limit)),
        progress,
    };
    let cases = training_cases(folders.raw, dataset)?;
    std::fs::create_dir_all(&job.folder).map_err(|e| PreprocessError::io(&job.folder, "create it", e))?;
    let plans_file = folders.preprocessed.join(format!("{}.json", plans.plans_name()));
    let (cases, kept): (Vec<&Case>, usize) = match options.existing {
        Existing::Replace => {
            remove_stored(&job.folder)?;
            (cases.iter().collect(), 0)
        }
        Existing::Keep => {
            let missing: Vec<&Case> =
                cases.iter().filter(|case| !job.is_up_to_date(case, &plans_file)).collect();
            let kept = cases.len() - missing.len();
            (missing, kept)
        }
    };

    let stage = format!("preprocess {}", configuration.name);
    progress.event(Event::Started { stage: &stage, total: cases.len() as u64 });
    let next = AtomicUsize::new(0);
    let done = Mutex::new(0u64);
    let faults = Mutex::new(Vec::new());
    let workers = options.workers.unwrap_or_else(rayon::current_num_threads).clamp(1, cases.len().max(1));
    let work = || {
        while !cancel.is_cancelled() {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(case) = cases.get(number) else { break };
            match job.run(case) {
                Ok(()) => {
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    *done += 1;
                    progress.event(Event::Advanced { done: *done, detail: &case.identifier });
                }
                Err(fault) => {
                    let fault = format!("case {}: {fault}", case.identifier);
                    faults.lock().unwrap_or_else(PoisonError::into_inner).push((number, fault));
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(work);
        }
        work();
    });
    progress.event(Event::Finished);

    let made = done.into_inner().unwrap_or_else(PoisonError::into_inner) as usize;
    let mut faults = faults.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !faults.is_empty() {
        faults.sort();
        let faults = faults.into_iter().map(|(_, fault)| fault).collect();
        return Err(PreprocessError::Cases { faults, total: cases.len() });
    }
    if made < cases.len() {
        return Err(PreprocessError::Interrupted { done: made, total: cases.len() });
    }
    Ok(Preprocessed { made, kept })
}

/// Copies the segmentations to `<preprocessed>/gt_segmentations`, where validation looks for them.
/// Files that are there and not older than the raw ones stay.
pub fn copy_segmentations(folders: DatasetFolders<'_>, dataset: &DatasetJson) -> Result<(), PreprocessError> {
    let target_folder = folders.preprocessed.join("gt_segmentations");
    std::fs::create_dir_all(&target_folder)
        .map_err(|e| PreprocessError::io(&target_folder, "create it", e))?;
    for case in training_cases(folders.raw, dataset)? {
        let Some(label) = case.label else { continue };
        let target = target_folder.join(format!("{}{}", case.identifier, dataset.file_ending));
        if modified(&target).zip(modified(&label)).is_some_and(|(copy, raw)| copy >= raw) {
            continue;
        }
        let bytes = std::fs::read(&label).map_err(|e| PreprocessError::io(&label, "read it", e))?;
        write_atomic(&target, &bytes).map_err(|e| PreprocessError::io(&target, "write it", e))?;
    }
    Ok(())
}

/// Preprocesses all training cases for each of `configurations` and copies the segmentations.
/// Configurations that the plans do not have are skipped with a message, as the reference does.
pub fn preprocess_dataset(
    folders: DatasetFolders<'_>,
    dataset: &DatasetJson,
    plans: &Plans,
    configurations: &[&str],
    options: &PreprocessOptions,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Vec<(String, Preprocessed)>, PreprocessError> {
    let mut all = Vec::new();
    for &name in configurations {
        if !plans.has_configuration(name) {
            let known = plans.configuration_names().join(", ");
            progress.event(Event::Message(&format!(
                "configuration {name} is not in {}; it has: {known}. Skipped",
                plans.plans_name()
            )));
            continue;
        }
        let configuration = plans.configuration(name)?;
        let result =
            preprocess_configuration(folders, dataset, plans, &configuration, options, progress, cancel)?;
        all.push((name.to_owned(), result));
    }
    copy_segmentations(folders, dataset)?;
    Ok(all)
}

struct Job<'a> {
    preprocessor: Preprocessor<'a>,
    configuration: &'a Configuration,
    order: [usize; 3],
    labels: LabelManager,
    reader: ImageReader,
    folder: PathBuf,
    budget: MemoryBudget,
    progress: &'a dyn Progress,
}

impl Job<'_> {
    fn run(&self, case: &Case) -> Result<(), PreprocessError> {
        let _share = self.budget.take(self.memory_of(case));
        let raw = read_case(self.reader, case, self.progress)?;
        let preprocessed = self.preprocessor.run(raw, Some(&self.labels))?;
        write_case(&self.folder, &case.identifier, &preprocessed, &self.configuration.patch_size)
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
        let spacing = transposed(spacing, self.order);
        let output = self.preprocessor.output_shape(shape, spacing).unwrap_or(shape);
        let voxels = |shape: [usize; 3]| shape.iter().fold(1u64, |all, &v| all.saturating_mul(v as u64));
        let channels = self.configuration.channels() as u64;
        memory_of_case(channels, voxels(shape), voxels(output))
    }

    fn is_up_to_date(&self, case: &Case, plans_file: &Path) -> bool {
        let files = CaseFiles::new(&self.folder, &case.identifier);
        let Some(made) = [&files.data, &files.segmentation, &files.properties]
            .into_iter()
            .map(|path| modified(path))
            .collect::<Option<Vec<_>>>()
            .and_then(|times| times.into_iter().min())
        else {
            return false;
        };
        let older = |path: &Path| modified(path).is_some_and(|time| time <= made);
        let sources = case.images.iter().chain(&case.label).map(PathBuf::as_path).chain([plans_file]);
        if !sources.into_iter().all(older) {
            return false;
        }
        let Ok(stored) = StoredCase::open(&self.folder, &case.identifier) else { return false };
        let Ok(properties) = stored.properties() else { return false };
        let shape = properties.shape_after_cropping_and_before_resampling;
        let spacing = transposed(properties.spacing, self.order);
        let expected = self.preprocessor.output_shape(shape, spacing);
        stored.channels() == self.configuration.channels()
            && expected.is_ok_and(|shape| shape == stored.shape())
            && properties.class_locations.is_some()
    }
}

fn modified(path: &Path) -> Option<std::time::SystemTime> {
    std::fs::metadata(path).and_then(|file| file.modified()).ok()
}

/// Removes what an earlier run left: arrays, properties and half-written files, nothing else.
fn remove_stored(folder: &Path) -> Result<(), PreprocessError> {
    let failed = |e| PreprocessError::io(folder, "remove the cases of an earlier run from it", e);
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let stored = [".b2nd", ".pkl", ".npz", ".npy"].iter().any(|ending| name.ends_with(ending));
        let unfinished = name.starts_with('.') && name.ends_with(".tmp");
        if (stored || unfinished) && path.is_file() {
            std::fs::remove_file(&path).map_err(|e| PreprocessError::io(&path, "remove it", e))?;
        }
    }
    Ok(())
}
