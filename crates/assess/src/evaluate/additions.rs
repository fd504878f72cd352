//! Metrics beyond the reference's, only computed where they are asked for.

use nnunet_volume::Volume;

use super::overlap::Overlap;
use super::surface::{SurfaceDistances, surface_distances};
use nnunet_data::dataset::{LabelOrRegion, ReadImage};
use nnunet_pyformats::json::Json;

/// Which additional metrics are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Additions {
    /// `HD95`, `ASSD` (mm) and `NSD`, see [`super::surface`].
    pub surface: bool,
    /// `ml_pred` and `ml_ref`, the volumes in ml, `AVE`, the absolute volume error in ml, and `RVE`, the relative
    /// one, (predicted - reference) / reference, NaN without reference.
    pub volumetry: bool,
}

/// Names in summary.json.
const NAMES: [&str; 7] = ["HD95", "ASSD", "NSD", "ml_pred", "ml_ref", "AVE", "RVE"];

/// Additional metrics of one class: of one case, or averaged.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct AddedMetrics([Option<f64>; 7]);

impl AddedMetrics {
    /// The metrics that `additions` asks for, of one class; `overlap` are its counts.
    pub(super) fn of(
        additions: Additions,
        reference: &ReadImage,
        prediction: &ReadImage,
        class: &LabelOrRegion,
        ignore_label: Option<i32>,
        overlap: &Overlap,
    ) -> Self {
        let mut added = Self::default();
        let spacing = reference.geometry.spacing_zyx();
        if additions.surface {
            let mask = |image: &ReadImage| mask(image, reference, class, ignore_label);
            let SurfaceDistances { hd95, assd, nsd } =
                surface_distances(&mask(reference), &mask(prediction), spacing);
            added.0[..3].copy_from_slice(&[hd95, assd, nsd].map(Some));
        }
        if additions.volumetry {
            let voxel_ml = spacing.iter().product::<f64>() / 1000.0;
            let (seen, truth) = (overlap.n_pred() as f64 * voxel_ml, overlap.n_ref() as f64 * voxel_ml);
            let relative = if truth > 0.0 { (seen - truth) / truth } else { f64::NAN };
            added.0[3..].copy_from_slice(&[seen, truth, (seen - truth).abs(), relative].map(Some));
        }
        added
    }

    /// Names and values of those that were computed.
    pub fn entries(&self) -> impl Iterator<Item = (&'static str, f64)> + '_ {
        NAMES.into_iter().zip(self.0).filter_map(|(name, value)| Some((name, value?)))
    }

    pub(super) fn from_json(json: &Json) -> Self {
        Self(NAMES.map(|name| json.get(name).and_then(Json::as_f64)))
    }

    /// The mean of each metric that all of `all` have, taken by `mean`.
    pub(super) fn mean(all: impl Iterator<Item = Self> + Clone, mean: fn(&[f64]) -> f64) -> Self {
        Self(std::array::from_fn(|i| {
            let values: Option<Vec<f64>> = all.clone().map(|added| added.0[i]).collect();
            values.filter(|values| !values.is_empty()).map(|values| mean(&values))
        }))
    }
}

/// Where `image` has the class and the reference is not to be ignored.
fn mask(
    image: &ReadImage,
    reference: &ReadImage,
    class: &LabelOrRegion,
    ignore_label: Option<i32>,
) -> Volume<bool> {
    let ignore = ignore_label.map(|label| label as f32);
    let belongs = |value: f32| class.values().iter().any(|&v| v as f32 == value);
    let pairs = image.volume.data().iter().zip(reference.volume.data());
    let set = pairs.map(|(&value, &truth)| belongs(value) && Some(truth) != ignore).collect();
    let shape = image.volume.shape();
    Volume::new(shape, set).unwrap_or_else(|| Volume::filled(shape, false))
}
