//! Many cases through one network: reading and preprocessing, the network and the export overlap.
//!
//! ```text
//! reader threads -> bounded queue -> network (this thread) -> bounded queue -> export threads
//! ```
//! A case that fails does not stop the others; all failures are reported at the end. Prediction runs it on images as the
//! user has them, the validation of a training on preprocessed cases: what differs is said by [`Cases`].

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::case_files::{Export, Output, remove_leftovers};
use super::cases::{Cases, PreparedCase};
use super::error::PredictError;
use super::memory::{self, Extras, TooLarge, Workload};
use super::predictor::Predictor;
use super::quality::{Agreement, QualityControl};
use crate::model::ModelSpec;
use nnunet_base::Ctx;
use nnunet_base::hint::Hint;
use nnunet_base::one_case::one_case;
use nnunet_base::progress::{Event, Interrupted};

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
    /// What happens where a case does not fit into the memory even alone.
    pub too_large: TooLarge,
}

impl Pipeline {
    /// Segments all cases with `predictor` and returns how many. Where cases cannot overlap within the memory that `ctx` allows, or
    /// without a limit within what is available, they come one after the other.
    ///
    /// # Errors
    /// Cases that need more memory than there is; cases that failed (all are named, the others are done); interrupted.
    pub fn run(
        &self,
        predictor: &mut Predictor<'_>,
        cases: &dyn Cases,
        ctx: Ctx<'_>,
    ) -> Result<usize, PredictError> {
        self.run_with_quality(predictor, cases, None, ctx)
    }

    /// As [`run`](Self::run); `quality` is told of every case how far its passes agree.
    pub(super) fn run_with_quality(
        &self,
        predictor: &mut Predictor<'_>,
        cases: &dyn Cases,
        quality: Option<&QualityControl<'_>>,
        ctx: Ctx<'_>,
    ) -> Result<usize, PredictError> {
        let spec = predictor.spec().clone();
        let extras = Extras { probabilities: self.save_probabilities, quality: quality.is_some() };
        let overlap = memory::plan(predictor, cases, &self.workload(extras), ctx)?;
        let names: Vec<&str> = (0..cases.count()).map(|case| cases.identifier(case)).collect();
        remove_leftovers(&self.output, spec.file_ending(), &names);
        let job = Job {
            spec: &spec,
            pipeline: self,
            cases,
            quality,
            extras,
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

    /// What the need of memory follows from, apart from the cases.
    fn workload(&self, extras: Extras) -> Workload {
        Workload {
            extras,
            reading: self.reading_threads,
            exporting: self.export_threads,
            too_large: self.too_large,
        }
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
    quality: Option<&'a QualityControl<'a>>,
    extras: Extras,
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
                scope.spawn(move || inbox.into_iter().for_each(|export| self.export(export)));
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
                self.export(export);
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
        let mut agreement = self.quality.map(|_| Agreement::new(self.spec));
        let result = one_case(|| match (self.pipeline.save_probabilities, &mut agreement) {
            (true, None) => predictor.logits(&data, cancel, &mut advance).map(Output::Logits),
            (true, Some(agreement)) => {
                let logits = predictor.logits_with_agreement(&data, agreement, cancel, &mut advance)?;
                Ok(Output::Logits(logits))
            }
            (false, agreement) => {
                let grids: Vec<_> = next_stages.iter().map(|next| next.shape).collect();
                let agreement = agreement.as_mut();
                let found =
                    predictor.segmentations(&data, &properties, &grids, agreement, cancel, &mut advance)?;
                Ok(Output::Labels(found.0, found.1))
            }
        });
        self.ctx.event(Event::Finished);
        if matches!(result, Err(PredictError::Panicked(_))) {
            self.or_fault(case, predictor.renew())?;
        }
        let output = self.or_fault(case, result)?;
        Some(Export { case, output, properties, next_stages, agreement })
    }

    /// Checks the limit of memory again, now that the size of the case is certain.
    fn check_limit(&self, predictor: &Predictor<'_>, case: &PreparedCase) -> Result<(), PredictError> {
        let need = predictor.memory(&case.size(), self.extras)?;
        Ok(memory::check(predictor, &need, self.ctx.memory_limit())?)
    }

    fn export(&self, export: Export) {
        let (number, identifier) = (export.case, self.cases.identifier(export.case));
        let measured = self.quality.map_or(&[][..], QualityControl::classes);
        let written = one_case(|| {
            let volumes = export.write(self.spec, identifier, &self.pipeline.output, measured)?;
            match (self.quality, export.agreement) {
                (Some(quality), Some(agreement)) => quality.note(identifier, agreement, &volumes),
                _ => Ok(()),
            }
        });
        if self.or_fault(number, written).is_some() {
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
