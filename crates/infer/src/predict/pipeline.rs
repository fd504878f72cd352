//! Many cases through one network: reading and preprocessing, the network and the export overlap.
//!
//! ```text
//! reader threads -> bounded queue -> network (this thread) -> bounded queue -> export threads
//! ```
//! A case that fails does not stop the others; all failures are reported at the end. Prediction runs it on images as the
//! user has them, the validation of a training on preprocessed cases: what differs is said by [`Cases`].

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};
use half::f16;
use nnunet_volume::{ChannelVolume, Volume};

use super::error::PredictError;
use super::export::Exporter;
use super::memory;
use super::predictor::Predictor;
use super::probabilities::write_probabilities;
use crate::model::ModelSpec;
use nnunet_base::Ctx;
use nnunet_base::files::temporary_stem;
use nnunet_base::hint::Hint;
use nnunet_base::one_case::one_case;
use nnunet_base::progress::{Event, Interrupted};
use nnunet_data::preprocess::{Properties, StoredFormat, write_previous_stage};

/// The cases of a run, counted from 0.
pub trait Cases: Sync {
    /// How many there are.
    fn count(&self) -> usize;

    /// Identifier of a case, which names its segmentation.
    fn identifier(&self, case: usize) -> &str;

    /// How large a case is, from the headers of its files. `None` where these cannot be read; the case then fails by
    /// itself when it is read.
    fn size(&self, case: usize) -> Option<CaseSize>;

    /// Reads a case; called from several threads.
    ///
    /// # Errors
    /// Files that cannot be read or do not fit the network.
    fn read(&self, case: usize, ctx: Ctx<'_>) -> Result<PreparedCase, PredictError>;
}

/// How large a case is: what its need of memory follows from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseSize {
    /// Shape (z, y, x) of the image.
    pub image: [usize; 3],
    /// Shape (z, y, x) of the network's input.
    pub on_network: [usize; 3],
    /// Shapes (z, y, x) of the grids of a cascade's next stages.
    pub next_stages: Vec<[usize; 3]>,
    /// Bytes that reading and preprocessing take.
    pub preparation: u64,
}

/// A case as the network takes it.
#[derive(Debug)]
pub struct PreparedCase {
    /// Input of the network (c, z, y, x).
    pub data: ChannelVolume<f32>,
    /// The way back to the image's own grid.
    pub properties: Properties,
    /// The stages of a cascade that take this case's segmentation as input.
    pub next_stages: Vec<NextStage>,
}

impl PreparedCase {
    fn size(&self) -> CaseSize {
        CaseSize {
            image: self.properties.shape_before_cropping,
            on_network: self.data.shape(),
            next_stages: self.next_stages.iter().map(|next| next.shape).collect(),
            // It is over.
            preparation: 0,
        }
    }
}

/// Where a segmentation goes that a cascade's next stage takes as input.
#[derive(Debug, Clone, PartialEq)]
pub struct NextStage {
    /// The folder.
    pub folder: PathBuf,
    /// Shape (z, y, x) of the case as preprocessed for the next stage: the grid of the segmentation.
    pub shape: [usize; 3],
    /// Patch size of the next stage, which decides the chunks of the file.
    pub patch_size: Vec<usize>,
    /// Number of foreground labels, which decides the type of the values.
    pub foreground_labels: usize,
    /// Format of the next stage's cases.
    pub format: StoredFormat,
}

impl NextStage {
    fn write(&self, case: &str, segmentation: &Volume<u16>) -> Result<(), PredictError> {
        let Self { folder, patch_size, foreground_labels, format, .. } = self;
        Ok(write_previous_stage(folder, case, segmentation, patch_size, *foreground_labels, *format)?)
    }
}

/// What is to be done with the cases.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// What is being done, in one word for the names of stages, e.g. `predict`.
    pub verb: &'static str,
    /// Folder of the segmentations, which exists.
    pub output: PathBuf,
    /// Whether to write probabilities (`.npz`) and properties (`.pkl`) too.
    pub save_probabilities: bool,
    /// Cases read at once.
    pub reading_threads: usize,
    /// Cases exported at once.
    pub export_threads: usize,
    /// Bytes of main memory that may be taken; if absent, cases overlap within what is available, and have to fit into
    /// what the process can have at all.
    pub max_ram: Option<u64>,
    /// What happens where a case does not fit into the memory even alone.
    pub too_large: TooLarge,
}

/// What happens where a case does not fit into the memory even alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooLarge {
    /// Nothing is begun.
    Refused,
    /// That case fails, the others are made.
    FailsAlone,
}

impl Pipeline {
    /// Segments all cases with `predictor` and returns how many.
    ///
    /// # Errors
    /// Cases that need more memory than there is; cases that failed (all are named, the others are done); interrupted.
    pub fn run(
        &self,
        predictor: &mut Predictor<'_>,
        cases: &dyn Cases,
        ctx: Ctx<'_>,
    ) -> Result<usize, PredictError> {
        let spec = predictor.spec().clone();
        let overlap = memory::plan(predictor, cases, self, ctx)?;
        let names: Vec<&str> = (0..cases.count()).map(|case| cases.identifier(case)).collect();
        remove_leftovers(&self.output, spec.file_ending(), &names);
        let job = Job {
            spec: &spec,
            pipeline: self,
            cases,
            faults: Mutex::new(Faults::default()),
            made: AtomicUsize::new(0),
            ctx,
        };
        if overlap {
            job.overlapping(predictor);
        } else {
            job.one_by_one(predictor);
        }
        if ctx.is_cancelled() {
            return Err(Interrupted.into());
        }
        let mut faults = job.faults.into_inner().unwrap_or_else(PoisonError::into_inner);
        if !faults.lines.is_empty() {
            faults.lines.sort();
            return Err(PredictError::Cases {
                faults: faults.lines,
                total: cases.count(),
                hint: faults.hint,
            });
        }
        Ok(job.made.into_inner())
    }
}

/// What went wrong with cases.
#[derive(Default)]
struct Faults {
    /// A line for each case.
    lines: Vec<String>,
    /// What to do about the first one that has a hint.
    hint: Option<Hint>,
}

/// One run of a [`Pipeline`].
struct Job<'a> {
    spec: &'a ModelSpec,
    pipeline: &'a Pipeline,
    cases: &'a dyn Cases,
    faults: Mutex<Faults>,
    made: AtomicUsize,
    ctx: Ctx<'a>,
}

impl Job<'_> {
    /// Reading, the network and the export of different cases at the same time.
    fn overlapping(&self, predictor: &mut Predictor<'_>) {
        let count = self.cases.count();
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let (prepared_out, prepared): (Sender<(usize, PreparedCase)>, _) = bounded(1);
            let (exports, export_in): (Sender<Export>, Receiver<Export>) = bounded(1);
            for _ in 0..self.pipeline.reading_threads.clamp(1, count.max(1)) {
                let (out, next) = (prepared_out.clone(), &next);
                scope.spawn(move || {
                    loop {
                        let case = next.fetch_add(1, Ordering::Relaxed);
                        if case >= count || self.ctx.is_cancelled() {
                            return;
                        }
                        // Nobody listens any more when the run ends early.
                        if let Some(prepared) = self.read(case)
                            && out.send((case, prepared)).is_err()
                        {
                            return;
                        }
                    }
                });
            }
            drop(prepared_out);
            for _ in 0..self.pipeline.export_threads.clamp(1, count.max(1)) {
                let inbox = export_in.clone();
                scope.spawn(move || inbox.into_iter().for_each(|export| self.export(&export)));
            }
            drop(export_in);
            for (number, (case, prepared)) in prepared.iter().enumerate() {
                if let Some(export) = self.predict(predictor, number, case, prepared) {
                    // Export threads only end when this end is dropped.
                    let _ = exports.send(export);
                }
                if self.ctx.is_cancelled() {
                    break;
                }
            }
            // A reader that waits for room in the queue has to learn that nobody listens.
            drop(prepared);
        });
    }

    /// One case after the other, with the least memory.
    fn one_by_one(&self, predictor: &mut Predictor<'_>) {
        for case in 0..self.cases.count() {
            if self.ctx.is_cancelled() {
                return;
            }
            let prepared = self.read(case);
            if let Some(export) = prepared.and_then(|p| self.predict(predictor, case, case, p)) {
                self.export(&export);
            }
        }
    }

    fn read(&self, case: usize) -> Option<PreparedCase> {
        self.or_fault(case, one_case(|| self.cases.read(case, self.ctx)))
    }

    /// Runs the network over a case, the `number`th that it gets. `None` if it failed or was stopped.
    fn predict(
        &self,
        predictor: &mut Predictor<'_>,
        number: usize,
        case: usize,
        prepared: PreparedCase,
    ) -> Option<Export> {
        self.or_fault(case, self.check_limit(predictor, &prepared))?;
        let PreparedCase { data, properties, next_stages } = prepared;
        let total = predictor.passes(data.shape()) as u64;
        let (verb, identifier) = (self.pipeline.verb, self.cases.identifier(case));
        let stage = format!("{verb} {identifier} ({} of {})", number + 1, self.cases.count());
        self.ctx.event(Event::Started { stage: &stage, total });
        let mut done = 0;
        let mut advance = |passes: usize| {
            done += passes as u64;
            self.ctx.event(Event::Advanced { done, detail: "" });
        };
        let cancel = self.ctx.cancel;
        let result = one_case(|| {
            if self.pipeline.save_probabilities {
                predictor.logits(&data, cancel, &mut advance).map(Output::Logits)
            } else {
                let grids: Vec<_> = next_stages.iter().map(|next| next.shape).collect();
                let found = predictor.segmentations(&data, &properties, &grids, cancel, &mut advance)?;
                Ok(Output::Labels(found.0, found.1))
            }
        });
        self.ctx.event(Event::Finished);
        if matches!(result, Err(PredictError::Panicked(_))) {
            self.or_fault(case, predictor.renew())?;
        }
        let output = self.or_fault(case, result)?;
        Some(Export { case, output, properties, next_stages })
    }

    /// Checks the limit of memory again, now that the size of the case is certain.
    fn check_limit(&self, predictor: &Predictor<'_>, case: &PreparedCase) -> Result<(), PredictError> {
        let need = predictor.memory(&case.size(), self.pipeline.save_probabilities)?;
        Ok(memory::check(predictor, &need, self.pipeline.max_ram)?)
    }

    fn export(&self, export: &Export) {
        let case = self.cases.identifier(export.case);
        let written = one_case(|| export.write(self.spec, case, self.pipeline));
        if self.or_fault(export.case, written).is_some() {
            self.made.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes what went wrong with a case. An interruption is no fault of it.
    fn or_fault<T>(&self, case: usize, result: Result<T, PredictError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(PredictError::Interrupted(_)) => None,
            Err(error) => {
                let line = format!("case {}: {error}", self.cases.identifier(case));
                let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
                faults.lines.push(line);
                faults.hint = faults.hint.take().or_else(|| Hint::of(&error).cloned());
                None
            }
        }
    }
}

/// What the network made of a case.
enum Output {
    /// The segmentation on the image's own grid, and those on the grids of the next stages.
    Labels(Volume<u16>, Vec<Volume<u16>>),
    /// For probabilities.
    Logits(ChannelVolume<f16>),
}

/// A predicted case on its way to the disk.
struct Export {
    case: usize,
    output: Output,
    properties: Properties,
    next_stages: Vec<NextStage>,
}

impl Export {
    fn write(&self, spec: &ModelSpec, case: &str, pipeline: &Pipeline) -> Result<(), PredictError> {
        let stem = pipeline.output.join(case);
        match &self.output {
            Output::Labels(labels, for_next) => {
                write_labels(spec, labels, &self.properties, &stem)?;
                for (next, labels) in self.next_stages.iter().zip(for_next) {
                    next.write(case, labels)?;
                }
            }
            Output::Logits(logits) => {
                write_with_probabilities(spec, logits, &self.properties, &stem)?;
                for next in &self.next_stages {
                    let labels = Exporter::new(spec).segmentation_for_next_stage(
                        logits,
                        &self.properties,
                        next.shape,
                    )?;
                    next.write(case, &labels)?;
                }
            }
        }
        Ok(())
    }
}

/// Exports `logits` to `<stem>` with the ending of the dataset's files, with probabilities to `<stem>.npz` and
/// `<stem>.pkl`. The segmentation comes last: where it is, the case is complete.
fn write_with_probabilities(
    spec: &ModelSpec,
    logits: &ChannelVolume<f16>,
    properties: &Properties,
    stem: &Path,
) -> Result<(), PredictError> {
    let exporter = Exporter::new(spec);
    let (segmentation, probabilities) = exporter.segmentation_and_probabilities(logits, properties)?;
    let path = with_ending(stem, ".npz");
    write_probabilities(&path, &probabilities).map_err(|source| PredictError::Io { path, source })?;
    properties.write(&with_ending(stem, ".pkl"))?;
    write_labels(spec, &segmentation, properties, stem)
}

/// Writes a segmentation on the original grid to `<stem>` with the ending of the dataset's files, with the reader that
/// the plans name.
fn write_labels(
    spec: &ModelSpec,
    segmentation: &Volume<u16>,
    properties: &Properties,
    stem: &Path,
) -> Result<(), PredictError> {
    let path = with_ending(stem, spec.file_ending());
    Ok(spec.image_reader()?.write_labels(&path, segmentation, &properties.geometry)?)
}

/// Removes what killed runs left of these cases: files that were not complete have hidden names.
fn remove_leftovers(folder: &Path, file_ending: &str, cases: &[&str]) {
    let endings = [file_ending, ".npz", ".pkl"];
    let files = cases.iter().flat_map(|case| endings.map(|ending| format!("{case}{ending}")));
    // Long names are shortened, so that the case's own name is not in them.
    let stems: HashSet<String> = files.map(|file| temporary_stem(&file).into_owned()).collect();
    let names: HashSet<&str> = cases.iter().copied().collect();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().and_then(|name| name.strip_prefix('.')) else { continue };
        let unfinished = name.ends_with(".tmp");
        let of_a_case = name
            .match_indices('.')
            .map(|(dot, _)| &name[..dot])
            .any(|start| names.contains(start) || stems.contains(start));
        if unfinished && of_a_case {
            // It is only in the way; if it cannot be removed, the prediction can still be made.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// `stem` with `ending` behind it; stems may contain dots.
pub(super) fn with_ending(stem: &Path, ending: &str) -> PathBuf {
    let mut name = stem.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_of_the_cases_go_and_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let long = |last: char| format!("{}{last}", "x".repeat(239));
        let cases = ["a.b".to_owned(), long('a')];
        let unfinished = |file: &str| nnunet_base::files::temporary_name(&folder.path().join(file));
        let go = ["a.b.nii.gz".to_owned(), format!("{}.nii.gz", long('a')), format!("{}.npz", long('a'))];
        let stay = ["a.nii.gz".to_owned(), format!("{}.nii.gz", long('b'))];
        let (go, stay) = (go.map(|file| unfinished(&file)), stay.map(|file| unfinished(&file)));
        for path in go.iter().chain(&stay) {
            std::fs::write(path, "half").unwrap();
        }
        remove_leftovers(folder.path(), ".nii.gz", &[&cases[0], &cases[1]]);
        assert!(go.iter().all(|path| !path.exists()));
        assert!(stay.iter().all(|path| path.exists()));
    }
}
