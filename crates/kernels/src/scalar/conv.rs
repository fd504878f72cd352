//! Convolution and its gradients as plain loops. Weights in natural order `[co][ci][kz][ky][kx]`, sums in f64.

use crate::activation::leaky;
use crate::conv::{ConvShape, GradientTarget, Source, WriteMode};
use crate::layout::{BlockedShape, LANES};

/// Values of a source as a consumer sees them (affine and activation applied), plain (n, c, z, y, x).
pub fn materialise(shape: &BlockedShape, source: &Source<'_>) -> Vec<f32> {
    let (voxels, padded) = (shape.voxels(), shape.padded_channels());
    let mut plain = Vec::with_capacity(shape.plain_len());
    for sample in 0..shape.batch {
        for channel in 0..shape.channels {
            for voxel in 0..voxels {
                let raw = source.data.get(shape.index(sample, channel, voxel));
                plain.push(source.affine.map_or(raw, |affine| {
                    let at = sample * padded + channel;
                    leaky(raw.mul_add(affine.scale[at], affine.shift[at]), affine.negative_slope)
                }));
            }
        }
    }
    plain
}

/// Calls `visit(input voxel, tap)` for every tap of an output voxel that lies inside the image.
fn visit_taps(shape: &ConvShape, output_voxel: usize, mut visit: impl FnMut(usize, usize)) {
    let [_, out_y, out_x] = shape.output().spatial;
    let position = [output_voxel / (out_y * out_x), output_voxel / out_x % out_y, output_voxel % out_x];
    let padding = shape.padding();
    let inside = |axis: usize, tap: usize| {
        (position[axis] * shape.stride[axis] + tap)
            .checked_sub(padding[axis])
            .filter(|at| *at < shape.input[axis])
    };
    let [kz, ky, kx] = shape.kernel;
    for tap in 0..kz * ky * kx {
        let found = (inside(0, tap / (ky * kx)), inside(1, tap / kx % ky), inside(2, tap % kx));
        if let (Some(z), Some(y), Some(x)) = found {
            visit((z * shape.input[1] + y) * shape.input[2] + x, tap);
        }
    }
}

/// All sources as one plain tensor (n, c, z, y, x), concatenated along c.
fn concatenated(shape: &ConvShape, sources: &[Source<'_>]) -> Vec<f32> {
    let voxels: usize = shape.input.iter().product();
    let plain: Vec<_> =
        sources.iter().enumerate().map(|(i, source)| materialise(&shape.source(i), source)).collect();
    let mut all = Vec::new();
    for sample in 0..shape.batch {
        for (source, channels) in plain.iter().zip(&shape.source_channels) {
            all.extend_from_slice(&source[sample * channels * voxels..][..channels * voxels]);
        }
    }
    all
}

/// Raw output of a convolution, see [`crate::conv::forward`].
pub fn conv_forward(
    shape: &ConvShape,
    sources: &[Source<'_>],
    weights: &[f32],
    bias: Option<&[f32]>,
    output: &mut [f32],
) {
    let input = concatenated(shape, sources);
    let (out, in_channels, taps) = (shape.output(), shape.in_channels(), shape.taps());
    let in_voxels: usize = shape.input.iter().product();
    output.fill(0.0);
    for sample in 0..shape.batch {
        for voxel in 0..out.voxels() {
            let mut sums = vec![0.0_f64; shape.out_channels];
            visit_taps(shape, voxel, |at, tap| {
                for ci in 0..in_channels {
                    let value = f64::from(input[(sample * in_channels + ci) * in_voxels + at]);
                    for (co, sum) in sums.iter_mut().enumerate() {
                        *sum += value * f64::from(weights[(co * in_channels + ci) * taps + tap]);
                    }
                }
            });
            for (co, sum) in sums.iter().enumerate() {
                output[out.index(sample, co, voxel)] =
                    (sum + bias.map_or(0.0, |bias| f64::from(bias[co]))) as f32;
            }
        }
    }
}

/// Writes plain per-channel gradients into a blocked target.
pub(super) fn write_target(target: &mut GradientTarget<'_>, at: usize, value: f64) {
    match target.mode {
        WriteMode::Overwrite => target.data[at] = value as f32,
        WriteMode::Accumulate => target.data[at] = (f64::from(target.data[at]) + value) as f32,
    }
}

/// Gradient with respect to the sources, see [`crate::conv::backward_data`].
pub fn conv_backward_data(
    shape: &ConvShape,
    grad_output: &[f32],
    weights: &[f32],
    grad_sources: &mut [GradientTarget<'_>],
) {
    let (out, in_channels, taps) = (shape.output(), shape.in_channels(), shape.taps());
    let in_voxels: usize = shape.input.iter().product();
    let mut gradient = vec![0.0_f64; shape.batch * in_channels * in_voxels];
    for sample in 0..shape.batch {
        for voxel in 0..out.voxels() {
            visit_taps(shape, voxel, |at, tap| {
                for co in 0..shape.out_channels {
                    let value = f64::from(grad_output[out.index(sample, co, voxel)]);
                    for ci in 0..in_channels {
                        gradient[(sample * in_channels + ci) * in_voxels + at] +=
                            value * f64::from(weights[(co * in_channels + ci) * taps + tap]);
                    }
                }
            });
        }
    }
    let mut first = 0;
    for (index, target) in grad_sources.iter_mut().enumerate() {
        let source = shape.source(index);
        if target.mode == WriteMode::Overwrite {
            target.data.fill(0.0);
        }
        for sample in 0..shape.batch {
            for channel in 0..source.channels {
                for voxel in 0..in_voxels {
                    let value = gradient[(sample * in_channels + first + channel) * in_voxels + voxel];
                    write_target(target, source.index(sample, channel, voxel), value);
                }
            }
        }
        first += source.channels;
    }
}

/// Gradient with respect to the weights, see [`crate::conv::backward_weights`].
pub fn conv_backward_weights(
    shape: &ConvShape,
    sources: &[Source<'_>],
    grad_output: &[f32],
    grad_weights: &mut [f32],
) {
    let input = concatenated(shape, sources);
    let (out, in_channels, taps) = (shape.output(), shape.in_channels(), shape.taps());
    let in_voxels: usize = shape.input.iter().product();
    let mut sums = vec![0.0_f64; grad_weights.len()];
    for sample in 0..shape.batch {
        for voxel in 0..out.voxels() {
            visit_taps(shape, voxel, |at, tap| {
                for co in 0..shape.out_channels {
                    let value = f64::from(grad_output[out.index(sample, co, voxel)]);
                    for ci in 0..in_channels {
                        sums[(co * in_channels + ci) * taps + tap] +=
                            value * f64::from(input[(sample * in_channels + ci) * in_voxels + at]);
                    }
                }
            });
        }
    }
    for (target, sum) in grad_weights.iter_mut().zip(&sums) {
        *target = *sum as f32;
    }
}

/// Sum of a gradient over samples and voxels, per channel.
pub fn bias_gradient(shape: &BlockedShape, gradient: &[f32], grad_bias: &mut [f32]) {
    for (channel, target) in grad_bias.iter_mut().enumerate() {
        let mut sum = 0.0_f64;
        for sample in 0..shape.batch {
            let first = shape.index(sample, channel, 0);
            sum += gradient[first..]
                .iter()
                .step_by(LANES)
                .take(shape.voxels())
                .map(|v| f64::from(*v))
                .sum::<f64>();
        }
        *target = sum as f32;
    }
}
