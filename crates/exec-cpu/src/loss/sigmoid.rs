//! Dice of sigmoid probabilities plus binary cross-entropy, for regions.
//!
//! Dice takes all regions. The cross-entropy is the mean over voxels and regions; with an ignore
//! label (the last channel of the target) it is the sum over regions and counted voxels divided by
//! the number of counted voxels alone, as the reference has it.

use super::block::{RUN, Span, channels_of, log_sum, run_sum, spans, split_spans};
use super::overlap::{ClassSums, Groups, dice_score, overlap_loss};
use super::softmax::scaled;
use super::{Gradient, ScaleLoss};
use nnunet_graph::Tensor;
use nnunet_graph::loss::{LossError, RegionBatch, ScaleValue, Target};
use nnunet_kernels::exponential::exp_nonpositive;
use rayon::prelude::*;

/// Dice plus binary cross-entropy of one output.
#[derive(Debug, Clone, PartialEq)]
pub struct DiceAndBinaryCrossEntropy {
    /// Dice of the batch as a whole instead of each sample.
    pub batch_dice: bool,
    /// Added to numerator and denominator of the Dice.
    pub smooth: f64,
    /// Whether the last channel of targets marks voxels that do not count.
    pub has_ignore: bool,
}

/// Sums over one span.
struct SpanSums {
    regions: Vec<ClassSums>,
    cross_entropy: f64,
    counted: usize,
}

impl ScaleLoss for DiceAndBinaryCrossEntropy {
    fn evaluate(
        &self,
        logits: &Tensor,
        target: &Target,
        gradient: Gradient,
    ) -> Result<(ScaleValue, Option<Tensor>), LossError> {
        let Target::Regions(target) = target else {
            return Err(LossError::Kind { expected: "regions", found: target.kind() });
        };
        let [samples, regions, z, y, x] = logits.shape;
        if target.shape != [samples, regions + usize::from(self.has_ignore), z, y, x] {
            return Err(LossError::Shape { logits: logits.shape, target: target.shape.to_vec() });
        }
        let spans = spans(samples, logits.voxels());
        let mut probabilities = match gradient {
            Gradient::Omitted => None,
            Gradient::Times(_) => Some(Tensor::zeros(logits.shape)),
        };
        let partial: Vec<SpanSums> = match &mut probabilities {
            Some(probabilities) => split_spans(probabilities)
                .into_par_iter()
                .zip(&spans)
                .map(|(mut parts, span)| self.span_sums(logits, target, *span, &mut parts))
                .collect(),
            None => spans
                .par_iter()
                .map(|span| {
                    let mut buffer = vec![0.0f32; regions * span.length];
                    let mut parts: Vec<&mut [f32]> = buffer.chunks_exact_mut(span.length).collect();
                    self.span_sums(logits, target, *span, &mut parts)
                })
                .collect(),
        };
        let mut sums = vec![ClassSums::default(); samples * regions];
        for (span, part) in spans.iter().zip(&partial) {
            for (c, region) in part.regions.iter().enumerate() {
                sums[span.n * regions + c].add(*region);
            }
        }
        let counted: usize = partial.iter().map(|p| p.counted).sum();
        let total: f64 = partial.iter().map(|p| p.cross_entropy).sum();
        let divisor = if self.has_ignore { counted } else { counted * regions }.max(1) as f64;
        let groups = Groups { classes: regions, first_class: 0, batch: self.batch_dice };
        let (dice, derivatives) = overlap_loss(&sums, groups, |sums| dice_score(sums, self.smooth));
        let value = ScaleValue { weight: 1.0, terms: vec![dice, total / divisor] };
        let (Gradient::Times(weight), Some(mut gradient)) = (gradient, probabilities) else {
            return Ok((value, None));
        };
        let by_voxel = (weight / divisor) as f32;
        split_spans(&mut gradient).into_par_iter().zip(&spans).for_each(|(mut parts, span)| {
            let slopes = scaled(&derivatives[span.n * regions..][..regions], weight);
            let ignored = self.ignored(target, *span);
            for (c, (part, slope)) in parts.iter_mut().zip(&slopes).enumerate() {
                let members = &target.channel(span.n, c)[span.start..][..span.length];
                to_gradient(part, members, ignored, *slope, by_voxel);
            }
        });
        Ok((value, Some(gradient)))
    }
}

impl DiceAndBinaryCrossEntropy {
    fn ignored<'a>(&self, target: &'a RegionBatch, span: Span) -> Option<&'a [bool]> {
        let last = target.shape[1].checked_sub(1).filter(|_| self.has_ignore)?;
        Some(&target.channel(span.n, last)[span.start..][..span.length])
    }

    /// Writes the probabilities of a span and sums them up.
    fn span_sums(
        &self,
        logits: &Tensor,
        target: &RegionBatch,
        span: Span,
        probabilities: &mut [&mut [f32]],
    ) -> SpanSums {
        let logits = channels_of(logits, span);
        let ignored = self.ignored(target, span);
        let mut result = SpanSums {
            regions: vec![ClassSums::default(); logits.len()],
            cross_entropy: 0.0,
            counted: ignored.map_or(span.length, |i| i.iter().filter(|v| !**v).count()),
        };
        let mut counts = [1.0f32; RUN];
        let mut grown = [0.0f32; RUN];
        for start in (0..span.length).step_by(RUN) {
            let n = RUN.min(span.length - start);
            if let Some(ignored) = ignored {
                for (count, ignored) in counts.iter_mut().zip(&ignored[start..start + n]) {
                    *count = if *ignored { 0.0 } else { 1.0 };
                }
            }
            for (c, (channel, out)) in logits.iter().zip(probabilities.iter_mut()).enumerate() {
                let members = &target.channel(span.n, c)[span.start + start..][..n];
                let (channel, out) = (&channel[start..start + n], &mut out[start..start + n]);
                for i in 0..n {
                    let z = channel[i];
                    let e = exp_nonpositive(-z.abs());
                    out[i] = if z >= 0.0 { 1.0 } else { e } / (1.0 + e);
                    // Adds nothing to the product of logarithms where a voxel does not count.
                    grown[i] = 1.0 + e * counts[i];
                }
                let sums = &mut result.regions[c];
                sums.intersection += run_sum(n, |i| if members[i] { out[i] * counts[i] } else { 0.0 });
                sums.predicted += run_sum(n, |i| out[i] * counts[i]);
                sums.reference += run_sum(n, |i| if members[i] { counts[i] } else { 0.0 });
                // max(z, 0) - z t + ln(1 + e^-|z|)
                result.cross_entropy += log_sum(&grown[..n]);
                result.cross_entropy += run_sum(n, |i| {
                    let z = channel[i];
                    let linear = if z > 0.0 { z } else { 0.0 } - if members[i] { z } else { 0.0 };
                    linear * counts[i]
                });
            }
        }
        result
    }
}

/// Turns the probabilities of one region into the gradient with respect to its logits:
/// p (1 - p) g + (p - t) / voxels, with g the derivative of the Dice loss by the probability.
fn to_gradient(
    probabilities: &mut [f32],
    members: &[bool],
    ignored: Option<&[bool]>,
    slope: [f32; 2],
    by_voxel: f32,
) {
    for (p, member) in probabilities.iter_mut().zip(members) {
        let (t, g) = if *member { (1.0, slope[1] + slope[0]) } else { (0.0, slope[1]) };
        *p = *p * (1.0 - *p) * g + (*p - t) * by_voxel;
    }
    if let Some(ignored) = ignored {
        for (p, ignored) in probabilities.iter_mut().zip(ignored) {
            *p = if *ignored { 0.0 } else { *p };
        }
    }
}
