//! Numbers of a case from what its passes say, collected slice by slice; nothing of the size of the image is kept.

use half::f16;
use nnunet_volume::ChannelVolume;
use rayon::prelude::*;

use crate::model::ModelSpec;

/// Voxels that one task works on.
const SPAN: usize = 1 << 14;

/// How far the passes over a case agree, collected from slices on the network's grid.
pub(in crate::predict) struct Agreement {
    regions: bool,
    heads: Vec<Overlap>,
    found: Found,
}

/// A class against its mean probabilities.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Overlap {
    /// Voxels that were decided to have the class.
    decided: f64,
    /// Sum of its probabilities.
    expected: f64,
    /// Sum of its probabilities in the decided voxels.
    both: f64,
}

/// The voxels that were decided to have any class.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Found {
    voxels: f64,
    /// Sum of the entropies of the mean probabilities.
    entropy: f64,
    /// Sum of the mutual informations.
    information: f64,
    /// Largest probability of a class anywhere.
    largest: f64,
}

/// What came out.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::predict) struct Disagreement {
    /// Expected Dice of each foreground class; NaN for one that was not found.
    pub(super) expected_dice: Vec<f64>,
    /// Mean predictive entropy of the voxels with a class, in nats; NaN without any.
    pub(super) entropy: f64,
    /// Mean mutual information of label and pass there, in nats.
    pub(super) mutual_information: f64,
    /// Largest probability of a foreground class in any voxel.
    pub(super) largest: f64,
}

impl Agreement {
    /// Nothing yet of a case of `spec`.
    pub(in crate::predict) fn new(spec: &ModelSpec) -> Self {
        Self::of_heads(spec.heads(), spec.labels.has_regions())
    }

    /// Whether heads are regions instead of labels that exclude each other.
    pub(in crate::predict) fn of_regions(&self) -> bool {
        self.regions
    }

    fn of_heads(heads: usize, regions: bool) -> Self {
        Self { regions, heads: vec![Overlap::default(); heads], found: Found::default() }
    }

    /// Takes the next slices: mean logits (heads, slices, y, x), which decide, and means over the passes (heads + 1, slices, y, x), of
    /// probabilities and in the last channel of entropies.
    pub(in crate::predict) fn push(&mut self, logits: &ChannelVolume<f16>, passes: &ChannelVolume<f16>) {
        let heads = self.heads.len().min(logits.channels());
        if passes.channels() != heads + 1 {
            return;
        }
        let (voxels, regions) = (logits.voxels(), self.regions);
        // Spans are added up in their order, so that threads do not show in the sums.
        let spans: Vec<(Vec<Overlap>, Found)> = (0..voxels.div_ceil(SPAN))
            .into_par_iter()
            .map(|at| {
                let mut span = Self::of_heads(heads, regions);
                for i in at * SPAN..voxels.min((at + 1) * SPAN) {
                    span.add_voxel(|head| logits.channel(head)[i], |channel| passes.channel(channel)[i]);
                }
                (span.heads, span.found)
            })
            .collect();
        for (heads, found) in spans {
            for (all, part) in self.heads.iter_mut().zip(heads) {
                all.decided += part.decided;
                all.expected += part.expected;
                all.both += part.both;
            }
            self.found.voxels += found.voxels;
            self.found.entropy += found.entropy;
            self.found.information += found.information;
            self.found.largest = self.found.largest.max(found.largest);
        }
    }

    fn add_voxel(&mut self, logit: impl Fn(usize) -> f16, passes: impl Fn(usize) -> f16) {
        let heads = self.heads.len();
        let (mut best, mut total) = (0, 0.0);
        for head in 0..heads {
            if logit(head) > logit(best) {
                best = head;
            }
            total += passes(head).to_f64();
        }
        // Halves do not add up to exactly 1.
        let scale = if self.regions || total == 0.0 { 1.0 } else { 1.0 / total };
        let mut entropy = 0.0;
        let mut any = false;
        for (head, overlap) in self.heads.iter_mut().enumerate() {
            let probability = (passes(head).to_f64() * scale).min(1.0);
            let decided = if self.regions { logit(head) > f16::ZERO } else { head == best };
            overlap.expected += probability;
            if decided {
                overlap.decided += 1.0;
                overlap.both += probability;
            }
            entropy -= log_weighted(probability);
            if self.regions {
                entropy -= log_weighted(1.0 - probability);
            }
            if self.regions || head > 0 {
                any |= decided;
                self.found.largest = self.found.largest.max(probability);
            }
        }
        if any {
            self.found.voxels += 1.0;
            self.found.entropy += entropy;
            self.found.information += (entropy - passes(heads).to_f64()).max(0.0);
        }
    }

    /// The numbers of the case. Every slice must have arrived.
    pub(in crate::predict) fn finish(self) -> Disagreement {
        let foreground = usize::from(!self.regions);
        let dice = |overlap: &Overlap| match overlap.decided > 0.0 {
            true => 2.0 * overlap.both / (overlap.decided + overlap.expected),
            false => f64::NAN,
        };
        let Found { voxels, entropy, information, largest } = self.found;
        Disagreement {
            expected_dice: self.heads.iter().skip(foreground).map(dice).collect(),
            entropy: entropy / voxels,
            mutual_information: information / voxels,
            largest,
        }
    }
}

/// `p ln p`.
fn log_weighted(p: f64) -> f64 {
    if p > 0.0 { p * p.ln() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(channels: usize, values: &[f64]) -> ChannelVolume<f16> {
        let data: Vec<f16> = values.iter().map(|v| f16::from_f64(*v)).collect();
        ChannelVolume::new(channels, [1, 1, data.len() / channels], data).unwrap()
    }

    #[test]
    fn labels_that_passes_agree_and_disagree_on() {
        let mut agreement = Agreement::of_heads(2, false);
        let ln2 = 2.0f64.ln();
        // Background for sure; foreground for sure; two certain passes that contradict; two passes that both do not know.
        let logits = volume(2, &[1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.1, 0.1]);
        let passes = volume(2 + 1, &[1.0, 0.0, 0.5, 0.5, 0.0, 1.0, 0.5, 0.5, 0.0, 0.0, 0.0, ln2]);
        agreement.push(&logits, &passes);
        let found = agreement.finish();
        // Decided: 3 voxels; expected: 2; in the decided ones: 2.
        assert!((found.expected_dice[0] - 4.0 / 5.0).abs() < 1e-9);
        assert!((found.entropy - 2.0 * ln2 / 3.0).abs() < 1e-3, "{found:?}");
        assert!((found.mutual_information - ln2 / 3.0).abs() < 1e-3, "{found:?}");
        assert_eq!(found.largest, 1.0);
    }

    #[test]
    fn regions_are_decided_each_on_its_own_and_absent_classes_have_no_dice() {
        let mut agreement = Agreement::of_heads(2, true);
        let logits = volume(2, &[2.0, -2.0, -1.0, -1.0]);
        agreement.push(&logits, &volume(3, &[0.75, 0.0, 0.25, 0.0, 0.5, 0.0]));
        let found = agreement.finish();
        assert!((found.expected_dice[0] - 1.5 / 1.75).abs() < 1e-9);
        assert!(found.expected_dice[1].is_nan());
        assert_eq!(found.largest, 0.75);
        let nothing = Agreement::of_heads(2, false).finish();
        assert!(nothing.entropy.is_nan() && nothing.largest == 0.0);
    }
}
