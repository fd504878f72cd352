//! Logits or probabilities: linear resampling of a few output slices at a time.
//!
//! The export of a prediction needs classes x full-resolution values only until the winner of each voxel is known, so
//! they are made for a slab of slices, used and overwritten. Same positions and weights as [`super::resample_data`]
//! with order 1 or 0, or with PyTorch's; arithmetic in f32 (relative error below 5e-7), the reference rounding its result to f16.

use std::ops::Range;

use rayon::prelude::*;

use super::axis::{LinearTap, Taps};
use super::{Method, check_shapes};
use crate::error::{Result, VolumeError};
use crate::{ChannelVolume, SpacingMm};

/// Resamples any range of output slices of a many-channel volume.
#[derive(Debug, Clone)]
pub struct SlabResampler {
    from: [usize; 3],
    to: [usize; 3],
    taps: [Vec<LinearTap>; 3],
}

impl SlabResampler {
    /// A resampler from grid `shape` to `new_shape` (z, y, x), arguments as of [`super::resample_data`].
    ///
    /// # Errors
    /// An axis of length zero; cubic order, for which [`super::resample_data`] is there.
    pub fn new(
        shape: [usize; 3],
        new_shape: [usize; 3],
        current_spacing: SpacingMm,
        new_spacing: SpacingMm,
        method: &Method,
    ) -> Result<Self> {
        check_shapes(shape, new_shape)?;
        let separate = method.separate_axis(current_spacing, new_spacing);
        let mut taps: [Vec<LinearTap>; 3] = Default::default();
        for (axis, taps) in taps.iter_mut().enumerate() {
            let way = match separate {
                None => method.together,
                Some(coarse) if coarse == axis => method.across,
                Some(_) => method.in_plane,
            };
            *taps = match way.taps(shape[axis], new_shape[axis]) {
                Taps::Nearest(taps) => {
                    taps.into_iter().map(|at| LinearTap { low: at, high: at, weights: [1.0, 0.0] }).collect()
                }
                Taps::Linear(taps) => taps,
                Taps::Cubic(_) => {
                    let reason = "slabs can be resampled with order 0 or 1 only".into();
                    return Err(VolumeError::Resample { from: shape, to: new_shape, reason });
                }
            };
        }
        Ok(Self { from: shape, to: new_shape, taps })
    }

    /// Shape (z, y, x) of the whole output.
    pub fn output_shape(&self) -> [usize; 3] {
        self.to
    }

    /// Output slices `slices` of every channel of `input`, as (c, z, y, x) with z counted from `slices.start`.
    ///
    /// `output` is overwritten; its allocation is used again if it has the right shape already.
    ///
    /// # Errors
    /// An input of another shape than announced, or slices beyond the output.
    pub fn resample<T: Copy + Into<f32> + Sync>(
        &self,
        input: &ChannelVolume<T>,
        slices: Range<usize>,
        output: &mut ChannelVolume<f32>,
    ) -> Result<()> {
        if input.shape() != self.from || slices.end > self.to[0] || slices.is_empty() {
            let reason = format!(
                "the input has shape {:?} and output slices {slices:?} of {} are asked for",
                input.shape(),
                self.to[0]
            );
            return Err(VolumeError::Resample { from: self.from, to: self.to, reason });
        }
        self.resample_part(input, 0, slices, output)
    }

    /// First and last input slice that output slice `slice` is made of. `slice` lies within the output.
    pub fn sources(&self, slice: usize) -> (usize, usize) {
        let LinearTap { low, high, weights } = self.taps[0][slice];
        // A neighbour without weight is not looked at.
        (if weights[0] == 0.0 { high } else { low }, if weights[1] == 0.0 { low } else { high })
    }

    /// As [`resample`](Self::resample) from a part of the input: slices from `first` on, among them all
    /// [`sources`](Self::sources) of the output slices.
    ///
    /// # Errors
    /// A part of other slices.
    pub fn resample_part<T: Copy + Into<f32> + Sync>(
        &self,
        input: &ChannelVolume<T>,
        first: usize,
        slices: Range<usize>,
        output: &mut ChannelVolume<f32>,
    ) -> Result<()> {
        let [there, y, x] = input.shape();
        let enough = slices.end <= self.to[0]
            && slices.clone().all(|z| self.sources(z).0 >= first && self.sources(z).1 < first + there);
        if [y, x] != self.from[1..] || slices.is_empty() || !enough {
            let reason = format!(
                "output slices {slices:?} of {} cannot be made from an input of shape {:?} from slice {first} on",
                self.to[0],
                input.shape()
            );
            return Err(VolumeError::Resample { from: self.from, to: self.to, reason });
        }
        let [_, height, width] = self.to;
        let shape = [slices.len(), height, width];
        if output.channels() != input.channels() || output.shape() != shape {
            *output = ChannelVolume::filled(input.channels(), shape, 0.0);
        }
        let depth = slices.len();
        output.data_mut().par_chunks_exact_mut(height * width).enumerate().for_each_init(
            Vec::new,
            |blended, (i, target)| {
                let channel = input.channel(i / depth);
                self.plane(channel, first, self.taps[0][slices.start + i % depth], target, blended);
            },
        );
        Ok(())
    }

    /// One output slice of one channel, whose slices begin with number `first`.
    fn plane<T: Copy + Into<f32>>(
        &self,
        channel: &[T],
        first: usize,
        z: LinearTap,
        target: &mut [f32],
        blended: &mut Vec<f32>,
    ) {
        let [_, height, width] = self.from;
        let slice = |at: usize| &channel[(at - first) * height * width..][..height * width];
        // A neighbour without weight may not be there.
        let low = if z.weights[0] == 0.0 { z.high } else { z.low };
        let high = if z.weights[1] == 0.0 { z.low } else { z.high };
        let (below, above) = (slice(low), slice(high));
        let [z0, z1] = z.weights.map(|w| w as f32);
        blended.resize(width, 0.0);
        for (line, y) in target.chunks_exact_mut(self.to[2]).zip(&self.taps[1]) {
            let [y0, y1] = y.weights.map(|w| w as f32);
            let row = |at: usize| at * width..(at + 1) * width;
            let corners = [
                (&below[row(y.low)], z0 * y0),
                (&below[row(y.high)], z0 * y1),
                (&above[row(y.low)], z1 * y0),
                (&above[row(y.high)], z1 * y1),
            ];
            blended.fill(0.0);
            for (values, weight) in corners.into_iter().filter(|(_, weight)| *weight != 0.0) {
                blended.iter_mut().zip(values).for_each(|(b, &v)| *b += weight * v.into());
            }
            for (v, x) in line.iter_mut().zip(&self.taps[2]) {
                *v = x.weights[0] as f32 * blended[x.low] + x.weights[1] as f32 * blended[x.high];
            }
        }
    }
}
