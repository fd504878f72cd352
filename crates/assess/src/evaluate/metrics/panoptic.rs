//! Panoptic quality of connected components (A. Kirillov et al., 2019), with the matching of panoptica.

use std::collections::BTreeMap;
use std::sync::Arc;

use nnunet_volume::morphology::{Components, Connectivity, connected_components};

use crate::evaluate::case::ClassCase;
use crate::evaluate::metric::{Metric, key, number};

/// `pq@IOU`: components of reference and prediction (touching at corners; in flat images along edges) are matched one to
/// one, largest intersection over union first, down to IOU (default 0.5).
///
/// | key | value |
/// |---|---|
/// | rq | recognition quality, TP / (TP + FP / 2 + FN / 2): F1 of components; 0 without a match, NaN without components |
/// | sq | segmentation quality, the mean IoU of the matches; 0 without a match, NaN without components |
/// | pq | rq · sq |
/// | pq_tp, pq_fp, pq_fn | matches, components predicted only and in the reference only |
#[derive(Debug)]
pub struct PanopticQuality {
    keys: Vec<String>,
    threshold: f64,
}

impl PanopticQuality {
    pub(in crate::evaluate) fn build(argument: Option<&str>) -> Result<Arc<dyn Metric>, String> {
        let threshold = number(argument, 0.5, "an IoU above 0 and up to 1", |iou| iou > 0.0 && iou <= 1.0)?;
        let keys = ["pq", "rq", "sq", "pq_tp", "pq_fp", "pq_fn"].map(|name| key(name, argument)).into();
        Ok(Arc::new(Self { keys, threshold }))
    }
}

impl Metric for PanopticQuality {
    fn keys(&self) -> Vec<String> {
        self.keys.clone()
    }

    fn measure(&self, case: &ClassCase<'_>) -> Result<Vec<f64>, String> {
        let masks = case.masks();
        let connectivity = if case.is_flat() { Connectivity::Face } else { Connectivity::Corner };
        let components =
            [&masks.reference, &masks.prediction].map(|mask| connected_components(mask, connectivity));
        let matched = matched_ious(&components, self.threshold);
        let [truth, seen] = components.map(|components| components.list().len());
        let (tp, fp, fn_) = (matched.len(), seen - matched.len(), truth - matched.len());
        let mut values = match (tp, truth + seen) {
            (0, 0) => vec![f64::NAN; 3],
            (0, _) => vec![0.0; 3],
            _ => {
                let recognition = tp as f64 / (tp as f64 + 0.5 * fp as f64 + 0.5 * fn_ as f64);
                let segmentation = matched.iter().sum::<f64>() / tp as f64;
                vec![recognition * segmentation, recognition, segmentation]
            }
        };
        values.extend([tp, fp, fn_].map(|count| count as f64));
        Ok(values)
    }

    fn uses_spacing(&self) -> bool {
        false
    }
}

/// The intersections over union of the matched components of reference and prediction.
fn matched_ious([truth, seen]: &[Components; 2], threshold: f64) -> Vec<f64> {
    let numbers = truth.labels();
    // Voxels in common, by number in the prediction, then in the reference.
    let mut common: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    seen.for_each_run(|prediction, voxels| {
        for &reference in numbers.data()[voxels].iter().filter(|number| **number > 0) {
            *common.entry((prediction, reference as usize - 1)).or_default() += 1;
        }
    });
    let mut pairs: Vec<(f64, (usize, usize))> = common
        .into_iter()
        .map(|((prediction, reference), common)| {
            let both = seen.list()[prediction].voxels + truth.list()[reference].voxels;
            (common as f64 / (both - common) as f64, (prediction, reference))
        })
        .collect();
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut taken = [vec![false; seen.list().len()], vec![false; truth.list().len()]];
    let mut matched = Vec::new();
    for (iou, (prediction, reference)) in pairs.into_iter().filter(|(iou, _)| *iou >= threshold) {
        if !taken[0][prediction] && !taken[1][reference] {
            taken[0][prediction] = true;
            taken[1][reference] = true;
            matched.push(iou);
        }
    }
    matched
}
