//! What planning needs to know of a dataset, and the values of the plans that follow from it alone, whatever the planner.

use super::decided::Decided;
use super::error::PlanError;
use super::normalization_choice::Channel;
use super::statistics::median;
use super::target_spacing::transposed;
use crate::fingerprint::Fingerprint;
use nnunet_pyformats::json::Json;
use nnunet_volume::SpacingMm;

/// What planning needs to know of a dataset: parts of dataset.json, and the fingerprint.
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetFacts {
    /// Name of the dataset, e.g. `Dataset004_Hippocampus`.
    pub dataset_name: String,
    /// The image channels, in the order of dataset.json.
    pub channels: Vec<Channel>,
    /// Entries of `labels` in dataset.json, background, regions and ignore included.
    pub label_entries: usize,
    /// Number of training cases that dataset.json states.
    pub training_cases: usize,
    /// Reader of the images by its name in the reference.
    pub image_reader_writer: String,
    /// What the cases look like.
    pub fingerprint: Fingerprint,
}

impl DatasetFacts {
    /// Checks that plans can be made from them.
    ///
    /// # Errors
    /// A fingerprint of other channels than dataset.json has, without cases, or with spacings and shapes that no image
    /// has.
    pub(crate) fn check(&self) -> Result<(), PlanError> {
        let problem = |problem: String| Err(PlanError::BadFingerprint { problem });
        let Fingerprint { spacings, shapes_after_crop, foreground_intensities, .. } = &self.fingerprint;
        if foreground_intensities.len() != self.channels.len() {
            return problem(format!(
                "has intensities of {} channels, dataset.json names {}; extract the fingerprint again",
                foreground_intensities.len(),
                self.channels.len()
            ));
        }
        if spacings.is_empty() || spacings.len() != shapes_after_crop.len() {
            return problem(format!(
                "has {} spacings and {} shapes; expected one of each per training case, at least one; \
                 extract the fingerprint again",
                spacings.len(),
                shapes_after_crop.len()
            ));
        }
        if let Some((case, spacing)) =
            spacings.iter().enumerate().find(|(_, s)| !SpacingMm::new(**s).is_valid())
        {
            return problem(format!("case {case} has spacing {spacing:?} mm; expected positive numbers"));
        }
        if let Some((case, shape)) =
            shapes_after_crop.iter().enumerate().find(|(_, shape)| shape.contains(&0))
        {
            return problem(format!("case {case} has shape {shape:?}; expected at least one voxel per axis"));
        }
        Ok(())
    }

    /// `dataset_name` of the plans.
    pub fn decided_name(&self) -> Decided<String> {
        Decided::new(self.dataset_name.clone(), "the dataset's folder", "its name")
    }

    /// `original_median_spacing_after_transp` in mm, axes in the order of `transpose_forward`.
    pub fn decided_median_spacing(&self, transpose_forward: [usize; 3]) -> Decided<[f64; 3]> {
        let spacings = &self.fingerprint.spacings;
        Decided::new(
            transposed(axis_medians(spacings, |spacing, axis| spacing[axis]), transpose_forward),
            format!("fingerprint: spacings of {} cases", spacings.len()),
            "median of each axis in mm, axes in the order of transpose_forward",
        )
    }

    /// `original_median_shape_after_transp` in voxels, axes in the order of `transpose_forward`.
    pub fn decided_median_shape(&self, transpose_forward: [usize; 3]) -> Decided<[usize; 3]> {
        let shapes = &self.fingerprint.shapes_after_crop;
        let medians = axis_medians(shapes, |shape, axis| shape[axis] as f64);
        Decided::new(
            transposed(medians, transpose_forward).map(|edge| edge.round_ties_even() as usize),
            format!("fingerprint: shapes_after_crop of {} cases", shapes.len()),
            "median of each axis in voxels, axes in the order of transpose_forward",
        )
    }

    /// `image_reader_writer` of the plans.
    pub fn decided_reader(&self) -> Decided<String> {
        Decided::new(
            self.image_reader_writer.clone(),
            "dataset.json: overwrite_image_reader_writer, file_ending; the first training image",
            "the reader that is asked for, else the first that reads the ending and the image",
        )
    }

    /// `foreground_intensity_properties_per_channel` of the plans.
    pub fn decided_intensities(&self) -> Decided<Json> {
        Decided::new(
            self.fingerprint.intensities_json(),
            "fingerprint: the entry of the same name",
            "copied; normalisation uses it",
        )
    }
}

/// Median of each axis.
pub(super) fn axis_medians<T>(cases: &[T], value: impl Fn(&T, usize) -> f64) -> [f64; 3] {
    [0, 1, 2].map(|axis| median(&cases.iter().map(|case| value(case, axis)).collect::<Vec<_>>()))
}
