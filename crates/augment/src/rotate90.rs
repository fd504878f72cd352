//! Rotation by quarter turns in the plane of two axes, and permutation of axes. Axis order (z, y, x). Exact.
//!
//! A quarter turn takes the first axis towards the second, as NumPy's and PyTorch's `rot90` do.

use std::sync::Arc;

use nnunet_base::parts::Options;
use nnunet_data::preprocess::transpose;
use nnunet_volume::ChannelVolume;
use rand::RngExt;
use rand::seq::SliceRandom;

use super::distribution::CountRange;
use super::error::AugmentError;
use super::geometry::PatchGeometry;
use super::mirror::mirror_channels;
use super::pipeline::Sample;
use super::transform::{BuildContext, BuiltTransform, Transform, TransformContext};

/// Rotates samples by quarter turns.
#[derive(Debug, Clone, PartialEq)]
pub struct Rotate90 {
    /// Axes (0, 1, 2 for z, y, x) that planes are made of, at least two of one length.
    pub axes: Vec<usize>,
    /// Number of quarter turns to choose from.
    pub turns: Vec<usize>,
    /// Number of planes, one after the other.
    pub planes: CountRange,
}

impl Rotate90 {
    /// Options: `axes` (those of equal length), `turns` (0 to 3) and `planes` (1). Nothing to do where no two axes of the
    /// patch have one length.
    pub(super) fn build(options: &mut Options<'_>, context: &BuildContext<'_>) -> BuiltTransform {
        let axes = exchangeable_axes(options, context.geometry)?;
        let turns = options.optional_counts("turns")?.unwrap_or_else(|| vec![0, 1, 2, 3]);
        let planes = CountRange::read(options, "planes", CountRange::new(1, 1), 0)?;
        if turns.is_empty() {
            return Err(options.invalid("turns", "at least one number of quarter turns").into());
        }
        Ok(if axes.len() < 2 { None } else { Some(Arc::new(Self { axes, turns, planes })) })
    }
}

impl Transform for Rotate90 {
    fn apply(&self, sample: &mut Sample, context: &mut TransformContext<'_>) {
        let rng = &mut *context.rng;
        for _ in 0..self.planes.sample(rng) {
            let turns = self.turns[rng.random_range(0..self.turns.len())];
            let first = rng.random_range(0..self.axes.len());
            let other = rng.random_range(0..self.axes.len() - 1);
            let second = if other < first { other } else { other + 1 };
            let plane = [self.axes[first.min(second)], self.axes[first.max(second)]];
            rotate90(&mut sample.image, turns, plane);
            rotate90(&mut sample.segmentation, turns, plane);
        }
    }
}

/// Permutes axes of samples.
#[derive(Debug, Clone, PartialEq)]
pub struct TransposeAxes {
    /// Axes (0, 1, 2 for z, y, x) that may change places, at least two of one length.
    pub axes: Vec<usize>,
}

impl TransposeAxes {
    /// Options: `axes` (those of equal length). Nothing to do where no two axes of the patch have one length.
    pub(super) fn build(options: &mut Options<'_>, context: &BuildContext<'_>) -> BuiltTransform {
        let axes = exchangeable_axes(options, context.geometry)?;
        Ok(if axes.len() < 2 { None } else { Some(Arc::new(Self { axes })) })
    }
}

impl Transform for TransposeAxes {
    fn apply(&self, sample: &mut Sample, context: &mut TransformContext<'_>) {
        let mut shuffled = self.axes.clone();
        shuffled.shuffle(context.rng);
        let mut order = [0, 1, 2];
        for (axis, source) in self.axes.iter().zip(shuffled) {
            order[*axis] = source;
        }
        transpose_channels(&mut sample.image, order);
        transpose_channels(&mut sample.segmentation, order);
    }
}

/// The axes among (0, 1, 2) of the option `axes`, or those of the length that most axes of the patch have.
fn exchangeable_axes(
    options: &mut Options<'_>,
    geometry: &PatchGeometry,
) -> Result<Vec<usize>, AugmentError> {
    let patch = geometry.patch;
    let own = geometry.first_axis()..3;
    let Some(given) = geometry.axes_option(options, "axes")? else {
        let alike = |d: usize| own.clone().filter(|&other| patch[other] == patch[d]).count();
        let most = own.clone().map(alike).max().unwrap_or(0);
        return Ok(if most < 2 { Vec::new() } else { own.clone().filter(|&d| alike(d) == most).collect() });
    };
    let axes: Vec<usize> = (0..3).filter(|&d| given[d]).collect();
    if axes.iter().any(|&d| patch[d] != patch[axes[0]]) {
        let expected = format!("axes of one length; the patch is {:?}", &patch[own]);
        return Err(options.invalid("axes", expected).into());
    }
    Ok(axes)
}

/// Rotates every channel by `turns` quarter turns that take axis `a` towards axis `b`.
pub fn rotate90<T: Copy>(volume: &mut ChannelVolume<T>, turns: usize, [a, b]: [usize; 2]) {
    let mirrored: &[usize] = match turns % 4 {
        0 => &[],
        1 => &[a],
        2 => &[a, b],
        _ => &[b],
    };
    if turns % 2 == 1 {
        let mut order = [0, 1, 2];
        order.swap(a, b);
        transpose_channels(volume, order);
    }
    mirror_channels(volume, std::array::from_fn(|d| mirrored.contains(&d)));
}

/// Makes axis `order[d]` of every channel axis `d`.
pub fn transpose_channels<T: Copy>(volume: &mut ChannelVolume<T>, order: [usize; 3]) {
    if order == [0, 1, 2] {
        return;
    }
    let (channels, shape) = (volume.channels(), volume.shape());
    let mut data = Vec::with_capacity(volume.data().len());
    for c in 0..channels {
        data.extend(transpose(volume.channel(c), shape, order));
    }
    match ChannelVolume::new(channels, order.map(|d| shape[d]), data) {
        Some(transposed) => *volume = transposed,
        None => unreachable!("as many voxels as before"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_turn_is_numpys() {
        let volume = ChannelVolume::new(1, [1, 2, 3], vec![1, 2, 3, 4, 5, 6]).unwrap();
        let turned = |turns| {
            let mut turned = volume.clone();
            rotate90(&mut turned, turns, [1, 2]);
            turned
        };
        assert_eq!((turned(1).shape(), turned(1).data()), ([1, 3, 2], &[3, 6, 2, 5, 1, 4][..]));
        assert_eq!(turned(2).data(), &[6, 5, 4, 3, 2, 1]);
        assert_eq!(turned(3).data(), &[4, 1, 5, 2, 6, 3]);
        assert_eq!(turned(4), volume);
    }

    #[test]
    fn axes_of_one_length_may_change_places() {
        let axes = |patch: &[usize]| {
            let choice = nnunet_base::parts::Choice::new("x");
            exchangeable_axes(&mut choice.reader("x"), &PatchGeometry::new(patch).unwrap()).unwrap()
        };
        assert_eq!(axes(&[8, 8, 8]), [0, 1, 2]);
        assert_eq!(axes(&[8, 4, 8]), [0, 2]);
        assert_eq!(axes(&[8, 4, 6]), [0usize; 0]);
        assert_eq!(axes(&[8, 8]), [1, 2]);
        assert_eq!(axes(&[8, 9]), [0usize; 0]);
    }
}
