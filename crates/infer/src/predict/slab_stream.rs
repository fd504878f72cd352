//! Logits that arrive a few slices at a time, resampled as soon as what an output slice needs is there.

use half::f16;
use half::slice::HalfFloatSliceExt;
use nnunet_volume::resample::SlabResampler;
use nnunet_volume::{ChannelVolume, VolumeError};
use rayon::prelude::*;

/// Values of a slab: so many floats at most, a few cache-friendly megabytes.
const SLAB_VALUES: usize = 1 << 23;

/// Resamples slices of logits (classes, z, y, x) in their order.
pub(super) struct SlabStream {
    resampler: SlabResampler,
    /// The last slices that came, as far as they are needed again.
    carried: Option<ChannelVolume<f16>>,
    /// Input slices that came so far.
    arrived: usize,
    /// Output slices made so far.
    made: usize,
    slab: ChannelVolume<f32>,
    /// Whether values are rounded to f16.
    rounds: bool,
}

impl SlabStream {
    /// A stream of `resampler`'s results, rounded to f16 if `rounds`.
    pub(super) fn new(resampler: SlabResampler, rounds: bool) -> Self {
        let slab = ChannelVolume::filled(0, [0; 3], 0.0);
        Self { resampler, carried: None, arrived: 0, made: 0, slab, rounds }
    }

    /// Bytes of a slab of `classes` channels with slices of `plane` voxels, and of the slices that wait.
    pub(super) fn memory(classes: usize, plane: usize) -> u64 {
        (SLAB_VALUES.max(classes * plane) * size_of::<f32>()) as u64
    }

    /// Takes the next slices and hands out the output slices that they complete, as `visit(index of the
    /// first voxel, slab)`.
    pub(super) fn push(
        &mut self,
        logits: &ChannelVolume<f16>,
        mut visit: impl FnMut(usize, &mut ChannelVolume<f32>),
    ) -> Result<(), VolumeError> {
        let carried = self.carried.take();
        let joined = carried.as_ref().map(|before| join(before, logits));
        let held = joined.as_ref().unwrap_or(logits);
        self.arrived += logits.shape()[0];
        let first = self.arrived - held.shape()[0];
        let [depth, height, width] = self.resampler.output_shape();
        let plane = height * width;
        let at_once = (SLAB_VALUES / (plane * held.channels()).max(1)).max(1);
        let ready = (self.made..depth).take_while(|&z| self.resampler.sources(z).1 < self.arrived).count();
        let end = self.made + ready;
        while self.made < end {
            let slices = self.made..end.min(self.made + at_once);
            self.resampler.resample_part(held, first, slices.clone(), &mut self.slab)?;
            if self.rounds {
                round_to_half(&mut self.slab);
            }
            visit(slices.start * plane, &mut self.slab);
            self.made = slices.end;
        }
        if self.made < depth {
            let needed = self.resampler.sources(self.made).0.max(first);
            if needed < self.arrived {
                self.carried = Some(tail(held, needed - first));
            }
        }
        Ok(())
    }
}

/// The slices of `before` and then those of `after`.
fn join(before: &ChannelVolume<f16>, after: &ChannelVolume<f16>) -> ChannelVolume<f16> {
    let [z, y, x] = after.shape();
    let shape = [before.shape()[0] + z, y, x];
    let mut joined = ChannelVolume::filled(after.channels(), shape, f16::ZERO);
    let (voxels, split) = (joined.voxels(), before.voxels());
    joined.data_mut().par_chunks_mut(voxels.max(1)).enumerate().for_each(|(class, target)| {
        target[..split].copy_from_slice(before.channel(class));
        target[split..].copy_from_slice(after.channel(class));
    });
    joined
}

/// The slices from `from` on.
fn tail(logits: &ChannelVolume<f16>, from: usize) -> ChannelVolume<f16> {
    let [z, y, x] = logits.shape();
    let mut kept = ChannelVolume::filled(logits.channels(), [z - from, y, x], f16::ZERO);
    for class in 0..logits.channels() {
        kept.channel_mut(class).copy_from_slice(&logits.channel(class)[from * y * x..]);
    }
    kept
}

/// Rounds every value to f16, saturating at its largest number.
pub(super) fn round_to_half(slab: &mut ChannelVolume<f32>) {
    const SPAN: usize = 1 << 12;
    let limit = f16::MAX.to_f32();
    slab.data_mut().par_chunks_mut(SPAN).for_each(|values| {
        let mut halves = [f16::ZERO; SPAN];
        let halves = &mut halves[..values.len()];
        values.iter_mut().for_each(|v| *v = v.clamp(-limit, limit));
        halves.convert_from_f32_slice(values);
        halves.convert_to_f32_slice(values);
    });
}

/// A volume from the slices that arrive.
pub(super) struct Collected {
    shape: [usize; 3],
    whole: Option<ChannelVolume<f16>>,
    /// Voxels of a channel that came so far.
    at: usize,
}

impl Collected {
    /// Nothing yet of a volume of `shape` (z, y, x).
    pub(super) fn new(shape: [usize; 3]) -> Self {
        Self { shape, whole: None, at: 0 }
    }

    /// Takes the next slices.
    pub(super) fn push(&mut self, logits: &ChannelVolume<f16>) {
        let shape = self.shape;
        let whole =
            self.whole.get_or_insert_with(|| ChannelVolume::filled(logits.channels(), shape, f16::ZERO));
        let voxels = logits.voxels();
        for class in 0..logits.channels() {
            whole.channel_mut(class)[self.at..self.at + voxels].copy_from_slice(logits.channel(class));
        }
        self.at += voxels;
    }

    /// The volume; `None` if nothing came.
    pub(super) fn finish(self) -> Option<ChannelVolume<f16>> {
        self.whole
    }
}

#[cfg(test)]
mod tests {
    use nnunet_volume::SpacingMm;
    use nnunet_volume::resample::{Interpolation, Method};
    use proptest::prelude::*;

    use super::*;

    fn resampled(
        logits: &ChannelVolume<f16>,
        to: [usize; 3],
        way: Interpolation,
        pieces: &[usize],
    ) -> Vec<f32> {
        let [z, y, x] = logits.shape();
        let method = Method::new(way, Interpolation::Nearest);
        let resampler = SlabResampler::new([z, y, x], to, SpacingMm::UNIT, SpacingMm::UNIT, &method).unwrap();
        let mut stream = SlabStream::new(resampler, true);
        let mut out = vec![f32::NAN; logits.channels() * to.iter().product::<usize>()];
        let all = out.len() / logits.channels();
        let mut at = 0;
        for &depth in pieces.iter().cycle() {
            let depth = depth.min(z - at);
            let rest = tail(logits, at);
            let mut piece = ChannelVolume::filled(logits.channels(), [depth, y, x], f16::ZERO);
            for c in 0..logits.channels() {
                piece.channel_mut(c).copy_from_slice(&rest.channel(c)[..depth * y * x]);
            }
            stream
                .push(&piece, |start, slab| {
                    for c in 0..slab.channels() {
                        out[c * all + start..][..slab.voxels()].copy_from_slice(slab.channel(c));
                    }
                })
                .unwrap();
            at += depth;
            if at == z {
                break;
            }
        }
        out
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_give_the_same(
            from in 1usize..12,
            to in 1usize..30,
            pieces in prop::collection::vec(1usize..5, 1..4),
            nearest: bool,
        ) {
            let order = if nearest { Interpolation::Nearest } else { Interpolation::Linear };
            let data = (0..2 * from * 6).map(|i| f16::from_f32(((i * 37) % 101) as f32 * 0.3 - 12.0)).collect();
            let logits = ChannelVolume::new(2, [from, 2, 3], data).unwrap();
            let whole = resampled(&logits, [to, 3, 4], order, &[from]);
            prop_assert!(whole.iter().all(|v| v.is_finite()));
            prop_assert_eq!(resampled(&logits, [to, 3, 4], order, &pieces), whole);
        }
    }
}
