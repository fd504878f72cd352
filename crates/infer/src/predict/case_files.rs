//! The files of a predicted case: segmentation, probabilities, inputs of a cascade's next stages.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use half::f16;
use nnunet_volume::{ChannelVolume, Volume};

use super::cases::NextStage;
use super::error::PredictError;
use super::export::Exporter;
use super::probabilities::write_probabilities;
use super::quality::{Agreement, class_volumes};
use crate::model::ModelSpec;
use nnunet_base::files::temporary_stem;
use nnunet_data::preprocess::Properties;
use nnunet_dataset::LabelOrRegion;

/// What the network made of a case.
pub(super) enum Output {
    /// The segmentation on the image's own grid, and those on the grids of the next stages.
    Labels(Volume<u16>, Vec<Volume<u16>>),
    /// For probabilities.
    Logits(ChannelVolume<f16>),
}

/// A predicted case on its way to the disk.
pub(super) struct Export {
    pub(super) case: usize,
    pub(super) output: Output,
    pub(super) properties: Properties,
    pub(super) next_stages: Vec<NextStage>,
    /// How far the passes agree, if that is asked for.
    pub(super) agreement: Option<Agreement>,
}

impl Export {
    /// Writes the case called `case` to `folder`. The volumes in ml of `measured` classes come back.
    pub(super) fn write(
        &self,
        spec: &ModelSpec,
        case: &str,
        folder: &Path,
        measured: &[LabelOrRegion],
    ) -> Result<Vec<f64>, PredictError> {
        let stem = folder.join(case);
        let volumes = |labels: &Volume<u16>| match measured {
            [] => Vec::new(),
            classes => class_volumes(labels, self.properties.spacing, classes),
        };
        match &self.output {
            Output::Labels(labels, for_next) => {
                write_labels(spec, labels, &self.properties, &stem)?;
                for (next, labels) in self.next_stages.iter().zip(for_next) {
                    next.write(case, labels)?;
                }
                Ok(volumes(labels))
            }
            Output::Logits(logits) => {
                let labels = write_with_probabilities(spec, logits, &self.properties, &stem)?;
                for next in &self.next_stages {
                    let labels = Exporter::new(spec).segmentation_for_next_stage(
                        logits,
                        &self.properties,
                        next.shape,
                    )?;
                    next.write(case, &labels)?;
                }
                Ok(volumes(&labels))
            }
        }
    }
}

/// Exports `logits` to `<stem>` with the ending of the dataset's files, with probabilities to `<stem>.npz` and
/// `<stem>.pkl`, and returns the segmentation. Its file comes last: where it is, the case is complete.
fn write_with_probabilities(
    spec: &ModelSpec,
    logits: &ChannelVolume<f16>,
    properties: &Properties,
    stem: &Path,
) -> Result<Volume<u16>, PredictError> {
    let exporter = Exporter::new(spec);
    let (segmentation, probabilities) = exporter.segmentation_and_probabilities(logits, properties)?;
    let path = with_ending(stem, ".npz");
    write_probabilities(&path, &probabilities).map_err(|source| PredictError::Io { path, source })?;
    properties.write(&with_ending(stem, ".pkl"))?;
    write_labels(spec, &segmentation, properties, stem)?;
    Ok(segmentation)
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
pub(super) fn remove_leftovers(folder: &Path, file_ending: &str, cases: &[&str]) {
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
