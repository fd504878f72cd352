//! First layer, transposed convolution, head and average pooling as plain loops, sums in f64.

use super::conv::{conv_backward_data, conv_backward_weights, conv_forward, materialise, write_target};
use crate::conv::{ConvShape, GradientTarget, Source, WriteMode};
use crate::head::HeadShape;
use crate::layout::{BlockedShape, LANES};
use crate::pooling::PoolShape;
use crate::transposed::TransposedShape;

/// Blocked copy of a plain tensor.
fn blocked(shape: &BlockedShape, plain: &[f32]) -> Vec<f32> {
    let mut blocked = vec![0.0; shape.len()];
    for (at, value) in plain.iter().enumerate() {
        let row = at / shape.voxels();
        blocked[shape.index(row / shape.channels, row % shape.channels, at % shape.voxels())] = *value;
    }
    blocked
}

/// Raw output of a first layer, see [`crate::first_layer::forward`].
pub fn first_layer_forward(
    shape: &ConvShape,
    input: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
    output: &mut [f32],
) {
    conv_forward(shape, &[Source::raw(&blocked(&shape.source(0), input))], weights, bias, output);
}

/// Gradient of a first layer's weights, see [`crate::first_layer::backward_weights`].
pub fn first_layer_backward_weights(
    shape: &ConvShape,
    input: &[f32],
    grad_output: &[f32],
    grad_weights: &mut [f32],
) {
    conv_backward_weights(
        shape,
        &[Source::raw(&blocked(&shape.source(0), input))],
        grad_output,
        grad_weights,
    );
}

/// Calls `visit(input voxel, output voxel, tap)` for every tap of a transposed convolution with kernel = stride.
fn visit_pairs(shape: &TransposedShape, mut visit: impl FnMut(usize, usize, usize)) {
    let out = shape.output();
    let ([_, in_y, in_x], [kz, ky, kx]) = (shape.input, shape.kernel);
    for voxel in 0..out.voxels() {
        let (z, y, x) = (
            voxel / (out.spatial[1] * out.spatial[2]),
            voxel / out.spatial[2] % out.spatial[1],
            voxel % out.spatial[2],
        );
        visit((z / kz * in_y + y / ky) * in_x + x / kx, voxel, (z % kz * ky + y % ky) * kx + x % kx);
    }
}

/// Raw output of a transposed convolution, see [`crate::transposed::forward`].
pub fn transposed_forward(
    shape: &TransposedShape,
    source: &Source<'_>,
    weights: &[f32],
    bias: Option<&[f32]>,
    output: &mut [f32],
) {
    let input = materialise(&shape.source(), source);
    let (out, voxels, taps) = (shape.output(), shape.source().voxels(), shape.taps());
    output.fill(0.0);
    for sample in 0..shape.batch {
        visit_pairs(shape, |from, to, tap| {
            for co in 0..shape.out_channels {
                let mut sum = bias.map_or(0.0, |bias| f64::from(bias[co]));
                for ci in 0..shape.in_channels {
                    let value = f64::from(input[(sample * shape.in_channels + ci) * voxels + from]);
                    sum += value * f64::from(weights[(ci * shape.out_channels + co) * taps + tap]);
                }
                output[out.index(sample, co, to)] = sum as f32;
            }
        });
    }
}

/// Gradient with respect to the source, see [`crate::transposed::backward_data`].
pub fn transposed_backward_data(
    shape: &TransposedShape,
    grad_output: &[f32],
    weights: &[f32],
    grad_source: &mut GradientTarget<'_>,
) {
    let (source, out, taps) = (shape.source(), shape.output(), shape.taps());
    let mut sums = vec![0.0_f64; source.plain_len()];
    for sample in 0..shape.batch {
        visit_pairs(shape, |from, to, tap| {
            for ci in 0..shape.in_channels {
                for co in 0..shape.out_channels {
                    sums[(sample * shape.in_channels + ci) * source.voxels() + from] +=
                        f64::from(grad_output[out.index(sample, co, to)])
                            * f64::from(weights[(ci * shape.out_channels + co) * taps + tap]);
                }
            }
        });
    }
    write_plain(&source, &sums, grad_source);
}

/// Gradient with respect to the weights, see [`crate::transposed::backward_weights`].
pub fn transposed_backward_weights(
    shape: &TransposedShape,
    source: &Source<'_>,
    grad_output: &[f32],
    grad_weights: &mut [f32],
) {
    let input = materialise(&shape.source(), source);
    let (out, voxels, taps) = (shape.output(), shape.source().voxels(), shape.taps());
    let mut sums = vec![0.0_f64; grad_weights.len()];
    for sample in 0..shape.batch {
        visit_pairs(shape, |from, to, tap| {
            for ci in 0..shape.in_channels {
                for co in 0..shape.out_channels {
                    sums[(ci * shape.out_channels + co) * taps + tap] +=
                        f64::from(input[(sample * shape.in_channels + ci) * voxels + from])
                            * f64::from(grad_output[out.index(sample, co, to)]);
                }
            }
        });
    }
    for (target, sum) in grad_weights.iter_mut().zip(sums) {
        *target = sum as f32;
    }
}

fn write_plain(shape: &BlockedShape, values: &[f64], target: &mut GradientTarget<'_>) {
    if target.mode == WriteMode::Overwrite {
        target.data.fill(0.0);
    }
    for (at, value) in values.iter().enumerate() {
        let row = at / shape.voxels();
        let index = shape.index(row / shape.channels, row % shape.channels, at % shape.voxels());
        write_target(target, index, *value);
    }
}

/// Logits in plain layout, see [`crate::head::forward`].
pub fn head_forward(
    shape: &HeadShape,
    source: &Source<'_>,
    weights: &[f32],
    bias: Option<&[f32]>,
    output: &mut [f32],
) {
    let conv = shape.conv();
    let mut out = vec![0.0; conv.output().len()];
    conv_forward(&conv, &[*source], weights, bias, &mut out);
    output.copy_from_slice(&materialise(&conv.output(), &Source::raw(&out)));
}

/// Gradient with respect to the source, see [`crate::head::backward_data`].
pub fn head_backward_data(
    shape: &HeadShape,
    grad_output: &[f32],
    weights: &[f32],
    grad_source: &mut GradientTarget<'_>,
) {
    let conv = shape.conv();
    let gradient = blocked(&conv.output(), grad_output);
    let target = GradientTarget { data: &mut *grad_source.data, mode: grad_source.mode };
    conv_backward_data(&conv, &gradient, weights, &mut [target]);
}

/// Gradient with respect to weights and bias, see [`crate::head::backward_weights`].
pub fn head_backward_weights(
    shape: &HeadShape,
    source: &Source<'_>,
    grad_output: &[f32],
    grad_weights: &mut [f32],
    grad_bias: Option<&mut [f32]>,
) {
    let conv = shape.conv();
    let gradient = blocked(&conv.output(), grad_output);
    conv_backward_weights(&conv, &[*source], &gradient, grad_weights);
    if let Some(grad_bias) = grad_bias {
        super::bias_gradient(&conv.output(), &gradient, grad_bias);
    }
}

/// Calls `visit(input voxel, output voxel)` for every voxel inside a whole window.
fn visit_windows(shape: &PoolShape, mut visit: impl FnMut(usize, usize)) {
    let ([_, in_y, in_x], out) = (shape.input.spatial, shape.output().spatial);
    let [kz, ky, kx] = shape.kernel;
    for z in 0..out[0] * kz {
        for y in 0..out[1] * ky {
            for x in 0..out[2] * kx {
                visit((z * in_y + y) * in_x + x, (z / kz * out[1] + y / ky) * out[2] + x / kx);
            }
        }
    }
}

/// Means over windows, see [`crate::pooling::average_forward`].
pub fn average_pool_forward(shape: &PoolShape, source: &Source<'_>, output: &mut [f32]) {
    let input = materialise(&shape.input, source);
    let out = shape.output();
    let count = shape.kernel.iter().product::<usize>() as f64;
    let mut sums = vec![0.0_f64; out.len()];
    for row in 0..out.batch * out.channels {
        visit_windows(shape, |from, to| {
            sums[out.index(row / out.channels, row % out.channels, to)] +=
                f64::from(input[row * shape.input.voxels() + from]);
        });
    }
    for (target, sum) in output.iter_mut().zip(sums) {
        *target = (sum / count) as f32;
    }
}

/// Gradient with respect to the source, see [`crate::pooling::average_backward`].
pub fn average_pool_backward(shape: &PoolShape, grad_output: &[f32], grad_source: &mut GradientTarget<'_>) {
    let out = shape.output();
    let count = shape.kernel.iter().product::<usize>() as f64;
    if grad_source.mode == WriteMode::Overwrite {
        grad_source.data.fill(0.0);
    }
    for block in 0..out.batch * out.blocks() {
        visit_windows(shape, |from, to| {
            for lane in 0..LANES {
                let gradient = f64::from(grad_output[(block * out.voxels() + to) * LANES + lane]);
                write_target(
                    grad_source,
                    (block * shape.input.voxels() + from) * LANES + lane,
                    gradient / count,
                );
            }
        });
    }
}
