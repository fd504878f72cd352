//! One class in one case, with what several metrics need computed once.

use std::cell::OnceCell;
use std::ops::Range;
use std::path::Path;

use nnunet_dataset::image_geometry::PICTURE_SPACING;
use nnunet_dataset::{ImageGeometry, LabelOrRegion, ReadImage};
use nnunet_volume::{SpacingMm, Volume};
use rayon::prelude::*;

use super::overlap::Overlap;
use super::probabilities::{self, ClassProbabilities};
use super::surfels::{SurfaceDistances, surface_distances};

/// One class in one case, as metrics see it.
pub struct ClassCase<'a> {
    reference: &'a ReadImage,
    prediction: &'a ReadImage,
    prediction_file: &'a Path,
    class: &'a LabelOrRegion,
    /// Number of the class among those evaluated.
    number: usize,
    classes: &'a [LabelOrRegion],
    ignore_label: Option<i32>,
    overlap: Overlap,
    masks: OnceCell<Masks>,
    surfaces: OnceCell<SurfaceDistances>,
    probabilities: OnceCell<Result<ClassProbabilities, String>>,
}

/// Where reference and prediction have the class, cut to the smallest box (z, y, x) that holds both.
#[derive(Debug)]
pub struct Masks {
    /// Voxels of the class in the reference.
    pub reference: Volume<bool>,
    /// Voxels of the class in the prediction.
    pub prediction: Volume<bool>,
    /// Voxels between the box and the borders of the image, before and behind, along (z, y, x).
    pub room: [[usize; 2]; 3],
}

/// The files and the question of a case.
pub(super) struct CaseFacts<'a> {
    pub(super) reference: &'a ReadImage,
    pub(super) prediction: &'a ReadImage,
    pub(super) prediction_file: &'a Path,
    pub(super) classes: &'a [LabelOrRegion],
    pub(super) ignore_label: Option<i32>,
}

impl<'a> ClassCase<'a> {
    /// Class `number` of `facts.classes`, whose voxels were counted.
    pub(super) fn new(facts: &CaseFacts<'a>, number: usize, overlap: Overlap) -> Self {
        Self {
            reference: facts.reference,
            prediction: facts.prediction,
            prediction_file: facts.prediction_file,
            class: &facts.classes[number],
            number,
            classes: facts.classes,
            ignore_label: facts.ignore_label,
            overlap,
            masks: OnceCell::new(),
            surfaces: OnceCell::new(),
            probabilities: OnceCell::new(),
        }
    }

    /// The class.
    pub fn class(&self) -> &LabelOrRegion {
        self.class
    }

    /// Its voxel counts.
    pub fn overlap(&self) -> Overlap {
        self.overlap
    }

    /// Size of a voxel along (z, y, x) in mm. Pictures have none: 1 along each axis.
    pub fn spacing(&self) -> SpacingMm {
        spacing(self.reference)
    }

    /// Volume of a voxel in ml.
    pub fn voxel_ml(&self) -> f64 {
        self.spacing().voxel_volume() / 1000.0
    }

    /// Where reference and prediction have the class. Voxels whose reference is the ignore label are in neither.
    pub fn masks(&self) -> &Masks {
        self.masks.get_or_init(|| self.cut_masks())
    }

    /// Whether the image is flat: surfaces are contours then, and components touch along edges.
    pub fn is_flat(&self) -> bool {
        self.reference.volume.shape()[0] == 1
    }

    /// The distances between the surfaces.
    pub fn surfaces(&self) -> &SurfaceDistances {
        self.surfaces.get_or_init(|| {
            let masks = self.masks();
            surface_distances(&masks.reference, &masks.prediction, self.spacing(), self.is_flat())
        })
    }

    /// The predicted probability of the class at every voxel that is not to be ignored, and whether the reference has
    /// the class there; from the `.npz` file beside the prediction.
    ///
    /// # Errors
    /// There is no such file, or it does not fit the prediction.
    pub fn probabilities(&self) -> Result<&ClassProbabilities, String> {
        let read = || {
            probabilities::of_class(
                self.prediction_file,
                self.reference,
                self.classes,
                self.number,
                self.ignore_label,
            )
        };
        self.probabilities.get_or_init(read).as_ref().map_err(Clone::clone)
    }

    fn cut_masks(&self) -> Masks {
        let values: Vec<f32> = self.class.values().iter().map(|&value| value as f32).collect();
        let ignore = self.ignore_label.map(|label| label as f32);
        let belongs = |value: f32, truth: f32| values.contains(&value) && Some(truth) != ignore;
        let (truth, seen) = (self.reference.volume.data(), self.prediction.volume.data());
        let shape = self.reference.volume.shape();
        let bounds = bounds(shape, |i| belongs(truth[i], truth[i]) || belongs(seen[i], truth[i]))
            .unwrap_or([0..0, 0..0, 0..0]);
        let cut = |values: &[f32]| cut(shape, &bounds, |i| belongs(values[i], truth[i]));
        let room = std::array::from_fn(|axis| [bounds[axis].start, shape[axis] - bounds[axis].end]);
        Masks { reference: cut(truth), prediction: cut(seen), room }
    }
}

/// Size of a voxel along (z, y, x) in mm; for pictures, which have none, 1 along each axis.
pub(super) fn spacing(image: &ReadImage) -> SpacingMm {
    if has_spacing(image) { image.geometry.spacing_zyx() } else { SpacingMm::UNIT }
}

/// Whether the file says how large a voxel is. Pictures do not; the reference gives them a slice of 999 mm, so that it
/// never resamples across them.
pub(super) fn has_spacing(image: &ReadImage) -> bool {
    image.geometry != ImageGeometry::Spacing(PICTURE_SPACING)
}

/// The smallest box of the voxels (linear index in C order) for which `set` holds.
fn bounds(shape: [usize; 3], set: impl Fn(usize) -> bool + Sync) -> Option<[Range<usize>; 3]> {
    let [depth, height, width] = shape;
    let none = || ([usize::MAX; 3], [0; 3]);
    let merge = |(a, b): ([usize; 3], [usize; 3]), (c, d): ([usize; 3], [usize; 3])| {
        (std::array::from_fn(|i| a[i].min(c[i])), std::array::from_fn(|i| b[i].max(d[i])))
    };
    let (low, high) = (0..depth * height)
        .into_par_iter()
        .with_min_len(64)
        .filter_map(|line| {
            let start = line * width;
            let first = (0..width).find(|x| set(start + x))?;
            let last = (first..width).rfind(|x| set(start + x))?;
            let (z, y) = (line / height, line % height);
            Some(([z, y, first], [z + 1, y + 1, last + 1]))
        })
        .reduce(none, merge);
    (low[0] < high[0]).then(|| std::array::from_fn(|i| low[i]..high[i]))
}

/// The voxels of the box for which `set` holds.
fn cut(shape: [usize; 3], bounds: &[Range<usize>; 3], set: impl Fn(usize) -> bool) -> Volume<bool> {
    let size = [bounds[0].len(), bounds[1].len(), bounds[2].len()];
    let mut mask = Vec::with_capacity(size.iter().product());
    for z in bounds[0].clone() {
        for y in bounds[1].clone() {
            let line = (z * shape[1] + y) * shape[2];
            mask.extend(bounds[2].clone().map(|x| set(line + x)));
        }
    }
    Volume::new(size, mask).unwrap_or_else(|| Volume::filled([0; 3], false))
}
