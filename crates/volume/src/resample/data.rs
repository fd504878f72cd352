//! Intensities: tensor-product splines, one pass per axis.
//!
//! scipy evaluates order³ products per output voxel on a padded f64 copy; the spline being separable, filtering and
//! interpolating along one axis after the other gives the same numbers with a few operations per voxel and axis. Each
//! pass computes in f64; what is handed from the slices' pass to that along z is f32 (rounding 6e-8 of the values, the
//! result being f32 anyway). Besides input and output one channel at the intermediate grid is held.
//!
//! Clipping as scikit-image's `resize`: to the range of the channel, or of the slice where slices are resampled
//! separately; a spline along the separate axis is not clipped. NaN takes no part in the range; where there is nothing
//! else, nothing is clipped.
//! PyTorch's interpolation goes the same way with its own positions and weights.
//! Tolerance against the reference: 1e-6 of the channel's largest magnitude.

use rayon::prelude::*;

use super::Method;
use super::axis::Interpolation;
use super::axis_plan::{AxisPlan, Bounds, Clip, range};
use super::cubic::{MARGIN, coefficients};
use super::{allocate, check_shapes};
use crate::error::{Result, VolumeError};
use crate::{ChannelVolume, SpacingMm};

/// Columns worked on side by side: with a few hundred rows of f64 they fill the second-level cache.
const COLUMNS: usize = 64;
/// Rows worked on side by side along x.
const ROWS: usize = 8;

/// Resamples every channel of `data` to `new_shape` (z, y, x).
///
/// Spacings (z, y, x) in mm only decide whether one axis is treated separately ([`separate_axis`](super::separate_axis())).
/// Equal shapes return `data` untouched. Results do not depend on the number of threads.
///
/// # Errors
/// An axis of length zero, or no memory for the result.
pub fn resample_data(
    data: ChannelVolume<f32>,
    new_shape: [usize; 3],
    current_spacing: SpacingMm,
    new_spacing: SpacingMm,
    method: &Method,
) -> Result<ChannelVolume<f32>> {
    let shape = data.shape();
    if shape == new_shape {
        return Ok(data);
    }
    check_shapes(shape, new_shape)?;
    let separate = method.separate_axis(current_spacing, new_spacing);
    let Method { together, in_plane, across: coarse, .. } = *method;
    let fault = |reason: &str| VolumeError::Resample { from: shape, to: new_shape, reason: reason.into() };
    let channels = data.channels();
    let voxels: usize = new_shape.iter().product();
    let mut out: Vec<f32> = allocate(shape, new_shape, voxels.saturating_mul(channels))?;
    for (c, result) in out.chunks_exact_mut(voxels).enumerate() {
        let channel = data.channel(c);
        match separate {
            None => volume(channel, shape, result, new_shape, together),
            Some(0) => slices(channel, shape, result, new_shape, in_plane, coarse),
            Some(axis) => {
                // The separate axis comes to the front and goes back.
                let to_front = if axis == 1 { [1, 0, 2] } else { [2, 0, 1] };
                let to_back = if axis == 1 { [1, 0, 2] } else { [1, 2, 0] };
                let turned = permuted(channel, shape, to_front);
                let (from, to) = (to_front.map(|a| shape[a]), to_front.map(|a| new_shape[a]));
                let mut turned_result = vec![0.0; voxels];
                slices(&turned, from, &mut turned_result, to, in_plane, coarse);
                result.copy_from_slice(&permuted(&turned_result, to, to_back));
            }
        }
    }
    ChannelVolume::new(channels, new_shape, out).ok_or_else(|| fault("the sizes do not fit"))
}

/// `data` of `shape` with its axes in the order `axes`.
pub(super) fn permuted<T: Copy>(data: &[T], shape: [usize; 3], axes: [usize; 3]) -> Vec<T> {
    let strides = [shape[1] * shape[2], shape[2], 1];
    let [a, b, c] = axes;
    let mut out = Vec::with_capacity(data.len());
    for i in 0..shape[a] {
        for j in 0..shape[b] {
            let base = i * strides[a] + j * strides[b];
            out.extend((0..shape[c]).map(|k| data[base + k * strides[c]]));
        }
    }
    out
}

/// Three-dimensional resampling of one channel.
fn volume(input: &[f32], from: [usize; 3], output: &mut [f32], to: [usize; 3], order: Interpolation) {
    let [z, y, x] = std::array::from_fn(|axis| AxisPlan::new(from[axis], to[axis], order));
    let (low, high) = input
        .par_chunks(1 << 16)
        .map(range)
        .reduce(|| (f32::INFINITY, f32::NEG_INFINITY), |a, b| (a.0.min(b.0), a.1.max(b.1)));
    let clip = Clip::To(low, high);
    if z.keeps() {
        return planes(input, [from[1], from[2]], &y, &x, output, [to[1], to[2]], clip);
    }
    if y.keeps() && x.keeps() {
        return across(input, from, &z, output, to[0], clip);
    }
    // The cheaper order: slices cost about three times as much per voxel as columns.
    let plane_cost = |slices: usize| slices * (from[1] * from[2] + to[1] * from[2] + 2 * to[1] * to[2]);
    let across_cost = |rows: usize, columns: usize| rows * columns * (from[0] + to[0]);
    let across_first = across_cost(from[1], from[2]) + plane_cost(to[0]);
    let planes_first = plane_cost(from[0]) + across_cost(to[1], to[2]);
    if across_first < planes_first {
        let mut middle = vec![0.0; to[0] * from[1] * from[2]];
        across(input, from, &z, &mut middle, to[0], Clip::No);
        planes(&middle, [from[1], from[2]], &y, &x, output, [to[1], to[2]], clip);
    } else {
        let mut middle = vec![0.0; from[0] * to[1] * to[2]];
        planes(input, [from[1], from[2]], &y, &x, &mut middle, [to[1], to[2]], Clip::No);
        across(&middle, [from[0], to[1], to[2]], &z, output, to[0], clip);
    }
}

/// Slice by slice with `order`, then across the slices with `order_z`.
fn slices(
    input: &[f32],
    from: [usize; 3],
    output: &mut [f32],
    to: [usize; 3],
    order: Interpolation,
    order_z: Interpolation,
) {
    let [y, x] = std::array::from_fn(|axis| AxisPlan::new(from[axis + 1], to[axis + 1], order));
    let (plane_from, plane_to) = ([from[1], from[2]], [to[1], to[2]]);
    let size = plane_to[0] * plane_to[1];
    match AxisPlan::new(from[0], to[0], order_z) {
        AxisPlan::Keep => planes(input, plane_from, &y, &x, output, plane_to, Clip::Slice),
        AxisPlan::Nearest(source) => {
            // Runs of output slices that show the same input slice: it is computed once.
            let mut runs = Vec::new();
            let mut rest = output;
            for run in source.chunk_by(|a, b| a == b) {
                let (here, after) = rest.split_at_mut(run.len() * size);
                runs.push((run[0], here));
                rest = after;
            }
            let n = plane_from[0] * plane_from[1];
            runs.into_par_iter().for_each_init(Scratch::default, |scratch, (slice, target)| {
                let (first, copies) = target.split_at_mut(size);
                plane(
                    &input[slice * n..(slice + 1) * n],
                    plane_from,
                    &y,
                    &x,
                    first,
                    plane_to,
                    Clip::Slice,
                    scratch,
                );
                copies.chunks_exact_mut(size).for_each(|copy| copy.copy_from_slice(first));
            });
        }
        z => {
            let mut middle = vec![0.0; from[0] * size];
            planes(input, plane_from, &y, &x, &mut middle, plane_to, Clip::Slice);
            across(&middle, [from[0], to[1], to[2]], &z, output, to[0], Clip::No);
        }
    }
}

/// Buffers of one thread.
#[derive(Default)]
struct Scratch {
    rows: Vec<f64>,
    line: Vec<f64>,
    plane: Vec<f64>,
}

/// Resamples every slice of `input` within its plane, `from` and `to` being (y, x).
fn planes(
    input: &[f32],
    from: [usize; 2],
    y: &AxisPlan,
    x: &AxisPlan,
    output: &mut [f32],
    to: [usize; 2],
    clip: Clip,
) {
    let sources = input.par_chunks_exact(from[0] * from[1]);
    let targets = output.par_chunks_exact_mut(to[0] * to[1]);
    sources.zip(targets).for_each_init(Scratch::default, |scratch, (source, target)| {
        plane(source, from, y, x, target, to, clip, scratch);
    });
}

fn plane(
    input: &[f32],
    from: [usize; 2],
    y: &AxisPlan,
    x: &AxisPlan,
    output: &mut [f32],
    to: [usize; 2],
    clip: Clip,
    scratch: &mut Scratch,
) {
    if y.keeps() && x.keeps() {
        return output.copy_from_slice(input);
    }
    let bounds = match clip {
        Clip::No => Bounds::NONE,
        Clip::To(low, high) => Bounds::of((low, high)),
        Clip::Slice => Bounds::of(range(input)),
    };
    let Scratch { rows, line, plane } = scratch;
    plane.resize(to[0] * from[1], 0.0);
    columns(input, from, y, plane, to[0], rows, line);
    lines(plane, from[1], x, output, to[1], bounds, rows, line);
}

/// Along y: `input` (y, x) f32 to `output` (y', x) f64.
fn columns(
    input: &[f32],
    from: [usize; 2],
    plan: &AxisPlan,
    output: &mut [f64],
    to: usize,
    rows: &mut Vec<f64>,
    line: &mut Vec<f64>,
) {
    let [n, width] = from;
    if plan.keeps() {
        output.iter_mut().zip(input).for_each(|(o, &i)| *o = f64::from(i));
        return;
    }
    for start in (0..width).step_by(COLUMNS) {
        let w = COLUMNS.min(width - start);
        load(rows, n, w, plan.gain(), |row| &input[row * width + start..][..w]);
        interpolate(plan, rows, n, w, line, to, |row, values| {
            output[row * width + start..][..w].copy_from_slice(values);
        });
    }
}

/// Along x: `input` (y, x) f64 to `output` (y, x') f32 within `bounds`.
fn lines(
    input: &[f64],
    from: usize,
    plan: &AxisPlan,
    output: &mut [f32],
    to: usize,
    bounds: Bounds,
    rows: &mut Vec<f64>,
    line: &mut Vec<f64>,
) {
    if plan.keeps() {
        output.iter_mut().zip(input).for_each(|(o, &i)| *o = bounds.apply(i));
        return;
    }
    let gain = plan.gain();
    for (source, target) in input.chunks(ROWS * from).zip(output.chunks_mut(ROWS * to)) {
        // Transposed: the lines lie side by side. A last block of fewer lines repeats its last one.
        let held = target.len() / to;
        rows.resize((from + 2 * MARGIN) * ROWS, 0.0);
        let lines: [&[f64]; ROWS] = std::array::from_fn(|k| &source[k.min(held - 1) * from..][..from]);
        let slots = rows.as_chunks_mut::<ROWS>().0;
        for (at, slot) in slots[MARGIN..].iter_mut().enumerate().take(from) {
            *slot = std::array::from_fn(|k| lines[k][at] * gain);
        }
        let mut results: Vec<&mut [f32]> = target.chunks_exact_mut(to).collect();
        interpolate(plan, rows, from, ROWS, line, to, |at, values| {
            for (result, &v) in results.iter_mut().zip(values) {
                result[at] = bounds.apply(v);
            }
        });
    }
}

/// Along z: `input` of `from` (z, y, x) to `output` with `to` slices.
fn across(input: &[f32], from: [usize; 3], plan: &AxisPlan, output: &mut [f32], to: usize, clip: Clip) {
    let [n, height, width] = from;
    let bounds = match clip {
        Clip::To(low, high) => Bounds::of((low, high)),
        Clip::No | Clip::Slice => Bounds::NONE,
    };
    // One task per y: the rows of all output slices at that y.
    let mut tasks: Vec<Vec<&mut [f32]>> = (0..height).map(|_| Vec::with_capacity(to)).collect();
    for (i, row) in output.chunks_exact_mut(width).enumerate() {
        tasks[i % height].push(row);
    }
    tasks.into_par_iter().enumerate().for_each_init(Scratch::default, |scratch, (y, mut targets)| {
        let Scratch { rows, line, .. } = scratch;
        for start in (0..width).step_by(COLUMNS) {
            let w = COLUMNS.min(width - start);
            load(rows, n, w, plan.gain(), |row| &input[(row * height + y) * width + start..][..w]);
            interpolate(plan, rows, n, w, line, to, |row, values| {
                for (o, &v) in targets[row][start..][..w].iter_mut().zip(values) {
                    *o = bounds.apply(v);
                }
            });
        }
    });
}

/// Fills the sample rows of `rows` (with margins for the spline) from `n` rows of `width` values times `gain`.
fn load<'a>(rows: &mut Vec<f64>, n: usize, width: usize, gain: f64, source: impl Fn(usize) -> &'a [f32]) {
    rows.resize((n + 2 * MARGIN) * width, 0.0);
    for (row, slots) in rows[MARGIN * width..].chunks_exact_mut(width).take(n).enumerate() {
        slots.iter_mut().zip(source(row)).for_each(|(slot, &v)| *slot = f64::from(v) * gain);
    }
}

/// Resamples `width` lines side by side; `emit` gets each of the `to` output rows.
fn interpolate(
    plan: &AxisPlan,
    rows: &mut [f64],
    n: usize,
    width: usize,
    line: &mut Vec<f64>,
    to: usize,
    mut emit: impl FnMut(usize, &[f64]),
) {
    line.resize(width, 0.0);
    let line = &mut line[..width];
    match plan {
        AxisPlan::Keep => (0..to).for_each(|i| emit(i, &rows[(MARGIN + i) * width..][..width])),
        AxisPlan::Nearest(taps) => {
            for (i, &tap) in taps.iter().enumerate() {
                emit(i, &rows[(MARGIN + tap) * width..][..width]);
            }
        }
        AxisPlan::Linear(taps) => {
            for (i, tap) in taps.iter().enumerate() {
                let low = &rows[(MARGIN + tap.low) * width..][..width];
                let high = &rows[(MARGIN + tap.high) * width..][..width];
                let [a, b] = tap.weights;
                for ((v, l), h) in line.iter_mut().zip(low).zip(high) {
                    *v = a * l + b * h;
                }
                emit(i, line);
            }
        }
        AxisPlan::Cubic(taps) => {
            coefficients(rows, n, width);
            for (i, tap) in taps.iter().enumerate() {
                let four = &rows[tap.first * width..][..4 * width];
                let (c01, c23) = four.split_at(2 * width);
                let ((c0, c1), (c2, c3)) = (c01.split_at(width), c23.split_at(width));
                let [w0, w1, w2, w3] = tap.weights;
                for ((((v, a), b), c), d) in line.iter_mut().zip(c0).zip(c1).zip(c2).zip(c3) {
                    *v = (w0 * a + w1 * b) + (w2 * c + w3 * d);
                }
                emit(i, line);
            }
        }
    }
}
