//! What a preprocessed case was made from, in a file beside it: only a case whose record says the same as a new one
//! would is taken for finished.
//!
//! ```text
//! <data_identifier>/made_from/<case>.json
//! ```
//! The reference looks at all files of `<data_identifier>`, but not into its folders.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use super::class_locations::sampled_classes;
use super::error::PreprocessError;
use super::store::CaseFiles;
use crate::fingerprint::IntensityStatistics;
use crate::parts::Parts;
use crate::plan::{Configuration, Plans, Resampling};
use nnunet_base::files::write_atomic;
use nnunet_dataset::{AnnotatedLabels, Case, DatasetJson, ImageReader, LabelManager, LabelOrRegion};
use nnunet_pyformats::json::{Json, KeyOrder};

/// Version of what this program makes of the same case and plans, and of the record. Raised whenever a release would
/// preprocess a case differently: all cases are then made anew.
const SCHEMA: i64 = 1;

/// Folder of the records below that of the cases.
const FOLDER: &str = "made_from";

/// All that decides how cases come out, besides the cases themselves.
#[derive(Debug)]
pub(super) struct Recipe {
    /// What is the same for all cases.
    shared: Json,
    annotated: Option<AnnotatedLabels>,
}

impl Recipe {
    /// The recipe of a configuration.
    pub(super) fn new(
        plans: &Plans,
        configuration: &Configuration,
        dataset: &DatasetJson,
        labels: &LabelManager,
        reader: &ImageReader,
    ) -> Self {
        let c = configuration;
        let intensities: Vec<Option<Json>> = (0..c.channels())
            .map(|channel| plans.intensity(channel).map(IntensityStatistics::to_json))
            .collect();
        let classes: Vec<Json> = sampled_classes(labels).iter().map(class).collect();
        let shared = Json::object([
            ("schema", SCHEMA.into()),
            ("reader", reader.name().into()),
            ("transpose_forward", plans.transpose_forward().to_vec().into()),
            ("preprocessor", c.preprocessor_name.as_str().into()),
            ("spacing", c.spacing.as_slice().into()),
            // The layout of the arrays follows the patches that are read from them.
            ("patch_size", c.patch_size.as_slice().into()),
            ("normalization_schemes", c.normalization_schemes.clone().into()),
            ("use_mask_for_norm", c.use_mask_for_norm.clone().into()),
            ("intensities", intensities.into()),
            ("resampling_data", resampling(&c.resampling_data)),
            ("resampling_seg", resampling(&c.resampling_seg)),
            ("located_classes", classes.into()),
        ]);
        Self { shared, annotated: dataset.annotated_labels.clone() }
    }

    /// Whether the stored case is the one that would be made now, whole.
    pub(super) fn is_finished(&self, folder: &Path, case: &Case) -> bool {
        let record = std::fs::read_to_string(path(folder, &case.identifier));
        record.is_ok_and(|found| self.record(folder, case, case.stamps()).is_some_and(|new| found == new))
    }

    /// Notes that the case is there, after its files were written; it was made from files of these stamps.
    pub(super) fn note(
        &self,
        folder: &Path,
        case: &Case,
        stamps: Option<Json>,
    ) -> Result<(), PreprocessError> {
        let path = path(folder, &case.identifier);
        match self.record(folder, case, stamps) {
            Some(record) => {
                write_atomic(&path, record.as_bytes()).map_err(|e| PreprocessError::io(&path, "write it", e))
            }
            // A file whose time cannot be told: the case cannot be known again.
            None => Ok(()),
        }
    }

    /// The keys under which the record of the stored case `identifier` differs from this recipe. None without a record,
    /// as for cases that Python preprocessed, or with one of another schema.
    ///
    /// The patch size does not count: only the layout of the arrays follows from it, and plans may be edited to train
    /// the same cases with other patches.
    fn differences(&self, folder: &Path, identifier: &str) -> Vec<String> {
        let Ok(record) = Json::load(&path(folder, identifier)) else { return Vec::new() };
        let Some(found) = record.get("recipe") else { return Vec::new() };
        // As texts: equal NaN are equal.
        let text = |recipe: &Json, key: &str| recipe.get(key).map(|value| value.to_python(KeyOrder::Kept));
        let differs = |key: &str| text(found, key) != text(&self.shared, key);
        if differs("schema") {
            return Vec::new();
        }
        let keys = self.shared.as_object().into_iter().flat_map(IndexMap::keys);
        keys.filter(|key| *key != "patch_size" && differs(key)).cloned().collect()
    }

    /// The text of the record: the recipe, the files of the case, the sizes of what was made.
    fn record(&self, folder: &Path, case: &Case, stamps: Option<Json>) -> Option<String> {
        let files = CaseFiles::new(folder, &case.identifier);
        let sizes = [&files.data, &files.segmentation, &files.properties]
            .map(|path| std::fs::metadata(path).ok().map(|file| file.len() as usize));
        let [Some(data), Some(segmentation), Some(properties)] = sizes else { return None };
        let mut entries = vec![
            ("recipe", self.shared.clone()),
            ("files", stamps?),
            ("bytes", [data, segmentation, properties].into()),
        ];
        if let Some(names) = self.annotated.as_ref().and_then(|annotated| annotated.of(&case.identifier)) {
            entries.push(("annotated_labels", names.to_vec().into()));
        }
        let record = Json::object(entries);
        Some(record.to_python(KeyOrder::Kept))
    }
}

fn resampling(resampling: &Resampling) -> Json {
    let kwargs = resampling.kwargs.iter().map(|(key, value)| (key.clone(), value.clone()));
    Json::object([("function", resampling.function.as_str().into()), ("kwargs", Json::object(kwargs))])
}

fn class(class: &LabelOrRegion) -> Json {
    match class {
        LabelOrRegion::Label(label) => (*label).into(),
        LabelOrRegion::Region(labels) => labels.as_slice().into(),
    }
}

/// Checks that the stored cases `identifiers` in `folder` were made as `plans` say now. Cases without a record of this
/// program pass.
///
/// # Errors
/// [`PreprocessError::OtherPlans`] names the first case that was made otherwise; what is wrong with the dataset.
pub fn check_made_from(
    folder: &Path,
    identifiers: &[String],
    plans: &Plans,
    configuration: &Configuration,
    dataset: &DatasetJson,
    parts: &Parts,
) -> Result<(), PreprocessError> {
    if !folder.join(FOLDER).is_dir() {
        return Ok(());
    }
    let labels = plans.label_manager(dataset, parts)?;
    let reader = plans.reader(dataset, parts)?;
    let recipe = Recipe::new(plans, configuration, dataset, &labels, &reader);
    for case in identifiers {
        let differences = recipe.differences(folder, case);
        if !differences.is_empty() {
            return Err(PreprocessError::OtherPlans {
                folder: folder.to_owned(),
                case: case.clone(),
                plans: plans.plans_name().to_owned(),
                keys: differences.join(", "),
            });
        }
    }
    Ok(())
}

/// Removes the record of a case that is about to be made anew.
pub(super) fn forget(folder: &Path, identifier: &str) -> Result<(), PreprocessError> {
    let path = path(folder, identifier);
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(PreprocessError::io(&path, "remove it", e)),
        _ => Ok(()),
    }
}

fn path(folder: &Path, identifier: &str) -> PathBuf {
    folder.join(FOLDER).join(format!("{identifier}.json"))
}
