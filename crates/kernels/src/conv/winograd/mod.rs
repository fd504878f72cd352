//! Winograd convolutions for kernels 3x3x3 and 1x3x3 of stride 1: forward, data gradient and weight gradient.
//!
//! x is always transformed by F(4, 3); y by F(2, 3) ([`Variant::W2`]: its error is that of direct sums), by F(4, 3) ([`Variant::W4`], a
//! little faster on large planes, error twice as large), or not at all ([`Variant::W1`]). The taps along z are summed in the
//! transform domain, or z is transformed too, by F(2, 3) ([`Variant::W2Z`], a third fewer products than W2 and the same error).
//! Sizes that are no multiple of a tile are padded with zeros on the fly.
//!
//! The transform along z has no tensors of its own: transformed planes are kept as for the other variants, and pairs of result
//! planes are combined from four of them on the way into the products, and taken apart on the way out (`pairs`, `pair_products`).
//!
//! Unlike a direct sum, an infinity or NaN in the input makes NaN of all voxels of the tiles that read it, or an infinity, not only of
//! those in reach of the kernel; it hides from none that a direct sum shows it in. Sums beyond 1e34 can overflow on the way.

mod forward;
mod gradient;
mod input;
mod multiply;
mod outer;
mod output;
mod pair_products;
mod pairs;
mod products;
mod region;
mod schedule;
mod transform;
mod weight_gradient;
mod weights;

use super::ConvShape;
use super::packed::{Packed, SourceWeights};
use super::source::{GradientTarget, SharedTarget, Source, StatisticsMut, WriteMode};
use crate::Context;
use crate::layout::blocks;
use forward::{Correlation, Target};
use input::Inputs;
use region::Tiling;
use weight_gradient::WeightGradient;

pub(super) use weights::WeightBlock;

/// What is transformed along y and z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Variant {
    /// Nothing: 6 points for 4 outputs, half of the products of a direct sum.
    W1,
    /// F(2, 3) along y: 24 points for 8 outputs, a third.
    W2,
    /// F(2, 3) along y and z, for kernels of three taps along z: 96 points for 16 outputs, two ninths.
    W2Z,
    /// F(4, 3) along y: 36 points for 16 outputs, a quarter.
    W4,
}

impl Variant {
    /// Output rows of a tile.
    pub(super) fn rows(self) -> usize {
        match self {
            Self::W1 => 1,
            Self::W2 | Self::W2Z => 2,
            Self::W4 => 4,
        }
    }

    /// Output planes of a tile.
    pub(super) fn planes(self) -> usize {
        if self == Self::W2Z { 2 } else { 1 }
    }

    /// Points of a tile in its plane.
    pub(super) fn points(self) -> usize {
        match self {
            Self::W1 => 6,
            Self::W2 | Self::W2Z => 24,
            Self::W4 => 36,
        }
    }

    /// Taps along y that are summed in the transform domain.
    pub(super) fn taps_y(self) -> usize {
        match self {
            Self::W1 => 3,
            Self::W2 | Self::W2Z | Self::W4 => 1,
        }
    }

    /// Transformed weights per point of a kernel of `taps_z` taps along z: the taps that are summed in the transform domain, or the
    /// points along z.
    pub(super) fn taps(self, taps_z: usize) -> usize {
        if self == Self::W2Z { pairs::POINTS } else { taps_z * self.taps_y() }
    }
}

/// Forward convolution with transformed weights; lengths were checked by the caller.
pub(super) fn forward(
    ctx: &Context,
    shape: &ConvShape,
    variant: Variant,
    sources: &[Source<'_>],
    weights: SourceWeights<'_>,
    bias: Option<&[f32]>,
    output: SharedTarget<'_>,
    statistics: Option<StatisticsMut<'_>>,
) {
    let tiling = Tiling {
        batch: shape.batch,
        size: shape.input,
        blocks: shape.in_blocks(),
        taps_z: shape.kernel[0],
        variant,
    };
    let target = Target {
        accumulate: output.mode == WriteMode::Accumulate,
        data: output.data,
        blocks: shape.out_blocks(),
    };
    let inputs = Inputs { sources, channels: &shape.source_channels, size: shape.input };
    Correlation { tiling, inputs, weights, bias, targets: &[target] }.run(ctx, statistics);
}

/// Data gradient: the convolution of the output's gradient with the reversed, transposed weights.
pub(super) fn backward_data(
    ctx: &Context,
    shape: &ConvShape,
    variant: Variant,
    grad_output: &[f32],
    weights: &Packed,
    grad_sources: &mut [GradientTarget<'_>],
) {
    let tiling = Tiling {
        batch: shape.batch,
        size: shape.input,
        blocks: shape.out_blocks(),
        taps_z: shape.kernel[0],
        variant,
    };
    let targets: Vec<_> = grad_sources
        .iter_mut()
        .zip(&shape.source_channels)
        .map(|(target, channels)| {
            let SharedTarget { data, mode } = target.shared();
            Target { data, blocks: blocks(*channels), accumulate: mode == WriteMode::Accumulate }
        })
        .collect();
    let inputs =
        Inputs { sources: &[Source::raw(grad_output)], channels: &[shape.out_channels], size: shape.input };
    Correlation { tiling, inputs, weights: weights.whole(), bias: None, targets: &targets }.run(ctx, None);
}

/// Weight gradient in natural order; lengths were checked by the caller.
pub(super) fn backward_weights(
    ctx: &Context,
    shape: &ConvShape,
    variant: Variant,
    sources: &[Source<'_>],
    grad_output: &[f32],
    grad_weights: &mut [f32],
) {
    let tiling = Tiling {
        batch: shape.batch,
        size: shape.input,
        blocks: shape.in_blocks(),
        taps_z: shape.kernel[0],
        variant,
    };
    let inputs = Inputs { sources, channels: &shape.source_channels, size: shape.input };
    WeightGradient { shape, tiling, inputs, grad_output }.run(ctx, grad_weights);
}
