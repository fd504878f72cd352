//! Overlap of a predicted with a reference segmentation: counts of voxels and the ratios made of them.
//!
//! Dice = 2 TP / (2 TP + FP + FN), IoU = TP / (TP + FP + FN), both NaN where neither segmentation has
//! the class. Voxels whose reference is the ignore label count nowhere. All classes are counted in one
//! pass over the voxels.

use nnunet_dataset::LabelOrRegion;

/// Voxel counts of one class in one case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Overlap {
    /// In both.
    pub tp: u64,
    /// Predicted only.
    pub fp: u64,
    /// In the reference only.
    pub fn_: u64,
    /// In neither.
    pub tn: u64,
}

impl Overlap {
    /// 2 TP / (2 TP + FP + FN), NaN for 0 / 0.
    pub fn dice(&self) -> f64 {
        ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn_)
    }

    /// TP / (TP + FP + FN), NaN for 0 / 0.
    pub fn iou(&self) -> f64 {
        ratio(self.tp, self.tp + self.fp + self.fn_)
    }

    /// Voxels predicted.
    pub fn n_pred(&self) -> u64 {
        self.tp + self.fp
    }

    /// Voxels in the reference.
    pub fn n_ref(&self) -> u64 {
        self.tp + self.fn_
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { f64::NAN } else { part as f64 / whole as f64 }
}

/// Counts for each of `classes`. Both segmentations in the same order; values that are no class, also
/// fractional ones, are background to all classes.
///
/// `None` if the two have different lengths.
pub fn overlaps(
    reference: &[f32],
    prediction: &[f32],
    classes: &[LabelOrRegion],
    ignore_label: Option<i32>,
) -> Option<Vec<Overlap>> {
    if reference.len() != prediction.len() {
        return None;
    }
    // Values are counted in pairs first: few distinct ones whatever the size of the image. Values beyond
    // the largest that matters share the last row and column.
    let largest =
        classes.iter().flat_map(LabelOrRegion::values).copied().chain(ignore_label).max().unwrap_or(0);
    let side = largest.clamp(0, 1 << 12) as usize + 2;
    if side * side > 1 << 16 || classes.iter().flat_map(LabelOrRegion::values).any(|&v| v < 0) {
        return Some(overlaps_by_class(reference, prediction, classes, ignore_label));
    }
    let other = side - 1;
    let index = |value: f32| {
        let whole = value as u32 as usize;
        if whole as f32 == value && whole < other { whole } else { other }
    };
    let mut pairs = vec![0u64; side * side];
    for (&r, &p) in reference.iter().zip(prediction) {
        pairs[index(r) * side + index(p)] += 1;
    }
    let total: u64 = pairs.iter().sum();
    let ignored = match ignore_label {
        Some(label) if (0..other as i32).contains(&label) => Some(label as usize),
        _ => None,
    };
    let counted = total - ignored.map_or(0, |row| pairs[row * side..(row + 1) * side].iter().sum());
    let rows = || (0..side).filter(|&row| Some(row) != ignored);
    let sum = |rows: &mut dyn Iterator<Item = usize>, columns: &[usize]| -> u64 {
        rows.map(|row| columns.iter().map(|&column| pairs[row * side + column]).sum::<u64>()).sum()
    };
    let every: Vec<usize> = (0..side).collect();
    Some(
        classes
            .iter()
            .map(|class| {
                let mut values: Vec<usize> = class.values().iter().map(|&v| v as usize).collect();
                values.sort_unstable();
                values.dedup();
                let inside = || rows().filter(|row| values.binary_search(row).is_ok());
                let tp = sum(&mut inside(), &values);
                let fn_ = sum(&mut inside(), &every) - tp;
                let fp = sum(&mut rows(), &values) - tp;
                Overlap { tp, fp, fn_, tn: counted - tp - fp - fn_ }
            })
            .collect(),
    )
}

/// The definition, for label values that make no small table.
fn overlaps_by_class(
    reference: &[f32],
    prediction: &[f32],
    classes: &[LabelOrRegion],
    ignore_label: Option<i32>,
) -> Vec<Overlap> {
    let ignore = ignore_label.map(|label| label as f32);
    classes
        .iter()
        .map(|class| {
            let belongs = |value: f32| class.values().iter().any(|&v| v as f32 == value);
            let mut count = Overlap::default();
            for (&r, &p) in reference.iter().zip(prediction).filter(|(r, _)| Some(**r) != ignore) {
                match (belongs(r), belongs(p)) {
                    (true, true) => count.tp += 1,
                    (false, true) => count.fp += 1,
                    (true, false) => count.fn_ += 1,
                    (false, false) => count.tn += 1,
                }
            }
            count
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn class(values: &[i32]) -> LabelOrRegion {
        match values {
            [v] => LabelOrRegion::Label(*v),
            _ => LabelOrRegion::Region(values.to_vec()),
        }
    }

    #[test]
    fn by_hand() {
        let reference = [0., 1., 1., 2., 3., 3.];
        let prediction = [0., 1., 2., 2., 1., 0.];
        let all =
            overlaps(&reference, &prediction, &[class(&[1]), class(&[1, 2]), class(&[4])], Some(3)).unwrap();
        assert_eq!(all[0], Overlap { tp: 1, fp: 0, fn_: 1, tn: 2 });
        assert_eq!(all[1], Overlap { tp: 3, fp: 0, fn_: 0, tn: 1 });
        assert_eq!((all[0].dice(), all[0].iou()), (2.0 / 3.0, 0.5));
        assert_eq!((all[0].n_pred(), all[0].n_ref()), (1, 2));
        assert!(all[2].dice().is_nan() && all[2].iou().is_nan());
        assert_eq!(overlaps(&reference, &prediction[1..], &[], None), None);
    }

    proptest! {
        #[test]
        fn counting_pairs_equals_the_definition(
            voxels in proptest::collection::vec((0u8..7, 0u8..7), 0..60),
            classes in proptest::collection::vec(proptest::collection::vec(0i32..6, 1..4), 1..4),
            ignore in proptest::option::of(0i32..7),
            odd in 0f32..9.0,
        ) {
            let mut reference: Vec<f32> = voxels.iter().map(|v| f32::from(v.0)).collect();
            let mut prediction: Vec<f32> = voxels.iter().map(|v| f32::from(v.1)).collect();
            reference.extend([odd, -1.0, 1e30, f32::NAN, 2.0]);
            prediction.extend([1.0, odd, 1.0, 2.0, f32::NAN]);
            let classes: Vec<_> = classes.iter().map(|c| class(c)).collect();
            let fast = overlaps(&reference, &prediction, &classes, ignore).unwrap();
            prop_assert_eq!(fast, overlaps_by_class(&reference, &prediction, &classes, ignore));
        }
    }
}
