//! True positives, false positives and false negatives of hard predictions, for the online
//! evaluation (pseudo-Dice) during training.

use super::block::{channels_of, spans};
use super::softmax::stray_label;
use nnunet_graph::Tensor;
use nnunet_graph::loss::{LabelBatch, LossError, OverlapCounts, RegionBatch};
use rayon::prelude::*;

/// Counts of each foreground class (1, 2, ...) over a batch; the class with the largest logit is
/// predicted, the smallest class among equals.
pub fn count_label_overlap(
    logits: &Tensor,
    labels: &LabelBatch,
    ignore_label: Option<i16>,
) -> Result<Vec<OverlapCounts>, LossError> {
    let [samples, classes, z, y, x] = logits.shape;
    if labels.shape != [samples, z, y, x] {
        return Err(LossError::Shape { logits: logits.shape, target: labels.shape.to_vec() });
    }
    if let Some(label) = stray_label(&labels.data, classes, ignore_label) {
        return Err(LossError::Label { label, last: classes.saturating_sub(1) });
    }
    let partial: Vec<Vec<OverlapCounts>> = spans(samples, logits.voxels())
        .into_par_iter()
        .map(|span| {
            let logits = channels_of(logits, span);
            let labels = &labels.sample(span.n)[span.start..][..span.length];
            let mut predicted = vec![0i16; span.length];
            let mut best = logits.first().map(|l| l.to_vec()).unwrap_or_default();
            for (c, channel) in logits.iter().enumerate().skip(1) {
                for ((best, predicted), &z) in best.iter_mut().zip(&mut predicted).zip(*channel) {
                    let better = z > *best;
                    *best = if better { z } else { *best };
                    *predicted = if better { c as i16 } else { *predicted };
                }
            }
            let mut counts = vec![OverlapCounts::default(); classes];
            for (&predicted, &label) in predicted.iter().zip(labels) {
                if Some(label) == ignore_label {
                    continue;
                }
                if predicted == label {
                    counts[label as usize].true_positives += 1;
                } else {
                    counts[predicted as usize].false_positives += 1;
                    counts[label as usize].false_negatives += 1;
                }
            }
            counts
        })
        .collect();
    Ok(add_up(partial, classes).split_off(1.min(classes)))
}

/// Counts of each region over a batch; probabilities above one half are predicted. `has_ignore`: the
/// last channel of `target` marks voxels that do not count.
pub fn count_region_overlap(
    logits: &Tensor,
    target: &RegionBatch,
    has_ignore: bool,
) -> Result<Vec<OverlapCounts>, LossError> {
    let [samples, regions, z, y, x] = logits.shape;
    if target.shape != [samples, regions + usize::from(has_ignore), z, y, x] {
        return Err(LossError::Shape { logits: logits.shape, target: target.shape.to_vec() });
    }
    let partial: Vec<Vec<OverlapCounts>> = spans(samples, logits.voxels())
        .into_par_iter()
        .map(|span| {
            let part = |c: usize| &target.channel(span.n, c)[span.start..][..span.length];
            let ignored = if has_ignore { Some(part(regions)) } else { None };
            let mut counts = vec![OverlapCounts::default(); regions];
            for (c, channel) in channels_of(logits, span).into_iter().enumerate() {
                for (i, (&z, &present)) in channel.iter().zip(part(c)).enumerate() {
                    if !ignored.is_some_and(|ignored| ignored[i]) {
                        count(&mut counts[c], z > 0.0, present);
                    }
                }
            }
            counts
        })
        .collect();
    Ok(add_up(partial, regions))
}

fn count(counts: &mut OverlapCounts, predicted: bool, present: bool) {
    counts.true_positives += u64::from(predicted & present);
    counts.false_positives += u64::from(predicted & !present);
    counts.false_negatives += u64::from(!predicted & present);
}

fn add_up(partial: Vec<Vec<OverlapCounts>>, classes: usize) -> Vec<OverlapCounts> {
    let mut total = vec![OverlapCounts::default(); classes];
    for counts in partial {
        total.iter_mut().zip(counts).for_each(|(total, count)| total.add(count));
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logits(channels: &[&[f32]]) -> Tensor {
        Tensor { shape: [1, channels.len(), 1, 1, channels[0].len()], data: channels.concat() }
    }

    #[test]
    fn labels_leave_out_background_and_ignored_voxels() {
        let logits = logits(&[&[1.0, 0.0, 0.0, 2.0], &[1.0, 1.0, 1.0, 0.0], &[0.0, 3.0, 0.0, 9.0]]);
        let labels = LabelBatch { shape: [1, 1, 1, 4], data: vec![0, 1, 1, 3] };
        // Predicted: 0 (a tie with class 1), 2, 1, and 2 where the label is ignored.
        let counts = count_label_overlap(&logits, &labels, Some(3)).unwrap();
        let expected = [(1, 0, 1), (0, 1, 0)];
        for (count, (tp, fp, missed)) in counts.iter().zip(expected) {
            let found = (count.true_positives, count.false_positives, count.false_negatives);
            assert_eq!(found, (tp, fp, missed));
        }
        assert_eq!(counts.len(), 2);
        assert!((counts[0].dice() - 2.0 / 3.0).abs() < 1e-15);
        let error = count_label_overlap(&logits, &labels, None).unwrap_err();
        assert!(error.to_string().contains("label 3"), "{error}");
    }

    #[test]
    fn regions_overlap() {
        let logits = logits(&[&[1.0, -1.0, 1.0], &[0.0, 0.1, -5.0]]);
        let target = RegionBatch {
            shape: [1, 3, 1, 1, 3],
            data: [[true, true, false], [true, true, false], [false, false, true]].concat(),
        };
        let counts = count_region_overlap(&logits, &target, true).unwrap();
        let one = OverlapCounts { true_positives: 1, false_positives: 0, false_negatives: 1 };
        assert_eq!(counts, [one, one]);
        assert!(OverlapCounts::default().dice().is_nan());
        assert!(count_region_overlap(&logits, &target, false).is_err());
    }
}
