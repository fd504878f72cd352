//! Mirroring along axes, in place. Axis order (z, y, x). Exact.

use std::sync::Arc;

use nnunet_base::parts::Options;
use nnunet_volume::ChannelVolume;

use super::pipeline::Sample;
use super::random::decide;
use super::transform::{BuildContext, BuiltTransform, Transform, TransformContext};

/// Mirrors samples along axes, each independently.
#[derive(Debug, Clone, PartialEq)]
pub struct Mirror {
    /// Axes (z, y, x) that may be mirrored.
    pub axes: [bool; 3],
    /// Probability of each of them.
    pub axis_probability: f64,
}

impl Mirror {
    /// Options: `axes` (those that the list mirrors) and `axis_probability`. Nothing to do without axes.
    pub(super) fn build(options: &mut Options<'_>, context: &BuildContext<'_>) -> BuiltTransform {
        let given = context.geometry.axes_option(options, "axes")?;
        let axes = given.unwrap_or_else(|| context.geometry.spatial_axes(context.mirror_axes));
        let axis_probability = options.probability("axis_probability", 0.5)?;
        Ok(if axes.contains(&true) { Some(Arc::new(Self { axes, axis_probability })) } else { None })
    }
}

impl Transform for Mirror {
    fn apply(&self, sample: &mut Sample, context: &mut TransformContext<'_>) {
        let axes = self.axes.map(|allowed| allowed && decide(self.axis_probability, context.rng));
        mirror_channels(&mut sample.image, axes);
        mirror_channels(&mut sample.segmentation, axes);
    }
}

/// Mirrors every channel along each axis that is set in `axes`.
pub fn mirror_channels<T>(volume: &mut ChannelVolume<T>, axes: [bool; 3]) {
    let shape = volume.shape();
    for c in 0..volume.channels() {
        mirror(volume.channel_mut(c), shape, axes);
    }
}

/// Mirrors one channel of `shape` along each axis that is set in `axes`.
pub fn mirror<T>(channel: &mut [T], shape: [usize; 3], axes: [bool; 3]) {
    if channel.is_empty() {
        return;
    }
    let plane = shape[1] * shape[2];
    if axes[0] {
        swap_blocks(channel, plane);
    }
    if axes[1] {
        channel.chunks_exact_mut(plane).for_each(|slice| swap_blocks(slice, shape[2]));
    }
    if axes[2] {
        channel.chunks_exact_mut(shape[2]).for_each(|row| row.reverse());
    }
}

/// Reverses the order of blocks of `length` elements.
fn swap_blocks<T>(values: &mut [T], length: usize) {
    let blocks = values.len() / length;
    let (front, back) = values.split_at_mut(blocks.div_ceil(2) * length);
    for (a, b) in front.chunks_exact_mut(length).zip(back.chunks_exact_mut(length).rev()) {
        a.swap_with_slice(b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_axis_is_reversed_alone_and_twice_is_nothing() {
        let shape = [3, 4, 5];
        let before: Vec<usize> = (0..60).collect();
        for axes in [[true, false, false], [false, true, false], [false, false, true], [true, true, true]] {
            let mut after = before.clone();
            mirror(&mut after, shape, axes);
            for z in 0..3 {
                for y in 0..4 {
                    for x in 0..5 {
                        let flip = |d: usize, i: usize| if axes[d] { shape[d] - 1 - i } else { i };
                        let from = (flip(0, z) * 4 + flip(1, y)) * 5 + flip(2, x);
                        assert_eq!(after[(z * 4 + y) * 5 + x], from, "{axes:?}");
                    }
                }
            }
            mirror(&mut after, shape, axes);
            assert_eq!(after, before);
        }
    }
}
