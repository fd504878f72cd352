//! From scores to labels: the winner or the regions of each voxel.

use nnunet_dataset::LabelManager;
use nnunet_volume::ChannelVolume;
use rayon::prelude::*;

/// What the values of a slab are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scores {
    Logits,
    Probabilities,
}

impl Scores {
    /// Above it a region is present.
    fn threshold(self) -> f32 {
        match self {
            Self::Logits => 0.0,
            Self::Probabilities => 0.5,
        }
    }
}

/// Labels of the voxels of a slab (heads, z, y, x) with scores for `classes`.
pub(super) fn decide(classes: &LabelManager, slab: &ChannelVolume<f32>, scores: Scores, labels: &mut [u16]) {
    const SPAN: usize = 1 << 14;
    let regions = classes.has_regions();
    let order = classes.regions_class_order();
    let threshold = scores.threshold();
    labels.par_chunks_mut(SPAN).enumerate().for_each(|(i, labels)| {
        let span = i * SPAN..i * SPAN + labels.len();
        let part = |c: usize| &slab.channel(c)[span.clone()];
        if regions {
            labels.fill(0);
            // Later regions overwrite earlier ones.
            for (c, &label) in order.iter().enumerate() {
                for (out, &score) in labels.iter_mut().zip(part(c)) {
                    if score > threshold {
                        *out = label as u16;
                    }
                }
            }
        } else {
            // The index of a head is its label: labels are consecutive from the background on.
            let mut best = part(0).to_vec();
            labels.fill(0);
            for c in 1..slab.channels() {
                for ((out, best), &score) in labels.iter_mut().zip(&mut best).zip(part(c)) {
                    if score > *best {
                        *best = score;
                        *out = c as u16;
                    }
                }
            }
        }
    });
}

/// Probabilities from the logits of a slab, over the channels.
pub(super) fn softmax(slab: &mut ChannelVolume<f32>) {
    let (channels, voxels) = (slab.channels(), slab.voxels());
    let mut largest = slab.channel(0).to_vec();
    for c in 1..channels {
        largest.iter_mut().zip(slab.channel(c)).for_each(|(m, &v)| *m = m.max(v));
    }
    slab.data_mut().par_chunks_mut(voxels.max(1)).for_each(|channel| {
        channel.iter_mut().zip(&largest).for_each(|(v, m)| *v = (*v - m).exp());
    });
    let mut sums = vec![0.0f32; voxels];
    for c in 0..channels {
        sums.iter_mut().zip(slab.channel(c)).for_each(|(s, &v)| *s += v);
    }
    slab.data_mut().par_chunks_mut(voxels.max(1)).for_each(|channel| {
        channel.iter_mut().zip(&sums).for_each(|(v, s)| *v /= s);
    });
}
