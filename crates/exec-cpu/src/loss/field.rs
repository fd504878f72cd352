//! Logits and target of one output, read run by run.

use nnunet_graph::Tensor;
use nnunet_graph::loss::{Compared, LabelBatch, LossError, RegionBatch, Target};
use nnunet_kernels::exponential::exp_nonpositive;
use rayon::prelude::*;

use super::block::{RUN, Span, spans, split_spans};
use super::run::{Run, RunGradient};
use super::softmax::stray_label;

/// Logits with the target they are compared with. Both fit each other.
pub(super) struct Field<'a> {
    logits: &'a Tensor,
    target: Compare<'a>,
    spans: Vec<Span>,
    /// Voxels of all samples that count.
    counted: usize,
}

#[derive(Clone, Copy)]
enum Compare<'a> {
    Labels { labels: &'a LabelBatch, ignore_label: Option<i16> },
    Regions { regions: &'a RegionBatch, has_ignore: bool },
}

impl<'a> Field<'a> {
    /// `logits` against `target`.
    ///
    /// # Errors
    /// A target of another kind or shape; a label without an output.
    pub(super) fn new(compared: Compared, logits: &'a Tensor, target: &'a Target) -> Result<Self, LossError> {
        let [samples, channels, z, y, x] = logits.shape;
        let misfit = |shape: &[usize]| LossError::Shape { logits: logits.shape, target: shape.to_vec() };
        let target = match (compared, target) {
            (Compared::Labels { ignore_label }, Target::Labels(labels)) => {
                if labels.shape != [samples, z, y, x] {
                    return Err(misfit(&labels.shape));
                }
                let stray = |chunk: &[i16]| stray_label(chunk, channels, ignore_label);
                if let Some(label) = labels.data.par_chunks(1 << 16).find_map_first(stray) {
                    return Err(LossError::Label { label, last: channels.saturating_sub(1) });
                }
                Compare::Labels { labels, ignore_label }
            }
            (Compared::Regions { has_ignore }, Target::Regions(regions)) => {
                if regions.shape != [samples, channels + usize::from(has_ignore), z, y, x] {
                    return Err(misfit(&regions.shape));
                }
                Compare::Regions { regions, has_ignore }
            }
            (Compared::Labels { .. }, other) => {
                return Err(LossError::Kind { expected: "labels", found: other.kind() });
            }
            (Compared::Regions { .. }, other) => {
                return Err(LossError::Kind { expected: "regions", found: other.kind() });
            }
        };
        let mut field = Self { logits, target, spans: spans(samples, logits.voxels()), counted: 0 };
        field.counted = field.count();
        Ok(field)
    }

    /// Number of samples.
    pub(super) fn samples(&self) -> usize {
        self.logits.shape[0]
    }

    /// Number of channels: classes or regions.
    pub(super) fn channels(&self) -> usize {
        self.logits.shape[1]
    }

    /// Voxels of one sample along (z, y, x).
    pub(super) fn volume(&self) -> [usize; 3] {
        [self.logits.shape[2], self.logits.shape[3], self.logits.shape[4]]
    }

    /// Voxels of all samples, whether they count or not.
    pub(super) fn voxels(&self) -> usize {
        self.samples() * self.logits.voxels()
    }

    /// Voxels of all samples that count.
    pub(super) fn counted(&self) -> usize {
        self.counted
    }

    /// Whether targets are regions.
    pub(super) fn of_regions(&self) -> bool {
        matches!(self.target, Compare::Regions { .. })
    }

    /// Whether a part of the image may not count.
    pub(super) fn has_ignore(&self) -> bool {
        match self.target {
            Compare::Labels { ignore_label, .. } => ignore_label.is_some(),
            Compare::Regions { has_ignore, .. } => has_ignore,
        }
    }

    /// The first channel that is no background, or 0 where `background` takes part.
    pub(super) fn first_class(&self, background: bool) -> usize {
        usize::from(!background && !self.of_regions())
    }

    /// Where `class` is in `sample`, as far as voxels count.
    pub(super) fn members(&self, sample: usize, class: usize) -> Vec<bool> {
        match self.target {
            Compare::Labels { labels, ignore_label } => {
                let there = |label: &i16| *label == class as i16 && Some(*label) != ignore_label;
                labels.sample(sample).iter().map(there).collect()
            }
            Compare::Regions { regions, has_ignore: false } => regions.channel(sample, class).to_vec(),
            Compare::Regions { regions, has_ignore: true } => {
                let ignored = regions.channel(sample, self.channels());
                let counts = regions.channel(sample, class).iter().zip(ignored);
                counts.map(|(member, ignored)| *member && !ignored).collect()
            }
        }
    }

    /// Calls `work` with each run, in parallel over spans; `new` makes what it works on. The results are those of the spans,
    /// each with its sample, in order.
    pub(super) fn sweep<T: Send>(
        &self,
        new: impl Fn() -> T + Sync,
        work: impl Fn(&mut T, &Run) + Sync,
    ) -> Vec<(usize, T)> {
        let of_span = |span: &Span| {
            let mut state = new();
            let mut run = Run::new(self.channels(), self.of_regions());
            for start in (0..span.length).step_by(RUN) {
                self.load(span.n, span.start + start, RUN.min(span.length - start), &mut run);
                work(&mut state, &run);
            }
            (span.n, state)
        };
        self.spans.par_iter().map(of_span).collect()
    }

    /// The probabilities, 0 where a voxel does not count.
    pub(super) fn probabilities(&self) -> Tensor {
        let mut result = Tensor::zeros(self.logits.shape);
        split_spans(&mut result).into_par_iter().zip(&self.spans).for_each(|(mut parts, span)| {
            let mut run = Run::new(self.channels(), self.of_regions());
            for start in (0..span.length).step_by(RUN) {
                let length = RUN.min(span.length - start);
                self.load(span.n, span.start + start, length, &mut run);
                for (c, part) in parts.iter_mut().enumerate() {
                    let (p, counts) = (run.probabilities.row(c, length), run.counts());
                    let out = part[start..start + length].iter_mut();
                    out.zip(p).zip(counts).for_each(|((out, p), count)| *out = p * count);
                }
            }
        });
        result
    }

    /// The gradient with respect to the logits, with `derivatives` adding each run's.
    pub(super) fn gradient(&self, derivatives: impl Fn(&Run, &mut RunGradient) + Sync) -> Tensor {
        let mut result = Tensor::zeros(self.logits.shape);
        split_spans(&mut result).into_par_iter().zip(&self.spans).for_each(|(mut parts, span)| {
            let mut run = Run::new(self.channels(), self.of_regions());
            let mut gradient = RunGradient::new(self.channels());
            for start in (0..span.length).step_by(RUN) {
                let length = RUN.min(span.length - start);
                self.load(span.n, span.start + start, length, &mut run);
                gradient.clear();
                derivatives(&run, &mut gradient);
                write_gradient(&run, &gradient, &mut parts, start);
            }
        });
        result
    }

    fn count(&self) -> usize {
        match self.target {
            Compare::Labels { labels, ignore_label: Some(ignore) } => {
                labels.data.par_chunks(1 << 16).map(|c| c.iter().filter(|l| **l != ignore).count()).sum()
            }
            Compare::Regions { regions, has_ignore: true } => {
                let last = regions.shape[1] - 1;
                let counted = |n: usize| regions.channel(n, last).iter().filter(|ignored| !**ignored).count();
                (0..self.samples()).map(counted).sum()
            }
            Compare::Labels { .. } | Compare::Regions { .. } => self.voxels(),
        }
    }

    fn load(&self, sample: usize, start: usize, length: usize, run: &mut Run) {
        (run.sample, run.start, run.length) = (sample, start, length);
        let logits = |c: usize| &self.logits.channel(sample, c)[start..start + length];
        match self.target {
            Compare::Labels { labels, ignore_label } => {
                let labels = &labels.sample(sample)[start..start + length];
                for (count, label) in run.counts.iter_mut().zip(labels) {
                    *count = if Some(*label) == ignore_label { 0.0 } else { 1.0 };
                }
                for c in 0..run.channels() {
                    // A label that is ignored may also be a channel's.
                    let class = c as i16;
                    let targets = run.targets.row_mut(c, length).iter_mut();
                    for ((target, label), count) in targets.zip(labels).zip(&run.counts) {
                        *target = if *label == class { *count } else { 0.0 };
                    }
                }
                load_softmax(run, logits);
            }
            Compare::Regions { regions, has_ignore } => {
                let channel = |c: usize| &regions.channel(sample, c)[start..start + length];
                run.counts[..length].fill(1.0);
                if has_ignore {
                    let ignored = channel(run.channels());
                    for (count, ignored) in run.counts.iter_mut().zip(ignored) {
                        *count = if *ignored { 0.0 } else { 1.0 };
                    }
                }
                for c in 0..run.channels() {
                    let targets = run.targets.row_mut(c, length).iter_mut();
                    for ((target, member), count) in targets.zip(channel(c)).zip(&run.counts) {
                        *target = if *member { *count } else { 0.0 };
                    }
                }
                load_sigmoid(run, logits);
            }
        }
    }
}

/// Probabilities and logarithms of a softmax over the channels.
fn load_softmax<'a>(run: &mut Run, logits: impl Fn(usize) -> &'a [f32]) {
    let length = run.length;
    let mut largest = [f32::NEG_INFINITY; RUN];
    let mut total = [0.0f32; RUN];
    let (largest, total) = (&mut largest[..length], &mut total[..length]);
    for c in 0..run.channels() {
        for (largest, &z) in largest.iter_mut().zip(logits(c)) {
            *largest = if z > *largest { z } else { *largest };
        }
    }
    for c in 0..run.channels() {
        let (z, p) = (logits(c), run.probabilities.row_mut(c, length));
        let shifted = run.logarithms.row_mut(c, length);
        for i in 0..length {
            let below = z[i] - largest[i];
            let e = exp_nonpositive(below);
            (shifted[i], p[i]) = (below, e);
            total[i] += e;
        }
    }
    let mut logarithm = [0.0f32; RUN];
    for (logarithm, total) in logarithm.iter_mut().zip(total.iter()) {
        *logarithm = total.ln();
    }
    for c in 0..run.channels() {
        for (p, total) in run.probabilities.row_mut(c, length).iter_mut().zip(total.iter()) {
            *p /= total;
        }
        for (value, logarithm) in run.logarithms.row_mut(c, length).iter_mut().zip(&logarithm) {
            *value -= logarithm;
        }
    }
}

/// Probabilities and logarithms of a sigmoid of each channel.
fn load_sigmoid<'a>(run: &mut Run, logits: impl Fn(usize) -> &'a [f32]) {
    let length = run.length;
    for c in 0..run.channels() {
        let (z, p) = (logits(c), run.probabilities.row_mut(c, length));
        let positive = run.logarithms.row_mut(c, length);
        let negative = run.complements.row_mut(c, length);
        for i in 0..length {
            let e = exp_nonpositive(-z[i].abs());
            p[i] = if z[i] >= 0.0 { 1.0 } else { e } / (1.0 + e);
            let grown = (1.0 + e).ln();
            positive[i] = if z[i] < 0.0 { z[i] } else { 0.0 } - grown;
            negative[i] = if z[i] > 0.0 { -z[i] } else { 0.0 } - grown;
        }
    }
}

/// Writes the gradient with respect to the logits of a run that begins at `start` of `parts`.
///
/// With g the derivatives by the probabilities p: p (g - sum(p g)) for a softmax, p (1 - p) g for sigmoids.
fn write_gradient(run: &Run, gradient: &RunGradient, parts: &mut [&mut [f32]], start: usize) {
    let length = run.length;
    let mut mean = [0.0f32; RUN];
    if !run.of_regions() {
        for c in 0..run.channels() {
            let (p, g) = (run.probabilities.row(c, length), gradient.by_probability.row(c, length));
            for i in 0..length {
                mean[i] += p[i] * g[i];
            }
        }
    }
    for (c, part) in parts.iter_mut().enumerate() {
        let (p, g) = (run.probabilities.row(c, length), gradient.by_probability.row(c, length));
        let (direct, counts) = (gradient.by_logit.row(c, length), run.counts());
        let out = &mut part[start..start + length];
        let share = |i: usize| if run.of_regions() { g[i] * (1.0 - p[i]) } else { g[i] - mean[i] };
        for i in 0..length {
            let value = p[i] * share(i) + direct[i];
            out[i] = if counts[i] != 0.0 { value } else { 0.0 };
        }
    }
}
