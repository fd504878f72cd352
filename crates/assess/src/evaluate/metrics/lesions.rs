//! Lesion-wise scores by the rules of the BraTS 2023 challenges.

use std::collections::BTreeSet;
use std::sync::Arc;

use nnunet_base::spelling::{closest, closest_first};
use nnunet_volume::morphology::{Component, Connectivity, connected_components};
use nnunet_volume::{SpacingMm, Volume};

use crate::evaluate::case::{ClassCase, Masks};
use crate::evaluate::metric::{Metric, key};
use crate::evaluate::surfels::surface_distances;

/// `lesions@TRACK`: lesion-wise scores with the rules of a track of BraTS 2023, by default those of adult glioma.
///
/// Components of the reference (touching at corners) whose dilations touch are one lesion. The prediction's components that
/// meet a lesion's dilation are compared with it together. Lesions up to the smallest volume do not count. A component that
/// meets no lesion is a false positive; it and a missed lesion have Dice 0 and HD95 374 mm in the means.
///
/// | key | value |
/// |---|---|
/// | lesion_dice | mean over lesions and false positives; 1 without any |
/// | lesion_hd95 | the same in mm, as `hd95`; 0 without any |
/// | lesion_tp, lesion_fp, lesion_fn | lesions that were met, false positives, missed lesions |
/// | lesion_f1 | 2 TP / (2 TP + FP + FN), NaN without any |
/// | lesion_missed_ml | volume of the missed lesions in ml |
#[derive(Debug)]
pub struct Lesions {
    keys: Vec<String>,
    track: Track,
}

/// Rules of a challenge.
#[derive(Debug, Clone, Copy)]
struct Track {
    name: &'static str,
    /// Dilations by a voxel along faces and edges.
    dilations: usize,
    /// Volume in mm³ up to which a lesion does not count.
    smallest: f64,
}

/// Adult glioma, sub-Saharan Africa, meningioma, paediatric tumours, metastases.
const TRACKS: [Track; 5] = [
    Track { name: "gli", dilations: 3, smallest: 50.0 },
    Track { name: "ssa", dilations: 3, smallest: 50.0 },
    Track { name: "men", dilations: 1, smallest: 50.0 },
    Track { name: "ped", dilations: 3, smallest: 50.0 },
    Track { name: "met", dilations: 1, smallest: 2.0 },
];

/// HD95 in mm of what has no counterpart: the diagonal of the challenge's images.
const WORST_HD95: f64 = 374.0;

impl Lesions {
    pub(in crate::evaluate) fn build(argument: Option<&str>) -> Result<Arc<dyn Metric>, String> {
        let name = argument.unwrap_or(TRACKS[0].name);
        let Some(track) = TRACKS.into_iter().find(|track| track.name == name) else {
            let names = || TRACKS.iter().map(|track| track.name);
            let meant =
                closest(name, names()).map_or_else(String::new, |name| format!(" (did you mean {name}?)"));
            return Err(format!(
                "there is no track {name:?}{meant}; known: {}",
                closest_first(name, names()).join(", ")
            ));
        };
        let keys = [
            "lesion_dice",
            "lesion_hd95",
            "lesion_tp",
            "lesion_fp",
            "lesion_fn",
            "lesion_f1",
            "lesion_missed_ml",
        ];
        Ok(Arc::new(Self { keys: keys.map(|name| key(name, argument)).into(), track }))
    }
}

impl Metric for Lesions {
    fn keys(&self) -> Vec<String> {
        self.keys.clone()
    }

    fn measure(&self, case: &ClassCase<'_>) -> Result<Vec<f64>, String> {
        let scores = Scores::of(case.masks(), case.spacing(), case.is_flat(), self.track);
        let (tp, fp, fn_) = (scores.met as f64, scores.false_positives as f64, scores.missed as f64);
        let counted = tp + fp + fn_;
        let mean = |sum: f64, without: f64| if counted > 0.0 { sum / counted } else { without };
        Ok(vec![
            mean(scores.dice, 1.0),
            mean(scores.hd95 + fp * WORST_HD95, 0.0),
            tp,
            fp,
            fn_,
            2.0 * tp / (2.0 * tp + fp + fn_),
            scores.missed_mm3 / 1000.0,
        ])
    }
}

#[derive(Default)]
struct Scores {
    dice: f64,
    hd95: f64,
    met: usize,
    missed: usize,
    missed_mm3: f64,
    false_positives: usize,
}

impl Scores {
    fn of(masks: &Masks, spacing: SpacingMm, flat: bool, track: Track) -> Self {
        // A dilation ends at the borders of the image.
        let room = masks.room.map(|sides| sides.map(|room| room.min(track.dilations)));
        let [truth, seen] = [&masks.reference, &masks.prediction].map(|mask| padded(mask, room));
        let mut wide = truth.clone();
        (0..track.dilations).for_each(|_| wide = dilated(&wide));
        let lesions = connected_components(&wide, Connectivity::Corner);
        let lesion_numbers = lesions.labels();
        let predicted = connected_components(&seen, Connectivity::Corner);
        let predicted_numbers = predicted.labels();
        let mut all_met: BTreeSet<u32> = BTreeSet::new();
        let mut scores = Self::default();
        for (number, lesion) in (1..).zip(lesions.list()) {
            // The lesion is what the dilated component has of the reference.
            let area = Area::of([lesion]);
            let own = area.cut(&truth, |i| truth.data()[i] && lesion_numbers.data()[i] == number);
            let mut reach = own.clone();
            (0..track.dilations).for_each(|_| reach = dilated(&reach));
            let numbers = area.indices(&truth).zip(reach.data()).filter(|(_, near)| **near);
            let met: BTreeSet<u32> =
                numbers.map(|(i, _)| predicted_numbers.data()[i]).filter(|&number| number > 0).collect();
            all_met.extend(&met);
            let voxels = own.data().iter().filter(|set| **set).count();
            let volume = voxels as f64 * spacing.voxel_volume();
            if volume <= track.smallest {
                continue;
            }
            if met.is_empty() {
                scores.missed += 1;
                scores.missed_mm3 += volume;
                scores.hd95 += WORST_HD95;
                continue;
            }
            scores.met += 1;
            let parts = met.iter().map(|&number| &predicted.list()[number as usize - 1]);
            let area = Area::of(parts.clone().chain([lesion]));
            let own = area.cut(&truth, |i| truth.data()[i] && lesion_numbers.data()[i] == number);
            let found = area.cut(&truth, |i| met.contains(&predicted_numbers.data()[i]));
            let common = own.data().iter().zip(found.data()).filter(|(a, b)| **a && **b).count();
            let found_voxels: usize = parts.map(|part| part.voxels).sum();
            scores.dice += 2.0 * common as f64 / (voxels + found_voxels) as f64;
            scores.hd95 += surface_distances(&own, &found, spacing, flat).hausdorff(0.95);
        }
        scores.false_positives = predicted.list().len() - all_met.len();
        scores
    }
}

/// The smallest box (z, y, x) around some components.
struct Area {
    low: [usize; 3],
    high: [usize; 3],
}

impl Area {
    fn of<'a>(components: impl IntoIterator<Item = &'a Component>) -> Self {
        let mut area = Self { low: [usize::MAX; 3], high: [0; 3] };
        for component in components {
            for axis in 0..3 {
                area.low[axis] = area.low[axis].min(component.low[axis]);
                area.high[axis] = area.high[axis].max(component.high[axis]);
            }
        }
        area
    }

    /// Linear indices in `image` of the voxels of the box, in C order.
    fn indices(&self, image: &Volume<bool>) -> impl Iterator<Item = usize> {
        let [low, high] = [self.low, self.high];
        let [_, height, width] = image.shape();
        (low[0]..high[0]).flat_map(move |z| {
            (low[1]..high[1]).flat_map(move |y| (low[2]..high[2]).map(move |x| (z * height + y) * width + x))
        })
    }

    /// The voxels of the box for which `set` holds.
    fn cut(&self, image: &Volume<bool>, set: impl Fn(usize) -> bool) -> Volume<bool> {
        let shape = std::array::from_fn(|axis| self.high[axis] - self.low[axis]);
        let cut = Volume::new(shape, self.indices(image).map(set).collect());
        cut.unwrap_or_else(|| Volume::filled(shape, false))
    }
}

/// `mask` with as many unset voxels before and behind along (z, y, x) as `room` says.
fn padded(mask: &Volume<bool>, room: [[usize; 2]; 3]) -> Volume<bool> {
    let shape = mask.shape();
    let size = std::array::from_fn(|axis| shape[axis] + room[axis][0] + room[axis][1]);
    let mut padded = Volume::filled(size, false);
    for z in 0..shape[0] {
        for y in 0..shape[1] {
            let start = padded.index(z + room[0][0], y + room[1][0], room[2][0]);
            let row = &mask.data()[mask.index(z, y, 0)..][..shape[2]];
            padded.data_mut()[start..start + shape[2]].copy_from_slice(row);
        }
    }
    padded
}

/// `mask` and all voxels that share a face or an edge with it.
fn dilated(mask: &Volume<bool>) -> Volume<bool> {
    let shape = mask.shape();
    let [depth, height, width] = shape;
    let mut wide = Volume::filled(shape, false);
    for z in 0..depth {
        for y in 0..height {
            let start = wide.index(z, y, 0);
            let out = &mut wide.data_mut()[start..start + width];
            for dz in z.saturating_sub(1)..(z + 2).min(depth) {
                for dy in y.saturating_sub(1)..(y + 2).min(height) {
                    let row = &mask.data()[mask.index(dz, dy, 0)..][..width];
                    out.iter_mut().zip(row).for_each(|(out, set)| *out |= set);
                    if dz == z || dy == y {
                        out.iter_mut().zip(&row[1..]).for_each(|(out, set)| *out |= set);
                        out[1..].iter_mut().zip(row).for_each(|(out, set)| *out |= set);
                    }
                }
            }
        }
    }
    wide
}
