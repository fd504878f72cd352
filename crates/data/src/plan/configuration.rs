//! One configuration of the plans (2d, 3d_fullres, ...) with inheritance resolved and old formats
//! converted: the view that preprocessing, training and prediction work with.

use super::architecture::Architecture;
use super::old_format;
use super::resampling::Resampling;
use super::values::{Document, shown, whole};
use crate::planner::PlanError;
use nnunet_pyformats::json::Json;
use nnunet_volume::SpacingMm;

/// A configuration ready for use. Axis order of everything is that of the transposed data (z, y, x);
/// 2d configurations have two axes (y, x).
#[derive(Debug, Clone, PartialEq)]
pub struct Configuration {
    /// Name in the plans, e.g. `3d_fullres`.
    pub name: String,
    /// Folder of the preprocessed data below the dataset's folder.
    pub data_identifier: String,
    /// Preprocessor by its name in the reference.
    pub preprocessor_name: String,
    /// Patches per training batch.
    pub batch_size: usize,
    /// Patch size in voxels, (z, y, x) or (y, x).
    pub patch_size: Vec<usize>,
    /// Median shape of the resampled dataset in voxels, (z, y, x) or (y, x).
    pub median_image_size_in_voxels: Vec<f64>,
    /// Target spacing in mm, (z, y, x) or (y, x).
    pub spacing: Vec<f64>,
    /// Normalisation scheme per channel, by its name in the reference.
    pub normalization_schemes: Vec<String>,
    /// Whether the nonzero mask limits the normalisation, per channel.
    pub use_mask_for_norm: Vec<bool>,
    /// How images are resampled.
    pub resampling_data: Resampling,
    /// How segmentations are resampled.
    pub resampling_seg: Resampling,
    /// How the network's output is resampled to the original grid.
    pub resampling_probabilities: Resampling,
    /// The network.
    pub architecture: Architecture,
    /// Whether the Dice loss is summed over the batch before the ratio is taken.
    pub batch_dice: bool,
    /// Configuration whose segmentation is an additional input, in a cascade.
    pub previous_stage: Option<String>,
    /// Configurations that use this one's segmentation, in a cascade.
    pub next_stage: Vec<String>,
    /// All keys, resolved and converted, with those this program does not know.
    pub document: Document,
}

impl Configuration {
    /// Reads a configuration whose inheritance is resolved. `place` names it in errors.
    pub(super) fn from_document(name: &str, mut document: Document, place: &str) -> Result<Self, PlanError> {
        old_format::upgrade(&mut document, place)?;
        let reader = Reader { document: &document, place };
        let patch_size: Vec<usize> = reader.list("patch_size", as_edge, "positive whole numbers")?;
        let axes = patch_size.len();
        if axes != 2 && axes != 3 {
            return Err(reader.problem("patch_size", format!("has {axes} axes; expected 2 or 3")));
        }
        let spacing: Vec<f64> = reader.list("spacing", as_positive, "positive numbers in mm")?;
        if spacing.len() != axes {
            return Err(reader.problem(
                "spacing",
                format!("has {} entries, patch_size has {axes}; expected as many", spacing.len()),
            ));
        }
        let normalization_schemes: Vec<String> =
            reader.list("normalization_schemes", |v| v.as_str().map(str::to_owned), "names")?;
        let use_mask_for_norm = reader.list("use_mask_for_norm", Json::as_bool, "true or false")?;
        if normalization_schemes.len() != use_mask_for_norm.len() {
            return Err(reader.problem(
                "use_mask_for_norm",
                format!(
                    "has {} entries, normalization_schemes has {}; expected one per channel",
                    use_mask_for_norm.len(),
                    normalization_schemes.len()
                ),
            ));
        }
        let architecture = Architecture::from_json(reader.get("architecture")?, place)?;
        Ok(Self {
            name: name.to_owned(),
            data_identifier: reader.folder_name("data_identifier")?,
            preprocessor_name: reader.string("preprocessor_name")?,
            batch_size: as_edge(reader.get("batch_size")?)
                .ok_or_else(|| reader.problem("batch_size", "is not a positive whole number".to_owned()))?,
            median_image_size_in_voxels: reader.list(
                "median_image_size_in_voxels",
                Json::as_f64,
                "numbers",
            )?,
            resampling_data: reader.resampling("resampling_fn_data")?,
            resampling_seg: reader.resampling("resampling_fn_seg")?,
            resampling_probabilities: reader.resampling("resampling_fn_probabilities")?,
            // Absent in plans of the first versions, which always used it.
            batch_dice: document.get("batch_dice").and_then(Json::as_bool).unwrap_or(true),
            previous_stage: reader.stages("previous_stage")?.into_iter().next(),
            next_stage: reader.stages("next_stage")?,
            patch_size,
            spacing,
            normalization_schemes,
            use_mask_for_norm,
            architecture,
            document,
        })
    }

    /// Spatial axes of the network: 2 or 3.
    pub fn dimensions(&self) -> usize {
        self.patch_size.len()
    }

    /// Whether the network is two-dimensional and works slice by slice.
    pub fn is_2d(&self) -> bool {
        self.dimensions() == 2
    }

    /// Patch size (z, y, x) in voxels; 1 along z for 2d configurations.
    pub fn patch_size_zyx(&self) -> [usize; 3] {
        match self.patch_size.as_slice() {
            [y, x] => [1, *y, *x],
            [z, y, x] => [*z, *y, *x],
            // Two or three axes are checked on reading.
            _ => [1; 3],
        }
    }

    /// Target spacing (z, y, x) in mm of a case whose spacing is `original` (already transposed):
    /// 2d configurations keep the distance of the slices.
    pub fn target_spacing_zyx(&self, original: SpacingMm) -> SpacingMm {
        match self.spacing.as_slice() {
            [y, x] => SpacingMm::new([original[0], *y, *x]),
            [z, y, x] => SpacingMm::new([*z, *y, *x]),
            _ => original,
        }
    }

    /// Number of image channels.
    pub fn channels(&self) -> usize {
        self.normalization_schemes.len()
    }

    /// Strides of each stage of the network, one value per axis of the patch.
    pub fn strides(&self) -> Result<Vec<Vec<usize>>, PlanError> {
        self.architecture.strides(self.dimensions())
    }

    /// The same configuration with another batch size.
    pub fn with_batch_size(mut self, batch_size: usize) -> Self {
        self.batch_size = batch_size;
        self.document.insert("batch_size".to_owned(), batch_size.into());
        self
    }
}

fn as_positive(value: &Json) -> Option<f64> {
    value.as_f64().filter(|v| v.is_finite() && *v > 0.0)
}

/// A positive whole number of at most 2^24.
fn as_edge(value: &Json) -> Option<usize> {
    whole(value, 1 << 24).filter(|&v| v > 0)
}

struct Reader<'a> {
    document: &'a Document,
    place: &'a str,
}

impl Reader<'_> {
    fn problem(&self, key: &str, problem: String) -> PlanError {
        PlanError::value(self.place, key, problem)
    }

    fn get(&self, key: &str) -> Result<&Json, PlanError> {
        self.document.get(key).ok_or_else(|| self.problem(key, "is missing".to_owned()))
    }

    fn string(&self, key: &str) -> Result<String, PlanError> {
        let value = self.get(key)?;
        value
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| self.problem(key, format!("is {}; expected a text", shown(value))))
    }

    /// A text that is one component of a path: plans come from other people, too.
    fn folder_name(&self, key: &str) -> Result<String, PlanError> {
        let name = self.string(key)?;
        if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\\', '\0']) {
            return Err(self.problem(key, format!("is {name:?}; expected the name of a folder")));
        }
        Ok(name)
    }

    fn list<T>(
        &self,
        key: &str,
        read: impl Fn(&Json) -> Option<T>,
        expected: &str,
    ) -> Result<Vec<T>, PlanError> {
        let value = self.get(key)?;
        value
            .as_array()
            .and_then(|list| list.iter().map(read).collect())
            .ok_or_else(|| self.problem(key, format!("is {}; expected a list of {expected}", shown(value))))
    }

    /// A name, a list of names, or nothing.
    fn stages(&self, key: &str) -> Result<Vec<String>, PlanError> {
        match self.document.get(key) {
            None | Some(Json::Null) => Ok(Vec::new()),
            Some(Json::String(name)) => Ok(vec![name.clone()]),
            Some(_) => self.list(key, |v| v.as_str().map(str::to_owned), "configuration names"),
        }
    }

    fn resampling(&self, key: &'static str) -> Result<Resampling, PlanError> {
        let kwargs_key = format!("{key}_kwargs");
        let kwargs = match self.document.get(&kwargs_key) {
            None | Some(Json::Null) => Document::new(),
            Some(Json::Object(map)) => map.clone(),
            Some(other) => {
                return Err(self.problem(&kwargs_key, format!("is {}; expected an object", shown(other))));
            }
        };
        Ok(Resampling::new(self.place, key, self.string(key)?, kwargs))
    }
}
