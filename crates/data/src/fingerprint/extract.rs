//! Extracting the fingerprint: every case is read once, cropped in place, its foreground sampled.
//!
//! Several cases are worked on at once; what stays of a case is its shape, its spacing and the distinct values
//! drawn. The result depends neither on the number of workers nor on the parts that several machines make.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::crop::nonzero_box;
use super::intensity::{Pool, Sampler, Samples, TOTAL_SAMPLES};
use super::{Fingerprint, FingerprintError};
use nnunet_base::Ctx;
use nnunet_base::hint::Hint;
use nnunet_base::one_case::one_case;
use nnunet_base::progress::{Event, Interrupted, Progress};
use nnunet_base::workers::Workers;
use nnunet_dataset::{
    Case, DatasetJson, ImageFormats, ImageReader, LabelledImage, Part, channels_fault, image_formats,
    warn_of_missing_spacing_files,
};
use nnunet_volume::SpacingMm;

/// How the cases are gone through.
#[derive(Debug, Clone)]
pub struct ExtractOptions {
    /// The cases to look at; all by default.
    pub part: Part,
    /// Formats that images may have.
    pub formats: ImageFormats,
    /// Cases that share the 10^8 draws, where the cases are a part of a dataset whose others are elsewhere; by default
    /// the cases themselves.
    pub sharing_cases: Option<usize>,
}

impl Default for ExtractOptions {
    fn default() -> Self {
        Self { part: Part::default(), formats: image_formats(), sharing_cases: None }
    }
}

/// What stays of a case.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CaseFacts {
    /// Spacing (z, y, x) in mm.
    pub spacing: SpacingMm,
    /// Shape (z, y, x) after cropping.
    pub shape_after_crop: [usize; 3],
    /// Voxels after cropping / voxels before.
    pub relative_size: f64,
}

/// The fingerprint of a part of the cases, to be merged with the others.
#[derive(Debug, PartialEq)]
pub struct PartialFingerprint {
    /// One for each case of the part, in order.
    pub cases: Vec<CaseFacts>,
    /// The draws of all cases together, for each channel.
    pub samples: Vec<Samples>,
}

/// Takes the fingerprint of all training cases.
///
/// # Errors
/// No cases; cases that cannot be read or whose files do not fit together, all of them named; no
/// foreground anywhere; interrupted.
pub fn extract(cases: &[Case], json: &DatasetJson, ctx: Ctx<'_>) -> Result<Fingerprint, FingerprintError> {
    merge(vec![extract_partial(cases, json, &ExtractOptions::default(), ctx)?])
}

/// Looks at the cases of a part of `cases`.
///
/// # Errors
/// As [`extract`], but for foreground, which other parts may have.
pub fn extract_partial(
    cases: &[Case],
    json: &DatasetJson,
    options: &ExtractOptions,
    ctx: Ctx<'_>,
) -> Result<PartialFingerprint, FingerprintError> {
    if cases.is_empty() {
        return Err(FingerprintError::NoCases);
    }
    let reader =
        ImageReader::for_example(&options.formats, json, cases[0].images.first().map(PathBuf::as_path))?;
    warn_of_missing_spacing_files(&reader, cases, ctx.progress);
    let channels = json.num_channels();
    // Of every case as many as if all were looked at here.
    let samples = TOTAL_SAMPLES / options.sharing_cases.unwrap_or(cases.len()).max(1);
    let cases: Vec<&Case> = options.part.share(cases).collect();
    let needs: Vec<(&str, u64)> =
        cases.iter().map(|case| (case.identifier.as_str(), memory_of(case, &reader, channels))).collect();
    let workers = Workers::plan(&needs, None, ctx)?;
    ctx.event(Event::Started { stage: "fingerprint", total: cases.len() as u64 });
    let gathered = Mutex::new(Gathered {
        done: 0,
        pools: (0..channels).map(|_| Pool::default()).collect(),
        results: vec![None; cases.len()],
    });
    let work = |number: usize| {
        let case = cases[number];
        let result = one_case(|| extract_case(case, &reader, channels, samples, ctx.progress))
            .map_err(|fault| format!("case {}: {fault}", case.identifier));
        // A worker that panicked has left this whole: additions happen after its work.
        let mut gathered = gathered.lock().unwrap_or_else(PoisonError::into_inner);
        gathered.done += 1;
        ctx.event(Event::Advanced { done: gathered.done, detail: &case.identifier });
        gathered.results[number] = Some(result.map(|(facts, samples)| {
            gathered.pools.iter_mut().zip(samples).for_each(|(pool, samples)| pool.add(samples));
            facts
        }));
    };
    workers.run(work, ctx.cancel);
    ctx.event(Event::Finished);

    let Gathered { pools, results, .. } = gathered.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut facts = Vec::with_capacity(cases.len());
    let mut faults = Vec::new();
    for result in results {
        match result.ok_or(Interrupted)? {
            Ok(case) => facts.push(case),
            Err(fault) => faults.push(fault),
        }
    }
    if !faults.is_empty() {
        return Err(FingerprintError::Cases(faults, Hint::VerifyDataset));
    }
    Ok(PartialFingerprint { cases: facts, samples: pools.into_par_iter().map(Pool::into_samples).collect() })
}

/// What the workers have found so far.
struct Gathered {
    done: u64,
    /// One for each channel.
    pools: Vec<Pool>,
    /// One for each case, or the fault that it has.
    results: Vec<Option<Result<CaseFacts, String>>>,
}

/// The fingerprint of all parts together, their cases in turns as [`Part`] deals them out. It is that of [`extract`] on all
/// cases, to the bit, if every part was drawn for the number of all cases.
///
/// # Errors
/// No part has a voxel of foreground.
pub fn merge(parts: Vec<PartialFingerprint>) -> Result<Fingerprint, FingerprintError> {
    // The cases were dealt out one by one.
    let longest = parts.iter().map(|part| part.cases.len()).max().unwrap_or(0);
    let facts: Vec<CaseFacts> =
        (0..longest).flat_map(|i| parts.iter().filter_map(move |part| part.cases.get(i)).copied()).collect();
    let channels = parts.first().map_or(0, |part| part.samples.len());
    let mut pools: Vec<Pool> = (0..channels).map(|_| Pool::default()).collect();
    for part in parts {
        pools.iter_mut().zip(part.samples).for_each(|(pool, samples)| pool.add(samples));
    }
    let foreground_intensities =
        pools.into_par_iter().map(|pool| pool.into_samples().statistics()).collect::<Vec<_>>();
    let seen = foreground_intensities.iter().any(Option::is_some);
    let foreground_intensities = foreground_intensities
        .into_iter()
        .enumerate()
        .map(|(channel, statistics)| {
            statistics.ok_or(match seen {
                true => FingerprintError::AbsentChannel { channel },
                false => FingerprintError::NoForeground,
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(Fingerprint {
        spacings: facts.iter().map(|case| case.spacing.along_axes()).collect(),
        shapes_after_crop: facts.iter().map(|case| case.shape_after_crop).collect(),
        foreground_intensities,
        median_relative_size_after_cropping: median(facts.iter().map(|case| case.relative_size).collect()),
    })
}

/// Bytes that a case needs at most.
fn memory_of(case: &Case, reader: &ImageReader, channels: usize) -> u64 {
    let first = case.images.first().and_then(|path| reader.read_header(path).ok());
    // A case that cannot be read needs nothing.
    let Some((_, shape, _)) = first else { return 0 };
    let voxels = shape.iter().fold(1u64, |all, &edge| all.saturating_mul(edge as u64));
    // Images and the file being read, f32 each, the labels, the foreground (4), how often each of its voxels was
    // drawn (4), and the values with their counts (8, and 8 while equal ones are joined).
    voxels.saturating_mul(4 * (channels as u64 + 2) + 24)
}

fn extract_case(
    case: &Case,
    reader: &ImageReader,
    channels: usize,
    samples: usize,
    progress: &dyn Progress,
) -> Result<(CaseFacts, Vec<Samples>), String> {
    let images = reader.read_case_images(case).map_err(|e| e.to_string())?;
    for warning in images.warnings_of_their_own() {
        progress.event(Event::Warning(&warning.to_string()));
    }
    let found = images.data.channels();
    if found != channels {
        return Err(channels_fault(&case.images, found, channels));
    }
    let label = case.label.as_ref().ok_or("no label file")?;
    let labels = reader.read(label).map_err(|e| e.to_string())?;
    let shape = images.data.shape();
    if let Some(path) = case.images.first() {
        let image = LabelledImage { path, shape, geometry: &images.geometry };
        for warning in image.warnings(label, &labels) {
            progress.event(Event::Warning(&warning.to_string()));
        }
    }
    let segmentation = labels.volume;
    if segmentation.shape() != shape {
        return Err(format!(
            "{}: shape {:?} (z, y, x), but the images of case {} have {shape:?}",
            label.display(),
            segmentation.shape(),
            case.identifier
        ));
    }
    let crop = nonzero_box(&images.data);
    let mut sampler = Sampler::default();
    let mut foreground = Vec::new();
    let drawn = (0..channels)
        .map(|c| {
            let channel = images.data.channel(c);
            foreground.clear();
            // Nothing is drawn from a channel that the case does not have.
            if case.absent.contains(&c) {
                return Samples::default();
            }
            for row in crop.rows(shape) {
                let labelled = channel[row.clone()].iter().zip(&segmentation.data()[row]);
                foreground.extend(labelled.filter(|(_, label)| **label > 0.0).map(|(value, _)| *value));
            }
            sampler.sample(&foreground, samples)
        })
        .collect();
    let voxels = |shape: [usize; 3]| shape.iter().product::<usize>() as f64;
    let facts = CaseFacts {
        spacing: images.geometry.spacing_zyx(),
        shape_after_crop: crop.shape(),
        relative_size: voxels(crop.shape()) / voxels(shape),
    };
    Ok((facts, drawn))
}

/// `numpy.median` of a list that is not empty.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nnunet_base::progress::{Cancel, Silent};
    use nnunet_dataset::cases::training_cases;
    use nnunet_testkit::phantom::{NiftiFile, PhantomDataset, Voxels};
    use nnunet_testkit::shared::shared_path;
    use std::path::Path;

    fn take(folder: &Path) -> Result<Fingerprint, FingerprintError> {
        let json = DatasetJson::load(&folder.join("dataset.json"))?;
        extract(&training_cases(folder, &json)?, &json, Ctx::new(&Silent, &Cancel::new()))
    }

    #[test]
    fn dataset004_equals_the_reference() {
        let (Some(data), Some(golden)) = (
            shared_path("data/Dataset004_Hippocampus"),
            shared_path("reference/dataset004_plans/dataset_fingerprint.json"),
        ) else {
            return;
        };
        let start = std::time::Instant::now();
        let ours = take(&data).unwrap();
        eprintln!("fingerprint of Dataset004: {:?}", start.elapsed());
        let reference = Fingerprint::load(&golden).unwrap();
        assert_eq!(ours.spacings, reference.spacings);
        assert_eq!(ours.shapes_after_crop, reference.shapes_after_crop);
        assert_eq!(ours.median_relative_size_after_cropping, reference.median_relative_size_after_cropping);
        let (a, b) = (ours.foreground_intensities[0], reference.foreground_intensities[0]);
        assert_eq!((a.min, a.max, a.median), (b.min, b.max, b.median));
        assert_eq!((a.percentile_00_5, a.percentile_99_5), (b.percentile_00_5, b.percentile_99_5));
        // The reference sums 10^8 values in f32.
        for (a, b) in [(a.mean, b.mean), (a.std, b.std)] {
            assert!((a - b).abs() < 1e-5 * b, "{a} {b}");
        }
    }

    #[test]
    fn crops_and_keeps_the_order_of_cases_for_any_number_of_threads() {
        let root = tempfile::tempdir().unwrap();
        let phantom =
            PhantomDataset { cases: 6, channels: 2, spacing: [2.5, 1.0, 1.2], ..Default::default() };
        let folder = phantom.write(root.path(), "Dataset001_Balls");
        let first = take(&folder).unwrap();
        assert_eq!(first.spacings[0], [2.5, 1.0, f64::from(1.2f32)]);
        assert_eq!(first.foreground_intensities.len(), 2);
        assert!(first.median_relative_size_after_cropping < 0.9);
        assert!(first.foreground_intensities[0].min >= 50.0, "the zero margin is not foreground");
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(pool.install(|| take(&folder)).unwrap(), first);
        }
        let path = root.path().join("fingerprint.json");
        first.save(&path).unwrap();
        assert_eq!(Fingerprint::load(&path).unwrap(), first);
    }

    #[test]
    fn all_faulty_cases_are_named_and_cancelling_writes_nothing() {
        let root = tempfile::tempdir().unwrap();
        let folder = PhantomDataset { cases: 3, ..Default::default() }.write(root.path(), "Dataset001_Balls");
        NiftiFile::new([2, 2, 2], [1.; 3], Voxels::U8(vec![0; 8]))
            .write(folder.join("labelsTr/ball_000.nii.gz"));
        std::fs::write(folder.join("imagesTr/ball_002_0000.nii.gz"), b"no image").unwrap();
        let message = take(&folder).unwrap_err().to_string();
        assert!(message.starts_with("2 cases cannot be used"), "{message}");
        assert!(
            message.contains("ball_000.nii.gz: shape [2, 2, 2]") && message.contains("ball_002_0000"),
            "{message}"
        );

        let json = DatasetJson::load(&folder.join("dataset.json")).unwrap();
        let cancel = Cancel::new();
        cancel.cancel();
        let result = extract(&training_cases(&folder, &json).unwrap(), &json, Ctx::new(&Silent, &cancel));
        assert!(matches!(result, Err(FingerprintError::Interrupted(_))));
    }

    #[test]
    fn a_dataset_without_foreground_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let folder = PhantomDataset { cases: 1, ..Default::default() }.write(root.path(), "Dataset001_Balls");
        NiftiFile::new([3, 3, 3], [1.; 3], Voxels::I16(vec![7; 27]))
            .write(folder.join("imagesTr/ball_000_0000.nii.gz"));
        NiftiFile::new([3, 3, 3], [1.; 3], Voxels::U8(vec![0; 27]))
            .write(folder.join("labelsTr/ball_000.nii.gz"));
        assert!(matches!(take(&folder), Err(FingerprintError::NoForeground)));
        assert!(
            Fingerprint::load(&folder.join("dataset.json"))
                .unwrap_err()
                .to_string()
                .contains("shapes_after_crop")
        );
    }

    #[test]
    fn the_median_is_numpys() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
