//! Dice of softmax probabilities plus cross-entropy, for plain labels.
//!
//! Dice leaves out the background (class 0). Voxels with the ignore label take part in neither term;
//! if nothing else is left, the cross-entropy is 0. The cross-entropy is the mean over voxels.

use super::block::{RUN, Span, channels_of, log_sum, run_sum, spans, split_spans};
use super::overlap::{ClassDerivatives, ClassSums, Groups, dice_score, overlap_loss};
use super::{Gradient, ScaleLoss};
use nnunet_graph::Tensor;
use nnunet_graph::loss::{LabelBatch, LossError, ScaleValue, Target};
use nnunet_kernels::exponential::exp_nonpositive;
use rayon::prelude::*;

/// Dice plus cross-entropy of one output.
#[derive(Debug, Clone, PartialEq)]
pub struct DiceAndCrossEntropy {
    /// Dice of the batch as a whole instead of each sample.
    pub batch_dice: bool,
    /// Added to numerator and denominator of the Dice.
    pub smooth: f64,
    /// Label of voxels that do not count.
    pub ignore_label: Option<i16>,
}

/// Class of voxels that do not count, in working copies of the labels.
const IGNORED: i32 = -1;

/// Sums over one span.
struct SpanSums {
    classes: Vec<ClassSums>,
    cross_entropy: f64,
    counted: usize,
    stray_label: Option<i16>,
}

impl ScaleLoss for DiceAndCrossEntropy {
    fn evaluate(
        &self,
        logits: &Tensor,
        target: &Target,
        gradient: Gradient,
    ) -> Result<(ScaleValue, Option<Tensor>), LossError> {
        let Target::Labels(labels) = target else {
            return Err(LossError::Kind { expected: "labels", found: target.kind() });
        };
        let [samples, classes, z, y, x] = logits.shape;
        if labels.shape != [samples, z, y, x] {
            return Err(LossError::Shape { logits: logits.shape, target: labels.shape.to_vec() });
        }
        let spans = spans(samples, logits.voxels());
        let (partial, probabilities) = match gradient {
            Gradient::Omitted => (self.sums(logits, labels, &spans), None),
            Gradient::Times(_) => {
                let mut probabilities = Tensor::zeros(logits.shape);
                let partial = self.sums_and_probabilities(logits, labels, &spans, &mut probabilities);
                (partial, Some(probabilities))
            }
        };
        if let Some(label) = partial.iter().find_map(|p| p.stray_label) {
            return Err(LossError::Label { label, last: classes.saturating_sub(1) });
        }
        let mut sums = vec![ClassSums::default(); samples * classes];
        for (span, part) in spans.iter().zip(&partial) {
            for (c, class) in part.classes.iter().enumerate() {
                sums[span.n * classes + c].add(*class);
            }
        }
        let counted: usize = partial.iter().map(|p| p.counted).sum();
        let total: f64 = partial.iter().map(|p| p.cross_entropy).sum();
        let cross_entropy = if counted == 0 { 0.0 } else { total / counted as f64 };
        let groups = Groups { classes, first_class: 1, batch: self.batch_dice };
        let (dice, derivatives) = overlap_loss(&sums, groups, |sums| dice_score(sums, self.smooth));
        let value = ScaleValue { weight: 1.0, terms: vec![dice, cross_entropy] };
        let (Gradient::Times(weight), Some(mut gradient)) = (gradient, probabilities) else {
            return Ok((value, None));
        };
        let by_voxel = (weight / counted.max(1) as f64) as f32;
        split_spans(&mut gradient).into_par_iter().zip(&spans).for_each(|(mut probabilities, span)| {
            let slopes = scaled(&derivatives[span.n * classes..][..classes], weight);
            let labels = &labels.sample(span.n)[span.start..][..span.length];
            self.to_gradient(&mut probabilities, labels, &slopes, by_voxel);
        });
        Ok((value, Some(gradient)))
    }
}

/// Derivatives (intersection, predicted) times `weight`, in f32.
pub(super) fn scaled(derivatives: &[ClassDerivatives], weight: f64) -> Vec<[f32; 2]> {
    derivatives.iter().map(|d| [(d.intersection * weight) as f32, (d.predicted * weight) as f32]).collect()
}

impl DiceAndCrossEntropy {
    fn sums(&self, logits: &Tensor, labels: &LabelBatch, spans: &[Span]) -> Vec<SpanSums> {
        let classes = logits.shape[1];
        let work = |span: &Span| {
            let mut buffer = vec![0.0f32; classes * span.length];
            let mut parts: Vec<&mut [f32]> = buffer.chunks_exact_mut(span.length).collect();
            self.span_sums(logits, labels, *span, &mut parts)
        };
        spans.par_iter().map(work).collect()
    }

    fn sums_and_probabilities(
        &self,
        logits: &Tensor,
        labels: &LabelBatch,
        spans: &[Span],
        probabilities: &mut Tensor,
    ) -> Vec<SpanSums> {
        let work =
            |(mut parts, span): (Vec<&mut [f32]>, &Span)| self.span_sums(logits, labels, *span, &mut parts);
        split_spans(probabilities).into_par_iter().zip(spans).map(work).collect()
    }

    /// Writes the probabilities of a span and sums them up.
    fn span_sums(
        &self,
        logits: &Tensor,
        labels: &LabelBatch,
        span: Span,
        probabilities: &mut [&mut [f32]],
    ) -> SpanSums {
        let logits = channels_of(logits, span);
        let labels = &labels.sample(span.n)[span.start..][..span.length];
        let mut result = SpanSums {
            classes: vec![ClassSums::default(); logits.len()],
            cross_entropy: 0.0,
            counted: 0,
            stray_label: self.stray_label(labels, logits.len()),
        };
        for start in (0..span.length).step_by(RUN) {
            let end = (start + RUN).min(span.length);
            self.run_sums(&logits, &labels[start..end], start, probabilities, &mut result);
        }
        result
    }

    fn run_sums(
        &self,
        logits: &[&[f32]],
        labels: &[i16],
        start: usize,
        probabilities: &mut [&mut [f32]],
        result: &mut SpanSums,
    ) {
        let n = labels.len();
        let mut classes = [IGNORED; RUN];
        let mut largest = [f32::NEG_INFINITY; RUN];
        let mut total = [0.0f32; RUN];
        let (classes, largest, total) = (&mut classes[..n], &mut largest[..n], &mut total[..n]);
        self.classes_of(labels, classes);
        for channel in logits {
            for (largest, &z) in largest.iter_mut().zip(&channel[start..]) {
                *largest = if z > *largest { z } else { *largest };
            }
        }
        for (c, (channel, out)) in logits.iter().zip(probabilities.iter_mut()).enumerate() {
            let (channel, out) = (&channel[start..start + n], &mut out[start..start + n]);
            for i in 0..n {
                let e = exp_nonpositive(channel[i] - largest[i]);
                out[i] = e;
                total[i] += e;
            }
            result.cross_entropy -=
                run_sum(n, |i| if classes[i] == c as i32 { channel[i] - largest[i] } else { 0.0 });
        }
        for (c, (out, sums)) in probabilities.iter_mut().zip(&mut result.classes).enumerate() {
            let c = c as i32;
            let out = &mut out[start..start + n];
            for i in 0..n {
                out[i] /= total[i];
            }
            sums.intersection += run_sum(n, |i| if classes[i] == c { out[i] } else { 0.0 });
            sums.predicted += run_sum(n, |i| if classes[i] != IGNORED { out[i] } else { 0.0 });
            sums.reference += run_sum(n, |i| if classes[i] == c { 1.0 } else { 0.0 });
        }
        let counted = run_sum(n, |i| if classes[i] != IGNORED { 1.0 } else { 0.0 }) as usize;
        if counted < n {
            for i in 0..n {
                total[i] = if classes[i] != IGNORED { total[i] } else { 1.0 };
            }
        }
        result.counted += counted;
        result.cross_entropy += log_sum(total);
    }

    /// Turns the probabilities of a span into the gradient with respect to its logits.
    ///
    /// With g the derivative of the Dice loss by the probabilities, p the probabilities and t the
    /// one-hot target: p (g - sum p g) + (p - t) / voxels.
    fn to_gradient(
        &self,
        probabilities: &mut [&mut [f32]],
        labels: &[i16],
        slopes: &[[f32; 2]],
        by_voxel: f32,
    ) {
        let mut classes = [IGNORED; RUN];
        for start in (0..labels.len()).step_by(RUN) {
            let n = RUN.min(labels.len() - start);
            let classes = &mut classes[..n];
            self.classes_of(&labels[start..start + n], classes);
            let mut mean = [0.0f32; RUN];
            for (c, (p, slope)) in probabilities.iter().zip(slopes).enumerate() {
                let p = &p[start..start + n];
                for i in 0..n {
                    let g = slope[1] + if classes[i] == c as i32 { slope[0] } else { 0.0 };
                    mean[i] += p[i] * g;
                }
            }
            for (c, (p, slope)) in probabilities.iter_mut().zip(slopes).enumerate() {
                let p = &mut p[start..start + n];
                for i in 0..n {
                    let here = classes[i] == c as i32;
                    let g = slope[1] + if here { slope[0] } else { 0.0 };
                    let t = if here { 1.0 } else { 0.0 };
                    let gradient = p[i] * (g - mean[i]) + (p[i] - t) * by_voxel;
                    p[i] = if classes[i] != IGNORED { gradient } else { 0.0 };
                }
            }
        }
    }

    fn classes_of(&self, labels: &[i16], classes: &mut [i32]) {
        match self.ignore_label {
            None => classes.iter_mut().zip(labels).for_each(|(class, label)| *class = i32::from(*label)),
            Some(ignore) => {
                for (class, label) in classes.iter_mut().zip(labels) {
                    *class = if *label == ignore { IGNORED } else { i32::from(*label) };
                }
            }
        }
    }

    fn stray_label(&self, labels: &[i16], classes: usize) -> Option<i16> {
        stray_label(labels, classes, self.ignore_label)
    }
}

/// A label that is neither a class nor the ignore label.
pub(super) fn stray_label(labels: &[i16], classes: usize, ignore: Option<i16>) -> Option<i16> {
    let limit = i16::try_from(classes).unwrap_or(i16::MAX);
    let stray = |label: i16| label < 0 || label >= limit;
    let any = labels.iter().fold(false, |any, label| any | stray(*label));
    if !any {
        return None;
    }
    labels.iter().copied().find(|label| stray(*label) && Some(*label) != ignore)
}
