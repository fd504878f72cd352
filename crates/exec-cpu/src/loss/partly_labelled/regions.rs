//! Dice and binary cross-entropy over sigmoids, of the annotated regions of each sample alone.
//!
//! Channels that were not annotated have a gradient of exactly 0. The mean form is nnU-Net's over what was annotated; the sum
//! over regions is that of MultiTalent (Ulrich et al. 2023, arXiv:2303.14444), where each sample's cross-entropy is the mean
//! over its own voxels.

use nnunet_graph::Tensor;
use nnunet_graph::loss::{LossError, PartlyLabelledSpec, RegionBatch, ScaleValue};
use nnunet_kernels::exponential::exp_nonpositive;
use rayon::prelude::*;

use super::overlap::{Joined, joined_overlap};
use crate::loss::Gradient;
use crate::loss::block::{RUN, Span, channels_of, run_sum, spans, split_spans};
use crate::loss::overlap::{ClassSums, Score, dice_score};

/// One output of a batch with its regions and what of them was annotated.
pub(super) struct Batch<'a> {
    pub(super) spec: &'a PartlyLabelledSpec,
    pub(super) has_ignore: bool,
    pub(super) logits: &'a Tensor,
    pub(super) target: &'a RegionBatch,
    /// For each sample, whether each region was annotated.
    pub(super) rows: &'a [&'a [bool]],
}

/// Sums over one span.
struct SpanSums {
    regions: Vec<ClassSums>,
    cross_entropy: f64,
    counted: usize,
}

impl Batch<'_> {
    /// The loss and its gradient.
    pub(super) fn evaluate(&self, gradient: Gradient) -> Result<(ScaleValue, Option<Tensor>), LossError> {
        let [samples, regions, z, y, x] = self.logits.shape;
        if self.target.shape != [samples, regions + usize::from(self.has_ignore), z, y, x] {
            let (logits, target) = (self.logits.shape, self.target.shape.to_vec());
            return Err(LossError::Shape { logits, target });
        }
        let spans = spans(samples, self.logits.voxels());
        let partial: Vec<SpanSums> = spans.par_iter().map(|span| self.span_sums(*span)).collect();
        let mut sums = vec![ClassSums::default(); samples * regions];
        let mut cross_entropy = vec![0.0; samples];
        let mut counted = vec![0usize; samples];
        for (span, part) in spans.iter().zip(&partial) {
            for (c, region) in part.regions.iter().enumerate() {
                sums[span.n * regions + c].add(*region);
            }
            cross_entropy[span.n] += part.cross_entropy;
            counted[span.n] += part.counted;
        }
        let PartlyLabelledSpec { batch_dice, smooth, summed, .. } = *self.spec;
        let joined = Joined { batch: batch_dice || summed, summed };
        let annotated = |sample: usize, region: usize| self.rows[sample][region];
        let (dice, slopes) = joined_overlap(&sums, regions, joined, annotated, |sums| match summed {
            true => unsmoothed_dice(sums),
            false => dice_score(sums, smooth),
        });
        let by_voxel = self.by_voxel(&counted);
        let value = cross_entropy.iter().zip(&by_voxel).map(|(sum, by_voxel)| sum * by_voxel).sum();
        let value = ScaleValue { weight: 1.0, terms: vec![dice, value] };
        let Gradient::Times(weight) = gradient else { return Ok((value, None)) };
        let mut result = Tensor::zeros(self.logits.shape);
        split_spans(&mut result).into_par_iter().zip(&spans).for_each(|(mut out, span)| {
            let channels = channels_of(self.logits, *span);
            let ignored = self.ignored(*span);
            let by_voxel = (by_voxel[span.n] * weight) as f32;
            for (c, (out, logits)) in out.iter_mut().zip(channels).enumerate() {
                if !annotated(span.n, c) {
                    continue;
                }
                let slope = slopes[span.n * regions + c];
                let (hit, any) = ((slope.intersection * weight) as f32, (slope.predicted * weight) as f32);
                let members = &self.target.channel(span.n, c)[span.start..][..span.length];
                for (i, (out, &z)) in out.iter_mut().zip(logits).enumerate() {
                    if ignored.is_some_and(|ignored| ignored[i]) {
                        continue;
                    }
                    let p = sigmoid(z).0;
                    let (t, g) = if members[i] { (1.0, any + hit) } else { (0.0, any) };
                    *out = p * (1.0 - p) * g + (p - t) * by_voxel;
                }
            }
        });
        Ok((value, Some(result)))
    }

    /// Factor of each sample's sum of cross-entropies. The mean over everything annotated, times the number of regions where
    /// there are ignored voxels, as nnU-Net has it; or the sum over regions of each sample's own mean.
    fn by_voxel(&self, counted: &[usize]) -> Vec<f64> {
        if self.spec.summed {
            return counted.iter().map(|&voxels| 1.0 / voxels.max(1) as f64).collect();
        }
        let of =
            |(row, voxels): (&&[bool], &usize)| row.iter().filter(|annotated| **annotated).count() * voxels;
        let pairs: usize = self.rows.iter().zip(counted).map(of).sum();
        let times = if self.has_ignore { self.logits.shape[1] as f64 } else { 1.0 };
        vec![times / pairs.max(1) as f64; counted.len()]
    }

    fn ignored(&self, span: Span) -> Option<&[bool]> {
        let last = self.target.shape[1].checked_sub(1).filter(|_| self.has_ignore)?;
        Some(&self.target.channel(span.n, last)[span.start..][..span.length])
    }

    fn span_sums(&self, span: Span) -> SpanSums {
        let channels = channels_of(self.logits, span);
        let ignored = self.ignored(span);
        let mut sums = SpanSums {
            regions: vec![ClassSums::default(); channels.len()],
            cross_entropy: 0.0,
            counted: ignored.map_or(span.length, |i| i.iter().filter(|v| !**v).count()),
        };
        let mut p = [0.0f32; RUN];
        for (c, channel) in channels.iter().enumerate().filter(|(c, _)| self.rows[span.n][*c]) {
            let members = &self.target.channel(span.n, c)[span.start..][..span.length];
            let region = &mut sums.regions[c];
            for start in (0..span.length).step_by(RUN) {
                let n = RUN.min(span.length - start);
                let (z, t) = (&channel[start..start + n], &members[start..start + n]);
                let counts = |i: usize| !ignored.is_some_and(|ignored| ignored[start + i]);
                let mut entropy = [0.0f32; RUN];
                for i in 0..n {
                    let (probability, tail) = sigmoid(z[i]);
                    p[i] = probability;
                    // max(z, 0) - z t + ln(1 + e^-|z|)
                    entropy[i] = z[i].max(0.0) - if t[i] { z[i] } else { 0.0 } + tail.ln_1p();
                }
                region.intersection += run_sum(n, |i| if t[i] && counts(i) { p[i] } else { 0.0 });
                region.predicted += run_sum(n, |i| if counts(i) { p[i] } else { 0.0 });
                region.reference += run_sum(n, |i| if t[i] && counts(i) { 1.0 } else { 0.0 });
                sums.cross_entropy += run_sum(n, |i| if counts(i) { entropy[i] } else { 0.0 });
            }
        }
        sums
    }
}

/// The sigmoid of `z`, and e^-|z|.
fn sigmoid(z: f32) -> (f32, f32) {
    let tail = exp_nonpositive(-z.abs());
    (if z >= 0.0 { 1.0 } else { tail } / (1.0 + tail), tail)
}

/// Minus 2 TP / max(2 TP + FP + FN, 1e-7).
fn unsmoothed_dice(sums: ClassSums) -> Score {
    const CLAMP: f64 = 1e-7;
    let sum = sums.reference + sums.predicted;
    let denominator = sum.max(CLAMP);
    Score {
        value: -2.0 * sums.intersection / denominator,
        by_intersection: -2.0 / denominator,
        by_predicted: if sum > CLAMP { 2.0 * sums.intersection / (denominator * denominator) } else { 0.0 },
    }
}
