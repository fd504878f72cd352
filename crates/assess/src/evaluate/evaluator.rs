//! Evaluation of many cases, in parallel. The result does not depend on the number of threads.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use nnunet_base::Ctx;
use nnunet_base::one_case::{Panicked, named_case, one_case};
use nnunet_base::progress::{Event, Interrupted};
use nnunet_base::workers::Workers;
use nnunet_dataset::reader::ImageReader;
use nnunet_dataset::{DatasetJson, LabelManager, LabelOrRegion, ReadImage};
use nnunet_image_io::ImageWarning;
use nnunet_pyformats::json::Json;
use nnunet_volume::Volume;

use super::EvaluateError;
use super::added::AddedMetrics;
use super::case::{CaseFacts, ClassCase, has_spacing};
use super::metric::Metric;
use super::overlap::{Overlap, overlaps};
use super::summary::{CaseMetrics, Metrics, Summary};

/// What is evaluated: which classes, read how, by which metrics.
///
/// ```
/// # use nnunet_assess::evaluate::{Evaluator, choose, metrics};
/// # use nnunet_dataset::{ImageReader, LabelOrRegion, image_formats};
/// # let root = std::path::Path::new("dataset.json");
/// let reader = ImageReader::new(&image_formats(), Some("SimpleITKIO"), ".nii.gz", root)?;
/// let evaluator = Evaluator::new(reader, vec![LabelOrRegion::Label(1)])
///     .with_metrics(choose(["hd95,nsd@2"], &metrics())?);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Evaluator {
    reader: ImageReader,
    classes: Vec<LabelOrRegion>,
    ignore_label: Option<i32>,
    metrics: Vec<Arc<dyn Metric>>,
    /// By name of the prediction's file, whether each class was annotated in its reference.
    annotated: BTreeMap<String, Vec<bool>>,
}

/// [`Metric::counts`] of a case by class and metric.
type Counts = Vec<Vec<Vec<f64>>>;

/// What one case is worth.
struct CaseResult {
    metrics: CaseMetrics,
    counts: Counts,
    overlaps: Vec<Overlap>,
    /// Whether the file says how large a voxel is.
    has_spacing: bool,
}

impl Evaluator {
    /// Dice, IoU and counts of `classes` in segmentations that `reader` reads.
    pub fn new(reader: ImageReader, classes: Vec<LabelOrRegion>) -> Self {
        Self { reader, classes, ignore_label: None, metrics: Vec::new(), annotated: BTreeMap::new() }
    }

    /// Leaves out voxels whose reference is this label.
    #[must_use]
    pub fn ignoring(self, ignore_label: Option<i32>) -> Self {
        Self { ignore_label, ..self }
    }

    /// Adds metrics beyond the reference's.
    #[must_use]
    pub fn with_metrics(self, metrics: Vec<Arc<dyn Metric>>) -> Self {
        Self { metrics, ..self }
    }

    /// Leaves out of each case the classes that were not annotated in its reference, as dataset.json says in
    /// `annotated_labels`: their counts are 0 and their metrics NaN. `labels` are those of which the classes are the
    /// foreground.
    #[must_use]
    pub fn of_annotated(self, dataset: &DatasetJson, labels: &LabelManager, cases: &[String]) -> Self {
        let of = |case: &String| {
            let classes = labels.annotated_foreground(dataset.annotated_in(case)?, dataset);
            Some((format!("{case}{}", dataset.file_ending), classes))
        };
        Self { annotated: cases.iter().filter_map(of).collect(), ..self }
    }

    /// Evaluates pairs of (reference, prediction) files; writes nothing.
    ///
    /// # Errors
    /// No classes; files that cannot be read or differ in shape, all of them named; interrupted.
    pub fn evaluate(&self, pairs: &[(PathBuf, PathBuf)], ctx: Ctx<'_>) -> Result<Summary, EvaluateError> {
        self.evaluate_changed(pairs, &|_| (), ctx)
    }

    /// The same within the memory that `ctx` allows for the cases that are worked on at once.
    ///
    /// # Errors
    /// As [`Evaluator::evaluate`]; a case needs more memory than there may be.
    pub fn evaluate_within_limit(
        &self,
        pairs: &[(PathBuf, PathBuf)],
        ctx: Ctx<'_>,
    ) -> Result<Summary, EvaluateError> {
        let needs = self.needs(pairs);
        let needs: Vec<(&str, u64)> = needs.iter().map(|(name, need)| (name.as_str(), *need)).collect();
        let workers = Workers::plan(&needs, None, ctx)?;
        self.evaluate_all(pairs, &|_| (), &workers, ctx)
    }

    /// Evaluates predictions as they would be after `change`, which gets each as it was read; writes nothing.
    ///
    /// # Errors
    /// As [`Evaluator::evaluate`].
    pub fn evaluate_changed(
        &self,
        pairs: &[(PathBuf, PathBuf)],
        change: &(dyn Fn(&mut Volume<f32>) + Sync),
        ctx: Ctx<'_>,
    ) -> Result<Summary, EvaluateError> {
        let needs = self.needs(pairs);
        let needs: Vec<(&str, u64)> = needs.iter().map(|(name, need)| (name.as_str(), *need)).collect();
        self.evaluate_all(pairs, change, &Workers::within_available(&needs, ctx), ctx)
    }

    /// Name and bytes that each pair needs at most.
    fn needs(&self, pairs: &[(PathBuf, PathBuf)]) -> Vec<(String, u64)> {
        // Both images, f32 each, and a decompressed file of 8 bytes per voxel; metrics take turns.
        let metrics = self.metrics.iter().map(|metric| metric.bytes_per_voxel()).max().unwrap_or(0);
        let need = |prediction: &Path| match self.reader.read_header(prediction) {
            Ok((_, shape, _)) => {
                shape.iter().fold(16 + metrics, |all: u64, &edge| all.saturating_mul(edge as u64))
            }
            // A case that cannot be read needs nothing.
            Err(_) => 0,
        };
        pairs.iter().map(|(_, path)| (path.display().to_string(), need(path))).collect()
    }

    fn evaluate_all(
        &self,
        pairs: &[(PathBuf, PathBuf)],
        change: &(dyn Fn(&mut Volume<f32>) + Sync),
        workers: &Workers,
        ctx: Ctx<'_>,
    ) -> Result<Summary, EvaluateError> {
        if self.classes.is_empty() {
            return Err(EvaluateError::NoClasses);
        }
        ctx.event(Event::Started { stage: "evaluate", total: pairs.len() as u64 });
        let done = AtomicU64::new(0);
        let results: Vec<OnceLock<Result<CaseResult, String>>> =
            pairs.iter().map(|_| OnceLock::new()).collect();
        let work = |case: usize| {
            let (reference, prediction) = &pairs[case];
            let result = named_case(prediction.display(), || self.case(reference, prediction, change, ctx));
            // Each number is worked on once.
            let _ = results[case].set(result);
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            let name = prediction.file_name().unwrap_or_default().to_string_lossy();
            ctx.event(Event::Advanced { done, detail: &name });
        };
        workers.run(work, ctx.cancel);
        ctx.event(Event::Finished);
        let mut cases = Vec::new();
        let mut faults = Vec::new();
        for result in results {
            match result.into_inner().ok_or(Interrupted)? {
                Ok(case) => cases.push(case),
                Err(fault) => faults.push(fault),
            }
        }
        if !faults.is_empty() {
            return Err(EvaluateError::Cases(faults));
        }
        self.warn(&cases, ctx);
        let sections = self.pooled(&cases);
        let summary = Summary::new(cases.into_iter().map(|case| case.metrics).collect());
        Ok(Summary { sections, ..summary })
    }

    fn case(
        &self,
        reference: &Path,
        prediction: &Path,
        change: &(dyn Fn(&mut Volume<f32>) + Sync),
        ctx: Ctx<'_>,
    ) -> Result<CaseResult, String> {
        let uses_spacing = self.metrics.iter().any(|metric| metric.uses_spacing());
        let read = |path: &Path, decides_spacing: bool| {
            let read = self.reader.read(path).map_err(|error| error.to_string())?;
            let without_spacing = read.warnings.iter().filter(|warning| {
                decides_spacing
                    && matches!(
                        warning,
                        ImageWarning::NoSpacing
                            | ImageWarning::NoSpacingFile { .. }
                            | ImageWarning::ZeroSpacing { .. }
                    )
            });
            for warning in read.voxel_warnings().chain(without_spacing) {
                ctx.event(Event::Warning(&format!("{}: {warning}", path.display())));
            }
            Ok::<_, String>(read)
        };
        let (mut seen, truth) = (read(prediction, false)?, read(reference, uses_spacing)?);
        let how: Vec<String> =
            seen.displacements_from(&truth).iter().map(|displacement| displacement.to_string()).collect();
        change(&mut seen.volume);
        let (found, expected) = (seen.volume.shape(), truth.volume.shape());
        if found == expected && !how.is_empty() {
            ctx.event(Event::Warning(&format!(
                "{}: {}, that of the reference segmentation {}; they are compared voxel by voxel all the same: check that \
                 they overlap",
                prediction.display(),
                how.join(" and "),
                reference.display()
            )));
        }
        let counted = overlaps(truth.volume.data(), seen.volume.data(), &self.classes, self.ignore_label);
        let name = prediction.file_name().unwrap_or_default().to_string_lossy();
        let annotated = self.annotated.get(&*name).map(Vec::as_slice);
        let is_annotated = |class: usize| annotated.is_none_or(|classes| classes[class]);
        let mut overlaps = match counted {
            Some(counts) if found == expected => counts,
            _ => {
                return Err(format!(
                    "{}: shape {found:?} (z, y, x), but the reference segmentation {} has {expected:?}",
                    prediction.display(),
                    reference.display()
                ));
            }
        };
        for (_, overlap) in overlaps.iter_mut().enumerate().filter(|(class, _)| !is_annotated(*class)) {
            *overlap = Overlap::default();
        }
        let (metrics, counts) =
            self.classes_of_case(&truth, &seen, prediction, &overlaps, &is_annotated, ctx);
        let metrics = CaseMetrics {
            reference_file: reference.display().to_string(),
            prediction_file: prediction.display().to_string(),
            metrics,
        };
        Ok(CaseResult { metrics, counts, overlaps, has_spacing: has_spacing(&truth) })
    }

    /// Metrics and counts of every class. A metric that fails, even by a panic, is NaN and a warning.
    fn classes_of_case(
        &self,
        reference: &ReadImage,
        prediction: &ReadImage,
        prediction_file: &Path,
        overlaps: &[Overlap],
        is_annotated: &dyn Fn(usize) -> bool,
        ctx: Ctx<'_>,
    ) -> (Vec<(LabelOrRegion, Metrics)>, Counts) {
        let facts = CaseFacts {
            reference,
            prediction,
            prediction_file,
            classes: &self.classes,
            ignore_label: self.ignore_label,
        };
        let mut failures = BTreeSet::new();
        let mut failed = |failure: Failure| {
            failures.insert(failure.0);
        };
        let mut classes = Vec::with_capacity(overlaps.len());
        let mut all_counts = Vec::with_capacity(overlaps.len());
        for (number, overlap) in overlaps.iter().enumerate() {
            let case = ClassCase::new(&facts, number, *overlap);
            let mut added = Vec::new();
            let mut counts = Vec::new();
            for metric in &self.metrics {
                let keys = metric.keys();
                if !is_annotated(number) {
                    added.extend(keys.into_iter().map(|key| (key, f64::NAN)));
                    counts.push(Vec::new());
                    continue;
                }
                let values = one_case(|| metric.measure(&case).map_err(Failure)).unwrap_or_else(|failure| {
                    failed(failure);
                    vec![f64::NAN; keys.len()]
                });
                added.extend(keys.into_iter().zip(values));
                counts.push(one_case(|| metric.counts(&case).map_err(Failure)).unwrap_or_else(|failure| {
                    failed(failure);
                    Vec::new()
                }));
            }
            let metrics = Metrics { added: AddedMetrics::from_entries(added), ..Metrics::from(*overlap) };
            classes.push((self.classes[number].clone(), metrics));
            all_counts.push(counts);
        }
        for failure in failures {
            ctx.event(Event::Warning(&format!("{}: not all metrics: {failure}", prediction_file.display())));
        }
        (classes, all_counts)
    }

    /// The sections that metrics make of counts summed over all cases, by their names.
    fn pooled(&self, cases: &[CaseResult]) -> Vec<(String, Json)> {
        let mut sections: Vec<(String, Vec<(String, Json)>)> = Vec::new();
        for (m, metric) in self.metrics.iter().enumerate() {
            for (c, class) in self.classes.iter().enumerate() {
                let mut sums: Vec<f64> = Vec::new();
                for counts in cases.iter().map(|case| &case.counts[c][m]).filter(|counts| !counts.is_empty())
                {
                    sums.resize(counts.len(), 0.0);
                    sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
                }
                let Some((name, of_class)) = metric.pooled(&sums) else { continue };
                let entry = (class.key(), of_class);
                match sections.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, entries)) => entries.push(entry),
                    None => sections.push((name, vec![entry])),
                }
            }
        }
        sections.into_iter().map(|(name, entries)| (name, Json::object(entries))).collect()
    }

    /// One line for each way in which metrics are not what they usually are.
    fn warn(&self, cases: &[CaseResult], ctx: Ctx<'_>) {
        if self.metrics.is_empty() {
            return;
        }
        let flat = cases.iter().filter(|case| !case.has_spacing).count();
        if flat > 0 && self.metrics.iter().any(|metric| metric.uses_spacing()) {
            ctx.event(Event::Warning(&format!(
                "{flat} pictures do not say how large a pixel is: it counts as 1 mm wide, high and deep"
            )));
        }
        let kinds = [
            (false, false, "in neither segmentation", "hd and hd95 are inf, ratios NaN"),
            (true, false, "in the reference only", "distances are inf, ratios 0"),
            (false, true, "in the prediction only", "distances are inf, ratios 0"),
        ];
        for (in_reference, in_prediction, place, values) in kinds {
            let found: Vec<String> = cases
                .iter()
                .flat_map(|case| {
                    let file = Path::new(&case.metrics.prediction_file).file_name().unwrap_or_default();
                    let annotated = self.annotated.get(&*file.to_string_lossy());
                    let classes = self.classes.iter().zip(&case.overlaps).enumerate();
                    let known = move |number: usize| annotated.is_none_or(|classes| classes[number]);
                    classes.filter(move |(number, _)| known(*number)).filter_map(
                        move |(_, (class, overlap))| {
                            let alike =
                                (overlap.n_ref() > 0, overlap.n_pred() > 0) == (in_reference, in_prediction);
                            alike.then(|| format!("{} of {}", class.key(), file.to_string_lossy()))
                        },
                    )
                })
                .collect();
            if let [first, ..] = found.as_slice() {
                let more =
                    if found.len() > 1 { format!(" and {} more", found.len() - 1) } else { String::new() };
                ctx.event(Event::Warning(&format!("class {first}{more}: {place}, where {values}")));
            }
        }
    }
}

/// Why a metric has no value.
struct Failure(String);

impl From<Panicked> for Failure {
    fn from(panicked: Panicked) -> Self {
        Self(panicked.to_string())
    }
}
