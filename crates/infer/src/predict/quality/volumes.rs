//! Volumes of the classes in the training set, and how far from them a new case is.

use nnunet_volume::SpacingMm;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use nnunet_base::Ctx;
use nnunet_base::files::write_atomic;
use nnunet_base::one_case::one_case;
use nnunet_base::progress::{Event, Interrupted};
use nnunet_base::workers::Workers;
use nnunet_dataset::image_geometry::voxel_ml;
use nnunet_dataset::{DatasetJson, ImageReader, LabelOrRegion};
use nnunet_volume::Volume;

use crate::predict::error::PredictError;

/// Name of the file of volumes in a model's folder.
pub const TRAINING_VOLUMES: &str = "label_volumes.tsv";

/// Fewest cases with a class whose volumes say what is typical.
const FEWEST: usize = 5;
/// Smallest spread of logarithms of volumes: where the training set hardly varies, a tenth is still nothing odd.
const SMALLEST_SPREAD: f64 = 0.1;
/// Share of the training set that must have a class for its absence to be odd.
const ALWAYS: f64 = 0.95;

/// Volumes of the foreground classes in the training set.
///
/// The file is tab-separated: `case`, then the volume of each class in ml under its name.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingVolumes {
    names: Vec<String>,
    /// For each case its name and the volume of each class in ml.
    cases: Vec<(String, Vec<f64>)>,
}

/// The volumes of a case in ml, or why its file cannot be read.
type Measured = Result<Vec<f64>, String>;

/// How a volume compares with the training set's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Typicality {
    /// There is nothing to compare with.
    Unknown,
    /// The distance of the logarithm from the median in robust standard deviations, and the ratio to the median.
    Distance {
        /// Signed, in units of 1.4826 times the median absolute deviation.
        deviations: f64,
        /// Volume divided by the median volume.
        ratio: f64,
    },
    /// The class was not found, though this share of the training set, at least 0.95, has it.
    Missing(f64),
}

impl TrainingVolumes {
    /// Measures the segmentations `files` for the classes of `json`. Files that cannot be read are left out with one warning for all.
    ///
    /// # Errors
    /// Interrupted.
    pub fn measure(
        files: &[PathBuf],
        json: &DatasetJson,
        classes: &[LabelOrRegion],
        reader: &ImageReader,
        ctx: Ctx<'_>,
    ) -> Result<Self, PredictError> {
        let bytes = |path: &PathBuf| {
            let (_, shape, _) = reader.read_header(path).ok()?;
            Some(4 * shape.iter().fold(1u64, |all, edge| all.saturating_mul(*edge as u64)))
        };
        let names: Vec<String> = files.iter().map(|path| case_of(path, &json.file_ending)).collect();
        let needs: Vec<(&str, u64)> =
            names.iter().zip(files).map(|(name, path)| (name.as_str(), bytes(path).unwrap_or(0))).collect();
        ctx.event(Event::Started { stage: "volumes of the training set", total: files.len() as u64 });
        let found: Mutex<Vec<Option<Measured>>> = Mutex::new(vec![None; files.len()]);
        Workers::within_available(&needs, ctx).run(
            |number| {
                let read = || -> Measured {
                    let image = reader.read(&files[number]).map_err(|error| error.to_string())?;
                    let labels = image.volume.data().iter().map(|value| *value as i32);
                    Ok(volumes_of(labels, image.geometry.spacing_zyx(), classes))
                };
                let measured = one_case(read);
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                found[number] = Some(measured);
                let done = found.iter().flatten().count() as u64;
                ctx.event(Event::Advanced { done, detail: &names[number] });
            },
            ctx.cancel,
        );
        ctx.event(Event::Finished);
        let (mut cases, mut faults) = (Vec::new(), Vec::new());
        for (name, measured) in
            names.into_iter().zip(found.into_inner().unwrap_or_else(PoisonError::into_inner))
        {
            match measured.ok_or(Interrupted)? {
                Ok(volumes) => cases.push((name, volumes)),
                Err(fault) => faults.push(fault),
            }
        }
        if !faults.is_empty() {
            let (count, of) = (faults.len(), files.len());
            ctx.warning(&format!(
                "volumes of {count} of {of} training cases are not compared with: {}",
                faults.join("; ")
            ));
        }
        Ok(Self { names: class_names(json, classes), cases })
    }

    /// Reads the file that [`save`](Self::save) wrote, for the classes of `json`. `None` if it has other classes.
    ///
    /// # Errors
    /// It cannot be read or is no such table.
    pub fn load(
        path: &Path,
        json: &DatasetJson,
        classes: &[LabelOrRegion],
    ) -> Result<Option<Self>, std::io::Error> {
        let text = std::fs::read_to_string(path)?;
        let mut lines = text.lines();
        let names = class_names(json, classes);
        if lines.next() != Some(&heading(&names)) {
            return Ok(None);
        }
        let broken = |line: &str| {
            let text = format!("{line:?} is not the name of a case and {} volumes", names.len());
            std::io::Error::new(std::io::ErrorKind::InvalidData, text)
        };
        let case = |line: &str| {
            let mut fields = line.split('\t');
            let case = fields.next().unwrap_or_default().to_owned();
            let volumes: Result<Vec<f64>, _> = fields.map(str::parse::<f64>).collect();
            match volumes {
                Ok(volumes) if volumes.len() == names.len() && volumes.iter().all(|v| *v >= 0.0) => {
                    Ok((case, volumes))
                }
                _ => Err(broken(line)),
            }
        };
        let cases = lines.map(case).collect::<Result<_, _>>()?;
        Ok(Some(Self { names, cases }))
    }

    /// Writes the file.
    ///
    /// # Errors
    /// What the system says.
    pub fn save(&self, path: &Path) -> std::io::Result<()> {
        let mut text = heading(&self.names);
        text.push('\n');
        for (case, volumes) in &self.cases {
            let volumes: Vec<String> = volumes.iter().map(|ml| format!("\t{ml}")).collect();
            text.push_str(&format!("{case}{}\n", volumes.concat()));
        }
        write_atomic(path, text.as_bytes())
    }

    /// How many cases were measured.
    pub fn cases(&self) -> usize {
        self.cases.len()
    }

    /// How `ml` compares with the volumes of foreground class `class`.
    pub(super) fn compare(&self, class: usize, ml: f64) -> Typicality {
        let mut present: Vec<f64> = self
            .cases
            .iter()
            .filter_map(|(_, volumes)| volumes.get(class).copied())
            .filter(|v| *v > 0.0)
            .collect();
        let share = present.len() as f64 / self.cases.len() as f64;
        if self.cases.len() < FEWEST {
            return Typicality::Unknown;
        }
        if ml <= 0.0 {
            return if share >= ALWAYS { Typicality::Missing(share) } else { Typicality::Unknown };
        }
        if present.len() < FEWEST {
            return Typicality::Unknown;
        }
        present.iter_mut().for_each(|v| *v = v.ln());
        let middle = median(&mut present);
        present.iter_mut().for_each(|v| *v = (*v - middle).abs());
        let spread = (1.4826 * median(&mut present)).max(SMALLEST_SPREAD);
        Typicality::Distance { deviations: (ml.ln() - middle) / spread, ratio: ml / middle.exp() }
    }
}

fn heading(names: &[String]) -> String {
    std::iter::once("case").chain(names.iter().map(String::as_str)).collect::<Vec<_>>().join("\t")
}

/// The names of foreground classes in a dataset.json.
pub(super) fn class_names(json: &DatasetJson, classes: &[LabelOrRegion]) -> Vec<String> {
    let name = |class: &LabelOrRegion| {
        let name = class.name_in(json).map_or_else(|| class.key(), str::to_owned);
        // They are headings of tables.
        name.replace(['\t', '\n', '\r'], " ")
    };
    classes.iter().map(name).collect()
}

fn case_of(path: &Path, ending: &str) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.strip_suffix(ending).unwrap_or(&name).to_owned()
}

/// Volume in ml of each of `classes` in a segmentation with voxels of `spacing` in mm; in thousands of pixels for pictures, which have
/// no size.
pub(in crate::predict) fn class_volumes(
    labels: &Volume<u16>,
    spacing: SpacingMm,
    classes: &[LabelOrRegion],
) -> Vec<f64> {
    volumes_of(labels.data().iter().copied().map(i32::from), spacing, classes)
}

fn volumes_of(labels: impl Iterator<Item = i32>, spacing: SpacingMm, classes: &[LabelOrRegion]) -> Vec<f64> {
    let mut counts: Vec<u64> = Vec::new();
    for label in labels {
        // Files may hold anything; no class has such a value.
        let label = usize::from(u16::try_from(label).unwrap_or(0));
        if label >= counts.len() {
            counts.resize(label + 1, 0);
        }
        counts[label] += 1;
    }
    let voxel = voxel_ml(spacing);
    let of = |value: &i32| usize::try_from(*value).ok().and_then(|value| counts.get(value)).copied();
    classes.iter().map(|class| class.values().iter().filter_map(of).sum::<u64>() as f64 * voxel).collect()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() % 2 {
        1 => values[half],
        _ => (values[half - 1] + values[half]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use nnunet_dataset::image_geometry::PICTURE_SPACING;
    use nnunet_pyformats::json::Json;

    use super::*;

    fn json() -> DatasetJson {
        let text = r#"{"channel_names": {"0": "CT"}, "file_ending": ".nii.gz",
            "labels": {"background": 0, "whole": [1, 2], "core": 2}, "regions_class_order": [1, 2]}"#;
        DatasetJson::from_json(Json::parse(text).unwrap(), Path::new("dataset.json")).unwrap()
    }

    fn classes() -> [LabelOrRegion; 2] {
        [LabelOrRegion::Region(vec![1, 2]), LabelOrRegion::Label(2)]
    }

    #[test]
    fn regions_take_their_labels_together() {
        let labels = Volume::new([1, 2, 3], vec![0u16, 1, 2, 2, 7, 0]).unwrap();
        assert_eq!(class_volumes(&labels, SpacingMm::new([2.0, 5.0, 100.0]), &classes()), [3.0, 2.0]);
        assert_eq!(class_volumes(&labels, PICTURE_SPACING, &classes()), [0.003, 0.002]);
    }

    #[test]
    fn what_is_typical_follows_from_the_training_set() {
        let cases = (1..=9).map(|i| (format!("c{i}"), vec![f64::from(i), 0.0])).collect();
        let training = TrainingVolumes { names: class_names(&json(), &classes()), cases };
        let Typicality::Distance { deviations, ratio } = training.compare(0, 10.0) else { panic!() };
        // The median of the logarithms is ln 5; their absolute deviations have the median ln(8 / 5).
        assert!((deviations - 2f64.ln() / (1.4826 * (8.0f64 / 5.0).ln())).abs() < 1e-9, "{deviations}");
        assert!((ratio - 2.0).abs() < 1e-9);
        assert_eq!(training.compare(0, 0.0), Typicality::Missing(1.0));
        // Never present in the training set.
        assert_eq!(training.compare(1, 0.0), Typicality::Unknown);
        assert_eq!(training.compare(1, 3.0), Typicality::Unknown);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(TRAINING_VOLUMES);
        training.save(&path).unwrap();
        assert_eq!(TrainingVolumes::load(&path, &json(), &classes()).unwrap(), Some(training));
        let others = [LabelOrRegion::Label(2)];
        assert_eq!(TrainingVolumes::load(&path, &json(), &others).unwrap(), None);
        std::fs::write(&path, "case\twhole\tcore\nc1\t1\n").unwrap();
        assert!(TrainingVolumes::load(&path, &json(), &classes()).is_err());
    }
}
