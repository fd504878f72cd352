//! What the passes of a network over a tile say, beside their mean logits: sums of their probabilities and of their entropies.

use nnunet_graph::Tensor;
use rayon::prelude::*;

use crate::predict::mirror::add_mirrored;

/// Voxels that one task works on.
const SPAN: usize = 1 << 12;

/// Sums over the mirrored passes over a tile: a channel for the probabilities of each head, and one for the entropy.
pub(in crate::predict) struct PassSums {
    /// Whether heads are regions (sigmoid) instead of exclusive labels (softmax).
    regions: bool,
    one: Tensor,
    sum: Tensor,
}

impl PassSums {
    /// Nothing yet.
    pub(in crate::predict) fn new(regions: bool) -> Self {
        Self { regions, one: Tensor::zeros([0; 5]), sum: Tensor::zeros([0; 5]) }
    }

    /// Adds the logits (n, heads, z, y, x) of a pass over inputs that were mirrored along `axes`. The pass without axes begins a new
    /// sum.
    pub(in crate::predict) fn add(&mut self, logits: &Tensor, axes: &[usize]) {
        let target = if axes.is_empty() { &mut self.sum } else { &mut self.one };
        let [n, heads, z, y, x] = logits.shape;
        target.reshape([n, heads + 1, z, y, x]);
        let voxels = logits.voxels();
        if voxels == 0 || heads == 0 {
            return;
        }
        let samples = target.data.chunks_mut((heads + 1) * voxels).zip(logits.data.chunks(heads * voxels));
        for (target, logits) in samples {
            let mut spans: Vec<Vec<&mut [f32]>> = Vec::new();
            spans.resize_with(voxels.div_ceil(SPAN), Vec::new);
            for channel in target.chunks_mut(voxels) {
                spans.iter_mut().zip(channel.chunks_mut(SPAN)).for_each(|(span, part)| span.push(part));
            }
            spans.into_par_iter().enumerate().for_each(|(at, mut span)| {
                let logits = |head: usize| &logits[head * voxels + at * SPAN..];
                if let Some((entropy, probabilities)) = span.split_last_mut() {
                    match self.regions {
                        true => sigmoid(logits, probabilities, entropy),
                        false => softmax(logits, probabilities, entropy),
                    }
                }
            });
        }
        if !axes.is_empty() {
            add_mirrored(&self.one, axes, &mut self.sum);
        }
    }

    /// The sums (n, heads + 1, z, y, x).
    pub(in crate::predict) fn sum(&self) -> &Tensor {
        &self.sum
    }
}

/// Probabilities of labels that exclude each other, and their entropy in nats.
fn softmax<'a>(logits: impl Fn(usize) -> &'a [f32], probabilities: &mut [&mut [f32]], entropy: &mut [f32]) {
    for (i, entropy) in entropy.iter_mut().enumerate() {
        let largest = (0..probabilities.len()).fold(f32::NEG_INFINITY, |m, head| m.max(logits(head)[i]));
        let mut sum = 0.0;
        for (head, probability) in probabilities.iter_mut().enumerate() {
            probability[i] = (logits(head)[i] - largest).exp();
            sum += probability[i];
        }
        let mut below = 0.0;
        for (head, probability) in probabilities.iter_mut().enumerate() {
            probability[i] /= sum;
            below += probability[i] * (largest - logits(head)[i]);
        }
        *entropy = sum.ln() + below;
    }
}

/// Probabilities of regions, each on its own, and the sum of their entropies in nats.
fn sigmoid<'a>(logits: impl Fn(usize) -> &'a [f32], probabilities: &mut [&mut [f32]], entropy: &mut [f32]) {
    entropy.fill(0.0);
    for (head, probabilities) in probabilities.iter_mut().enumerate() {
        for ((probability, entropy), &logit) in
            probabilities.iter_mut().zip(entropy.iter_mut()).zip(logits(head))
        {
            // What the likelier answer costs, and how much more the other one.
            let other = (-logit.abs()).exp();
            let unlikely = other / (1.0 + other);
            *probability = if logit > 0.0 { 1.0 - unlikely } else { unlikely };
            *entropy += other.ln_1p() + unlikely * logit.abs();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(heads: usize, voxels: usize) -> Tensor {
        let mut tensor = Tensor::zeros([2, heads, 1, 1, voxels]);
        tensor.data.iter_mut().enumerate().for_each(|(i, v)| *v = ((i * 37) % 101) as f32 * 0.2 - 10.0);
        tensor
    }

    #[test]
    fn probabilities_and_entropies_of_a_pass() {
        let logits = tensor(3, SPAN + 5);
        let voxels = logits.voxels();
        for regions in [false, true] {
            let mut sums = PassSums::new(regions);
            sums.add(&logits, &[]);
            assert_eq!(sums.sum().shape, [2, 4, 1, 1, voxels]);
            for (n, i) in [(0, 0), (0, SPAN), (1, 17), (1, voxels - 1)] {
                let z = |head: usize| f64::from(logits.channel(n, head)[i]);
                let total: f64 = (0..3).map(|head| z(head).exp()).sum();
                let of = |head| if regions { 1.0 / (1.0 + (-z(head)).exp()) } else { z(head).exp() / total };
                let log = |p: f64| if p > 0.0 { p * p.ln() } else { 0.0 };
                let entropy: f64 =
                    (0..3).map(|head| -log(of(head)) - if regions { log(1.0 - of(head)) } else { 0.0 }).sum();
                for head in 0..3 {
                    assert!((f64::from(sums.sum().channel(n, head)[i]) - of(head)).abs() < 1e-6);
                }
                assert!((f64::from(sums.sum().channel(n, 3)[i]) - entropy).abs() < 1e-5, "{entropy}");
            }
        }
    }

    #[test]
    fn mirrored_passes_come_back_to_their_places() {
        let logits = tensor(2, 6);
        let mut mirrored = Tensor::zeros(logits.shape);
        crate::predict::mirror::mirror_into(&logits, &[2], &mut mirrored);
        let mut sums = PassSums::new(false);
        sums.add(&logits, &[]);
        let once = sums.sum().clone();
        sums.add(&mirrored, &[2]);
        assert!(sums.sum().data.iter().zip(&once.data).all(|(twice, once)| *twice == 2.0 * once));
        // A new tile begins a new sum.
        sums.add(&logits, &[]);
        assert_eq!(sums.sum().data, once.data);
    }
}
