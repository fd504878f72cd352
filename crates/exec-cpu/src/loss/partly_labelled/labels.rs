//! Marginal and exclusion loss over a softmax (Shi et al. 2021, arXiv:2007.03868).
//!
//! In a sample with the annotated classes A, the background and all classes outside of A are one class, whose probability
//! is the sum of theirs, taken as a log-sum-exp of logits. Cross-entropy and Dice (of A alone) compare with labels in which
//! what is not in A is background. Exclusion keeps the classes outside of A away from the voxels of A.

use nnunet_graph::Tensor;
use nnunet_graph::loss::{LabelBatch, LossError, PartlyLabelledSpec, ScaleValue};
use nnunet_kernels::exponential::exp_nonpositive;
use rayon::prelude::*;

use super::overlap::{Joined, joined_overlap};
use crate::loss::Gradient;
use crate::loss::block::{RUN, Span, channels_of, run_sum, spans, split_spans};
use crate::loss::overlap::{ClassDerivatives, ClassSums, Score, dice_score};
use crate::loss::softmax::stray_label;

/// Class of voxels that do not count.
const IGNORED: i32 = -1;

/// One output of a batch with its labels and what of them was annotated.
pub(super) struct Batch<'a> {
    pub(super) spec: &'a PartlyLabelledSpec,
    pub(super) ignore_label: Option<i16>,
    pub(super) logits: &'a Tensor,
    pub(super) target: &'a LabelBatch,
    /// For each sample, whether each class was annotated; what is said of the background does not matter.
    pub(super) rows: &'a [&'a [bool]],
}

/// Sums over one span.
struct SpanSums {
    /// Of annotated classes with their own voxels, of others with the voxels of all annotated ones.
    classes: Vec<ClassSums>,
    cross_entropy: f64,
    /// Of ln(1 + p) of the other classes at the voxels of annotated ones.
    exclusion: f64,
    counted: usize,
}

/// What the gradient needs to know of the sums.
struct Slopes {
    classes: Vec<ClassDerivatives>,
    by_voxel: f64,
    exclusion: f64,
}

/// Up to [`RUN`] voxels with their probabilities.
struct Run {
    /// Annotated class of each voxel, 0 for all others.
    target: [i32; RUN],
    /// Probabilities, a row per channel.
    probabilities: Vec<[f32; RUN]>,
    /// Share of each channel in the probability of the merged background; 0 for annotated classes.
    shares: Vec<[f32; RUN]>,
    cross_entropy: [f32; RUN],
}

impl Batch<'_> {
    /// The loss and its gradient.
    pub(super) fn evaluate(&self, gradient: Gradient) -> Result<(ScaleValue, Option<Tensor>), LossError> {
        let [samples, classes, z, y, x] = self.logits.shape;
        if self.target.shape != [samples, z, y, x] {
            let (logits, target) = (self.logits.shape, self.target.shape.to_vec());
            return Err(LossError::Shape { logits, target });
        }
        if let Some(label) = stray_label(&self.target.data, classes, self.ignore_label) {
            return Err(LossError::Label { label, last: classes.saturating_sub(1) });
        }
        let spans = spans(samples, self.logits.voxels());
        let partial: Vec<SpanSums> = spans.par_iter().map(|span| self.span_sums(*span)).collect();
        let mut sums = vec![ClassSums::default(); samples * classes];
        for (span, part) in spans.iter().zip(&partial) {
            for (c, class) in part.classes.iter().enumerate() {
                sums[span.n * classes + c].add(*class);
            }
        }
        let counted = partial.iter().map(|part| part.counted).sum::<usize>().max(1) as f64;
        let total = |of: fn(&SpanSums) -> f64| partial.iter().map(of).sum::<f64>();
        let PartlyLabelledSpec { batch_dice, smooth, exclusion, .. } = *self.spec;
        let joined = Joined { batch: batch_dice, summed: false };
        let annotated = |sample: usize, class: usize| class > 0 && self.rows[sample][class];
        let (dice, mut slopes) =
            joined_overlap(&sums, classes, joined, annotated, |sums| dice_score(sums, smooth));
        let mut terms = vec![dice, total(|part| part.cross_entropy) / counted];
        if exclusion > 0.0 {
            let excluded = |sample: usize, class: usize| {
                class > 0 && !self.rows[sample][class] && self.takes_part(sample)
            };
            let (overlap, own) =
                joined_overlap(&sums, classes, joined, excluded, |sums| overlap_score(sums, smooth));
            for (slope, own) in slopes.iter_mut().zip(own) {
                slope.intersection += exclusion * own.intersection;
                slope.predicted += exclusion * own.predicted;
            }
            terms.push(exclusion * (overlap + total(|part| part.exclusion) / counted));
        }
        let value = ScaleValue { weight: 1.0, terms };
        let Gradient::Times(weight) = gradient else { return Ok((value, None)) };
        let mut result = Tensor::zeros(self.logits.shape);
        let scaled = |slope: ClassDerivatives| ClassDerivatives {
            intersection: slope.intersection * weight,
            predicted: slope.predicted * weight,
        };
        let slopes = Slopes {
            classes: slopes.into_iter().map(scaled).collect(),
            by_voxel: weight / counted,
            exclusion: weight * exclusion / counted,
        };
        split_spans(&mut result).into_par_iter().zip(&spans).for_each(|(mut out, span)| {
            self.write_gradient(*span, &slopes, &mut out);
        });
        Ok((value, Some(result)))
    }

    /// Whether anything of the sample was annotated.
    fn takes_part(&self, sample: usize) -> bool {
        self.rows[sample].iter().any(|annotated| *annotated)
    }

    fn span_sums(&self, span: Span) -> SpanSums {
        let row = self.rows[span.n];
        let mut sums = SpanSums {
            classes: vec![ClassSums::default(); row.len()],
            cross_entropy: 0.0,
            exclusion: 0.0,
            counted: 0,
        };
        if !self.takes_part(span.n) {
            return sums;
        }
        self.runs(span, |_, n, run| {
            let counts = |i: usize| run.target[i] != IGNORED;
            sums.counted += (0..n).filter(|&i| counts(i)).count();
            sums.cross_entropy += run_sum(n, |i| run.cross_entropy[i]);
            for (c, class) in sums.classes.iter_mut().enumerate().skip(1) {
                let (p, own) = (&run.probabilities[c], c as i32);
                let annotated = row[c];
                let is_there = |i: usize| if annotated { run.target[i] == own } else { run.target[i] > 0 };
                class.intersection += run_sum(n, |i| if is_there(i) { p[i] } else { 0.0 });
                class.predicted += run_sum(n, |i| if counts(i) { p[i] } else { 0.0 });
                class.reference += run_sum(n, |i| if is_there(i) { 1.0 } else { 0.0 });
                if !annotated {
                    sums.exclusion += run_sum(n, |i| if is_there(i) { p[i].ln_1p() } else { 0.0 });
                }
            }
        });
        sums
    }

    /// dL/dz = p (g - sum of p g) + (p - q) / voxels, with g the derivatives by the probabilities, and q 1 for the class that
    /// is there, or the shares of the classes in the merged background.
    fn write_gradient(&self, span: Span, slopes: &Slopes, out: &mut [&mut [f32]]) {
        if !self.takes_part(span.n) {
            return;
        }
        let row = self.rows[span.n];
        let classes = &slopes.classes[span.n * row.len()..][..row.len()];
        let (by_voxel, exclusion) = (slopes.by_voxel as f32, slopes.exclusion as f32);
        let mut by_probability = vec![0.0f32; row.len()];
        self.runs(span, |start, n, run| {
            for i in 0..n {
                let target = run.target[i];
                if target == IGNORED {
                    continue;
                }
                let mut mean = 0.0;
                for (c, slope) in classes.iter().enumerate().skip(1) {
                    let is_there = if row[c] { target == c as i32 } else { target > 0 };
                    let (hit, any) = (slope.intersection as f32, slope.predicted as f32);
                    let p = run.probabilities[c][i];
                    let apart = if !row[c] && is_there { exclusion / (1.0 + p) } else { 0.0 };
                    by_probability[c] = any + apart + if is_there { hit } else { 0.0 };
                    mean += p * by_probability[c];
                }
                for (c, out) in out.iter_mut().enumerate() {
                    let p = run.probabilities[c][i];
                    let q = match target {
                        0 => run.shares[c][i],
                        target => f32::from(u8::from(target == c as i32)),
                    };
                    out[start + i] = p * (by_probability[c] - mean) + (p - q) * by_voxel;
                }
            }
        });
    }

    /// Hands out the runs of a span, each with its start within the span and its length.
    fn runs(&self, span: Span, mut visit: impl FnMut(usize, usize, &Run)) {
        let row = self.rows[span.n];
        let channels = channels_of(self.logits, span);
        let labels = &self.target.sample(span.n)[span.start..][..span.length];
        let mut run = Run {
            target: [0; RUN],
            probabilities: vec![[0.0; RUN]; row.len()],
            shares: vec![[0.0; RUN]; row.len()],
            cross_entropy: [0.0; RUN],
        };
        for start in (0..span.length).step_by(RUN) {
            let n = RUN.min(span.length - start);
            for (target, &label) in run.target.iter_mut().zip(&labels[start..start + n]) {
                *target = match usize::try_from(label) {
                    _ if Some(label) == self.ignore_label => IGNORED,
                    Ok(class) if class > 0 && row[class] => i32::from(label),
                    _ => 0,
                };
            }
            run.fill(&channels, start, n, |c| c == 0 || !row[c]);
            visit(start, n, &run);
        }
    }
}

impl Run {
    fn fill(&mut self, channels: &[&[f32]], start: usize, n: usize, is_merged: impl Fn(usize) -> bool) {
        // The whole and the merged background, each with its largest logit and its sum.
        let mut largest = [[f32::NEG_INFINITY; RUN]; 2];
        let mut total = [[0.0f32; RUN]; 2];
        let members =
            |which: usize| (0..channels.len()).filter(|&c| which == 0 || is_merged(c)).collect::<Vec<_>>();
        for which in [0, 1] {
            let (largest, total) = (&mut largest[which], &mut total[which]);
            let members = members(which);
            for &c in &members {
                for (largest, &z) in largest[..n].iter_mut().zip(&channels[c][start..]) {
                    *largest = if z > *largest { z } else { *largest };
                }
            }
            let rows = if which == 0 { &mut self.probabilities } else { &mut self.shares };
            for &c in &members {
                let (row, channel) = (&mut rows[c], &channels[c][start..start + n]);
                for i in 0..n {
                    row[i] = exp_nonpositive(channel[i] - largest[i]);
                    total[i] += row[i];
                }
            }
            for &c in &members {
                for i in 0..n {
                    rows[c][i] /= total[i];
                }
            }
        }
        for i in 0..n {
            self.cross_entropy[i] = match usize::try_from(self.target[i]) {
                Err(_) => 0.0,
                Ok(0) => (largest[0][i] - largest[1][i]) + total[0][i].ln() - total[1][i].ln(),
                Ok(class) => (largest[0][i] - channels[class][start + i]) + total[0][i].ln(),
            };
        }
    }
}

/// The soft Dice of a class with voxels where it must not be.
fn overlap_score(sums: ClassSums, smooth: f64) -> Score {
    let denominator = (sums.reference + sums.predicted + smooth).max(1e-8);
    Score {
        value: 2.0 * sums.intersection / denominator,
        by_intersection: 2.0 / denominator,
        by_predicted: -2.0 * sums.intersection / (denominator * denominator),
    }
}
