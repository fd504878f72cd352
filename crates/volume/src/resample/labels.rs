//! Label images: the label with the largest linearly interpolated weight.
//!
//! Rule of the reference: every label's indicator is interpolated linearly in f64 and the largest value wins; among
//! labels with exactly equal values the one of the nearest input voxel if it is among them, else the smallest. The
//! weights are multiplied and added in scipy's order, so equality means the same here. Only the up to eight labels
//! around a position can have weight, so no indicator image is ever made.
//!
//! Separate axis: as above within the slices; across them the nearest slice, or with linear order the label that
//! weighs more than one half, 0 where none does.
//!
//! PyTorch's interpolation has a rule of its own (`torch_labels`).

use rayon::prelude::*;

use super::axis::{Interpolation, LinearTap, linear_taps, nearest_taps};
use super::data::permuted;
use super::{Method, allocate, check_shapes, torch_labels};
use crate::error::{Result, VolumeError};
use crate::{SpacingMm, Volume};

/// A type that holds labels; negative values (outside the body, say) are labels like others.
pub trait Label: Copy + Ord + Default + Send + Sync {}

impl<T: Copy + Ord + Default + Send + Sync> Label for T {}

/// Resamples `labels` to `new_shape` (z, y, x). Spacings as in [`super::resample_data`].
///
/// # Errors
/// An axis of length zero; cubic order, which means nothing for labels.
pub fn resample_labels<L: Label>(
    labels: Volume<L>,
    new_shape: [usize; 3],
    current_spacing: SpacingMm,
    new_spacing: SpacingMm,
    method: &Method,
) -> Result<Volume<L>> {
    let shape = labels.shape();
    if shape == new_shape {
        return Ok(labels);
    }
    check_shapes(shape, new_shape)?;
    let separate = method.separate_axis(current_spacing, new_spacing);
    let fault = |reason: &str| VolumeError::Resample { from: shape, to: new_shape, reason: reason.into() };
    let asked: &[Interpolation] = match separate {
        None => &[method.together],
        Some(_) => &[method.in_plane, method.across],
    };
    if asked.contains(&Interpolation::Cubic) {
        return Err(fault("labels can be resampled with order 0 or 1 only"));
    }
    let data = labels.into_data();
    let result = match separate {
        None if method.is_torch() => torch_labels::volume(&data, shape, new_shape, method)?,
        None => volume(&data, shape, new_shape, method.together)?,
        Some(0) => slices(&data, shape, new_shape, method)?,
        Some(axis) => {
            let to_front = if axis == 1 { [1, 0, 2] } else { [2, 0, 1] };
            let to_back = if axis == 1 { [1, 0, 2] } else { [1, 2, 0] };
            let turned = permuted(&data, shape, to_front);
            let (from, to) = (to_front.map(|a| shape[a]), to_front.map(|a| new_shape[a]));
            permuted(&slices(&turned, from, to, method)?, to, to_back)
        }
    };
    Volume::new(new_shape, result).ok_or_else(|| fault("the sizes do not fit"))
}

fn volume<L: Label>(input: &[L], from: [usize; 3], to: [usize; 3], order: Interpolation) -> Result<Vec<L>> {
    let near: [Vec<usize>; 3] = std::array::from_fn(|a| nearest_taps(from[a], to[a]));
    let size = from[1] * from[2];
    let mut out: Vec<L> = allocate(from, to, to.iter().product())?;
    let targets = out.par_chunks_exact_mut(to[1] * to[2]).enumerate();
    if order == Interpolation::Nearest {
        targets.for_each(|(z, target)| {
            let slice = &input[near[0][z] * size..][..size];
            gather(slice, from[2], &near[1], &near[2], target);
        });
        return Ok(out);
    }
    let taps: [Vec<LinearTap>; 3] = std::array::from_fn(|a| linear_taps(from[a], to[a]));
    targets.for_each_init(Vec::new, |same, (z, target)| {
        let tz = taps[0][z];
        for (y, line) in target.chunks_exact_mut(to[2]).enumerate() {
            let ty = taps[1][y];
            let row = |z: usize, y: usize| &input[z * size + y * from[2]..][..from[2]];
            let rows =
                [row(tz.low, ty.low), row(tz.low, ty.high), row(tz.high, ty.low), row(tz.high, ty.high)];
            let [[z0, z1], [y0, y1]] = [tz.weights, ty.weights];
            let weights = [z0 * y0, z0 * y1, z1 * y0, z1 * y1];
            let nearest = row(near[0][z], near[1][y]);
            vote(rows, weights, nearest, &taps[2], &near[2], same, line);
        }
    });
    Ok(out)
}

fn slices<L: Label>(input: &[L], from: [usize; 3], to: [usize; 3], method: &Method) -> Result<Vec<L>> {
    let Method { in_plane: order, across: order_z, .. } = *method;
    if order.is_torch() {
        return torch_labels::slices(input, from, to, method);
    }
    let size = from[1] * from[2];
    let plane_to = to[1] * to[2];
    let near: [Vec<usize>; 2] = std::array::from_fn(|a| nearest_taps(from[a + 1], to[a + 1]));
    let taps: [Vec<LinearTap>; 2] = std::array::from_fn(|a| linear_taps(from[a + 1], to[a + 1]));
    let plane = |slice: usize, target: &mut [L], same: &mut Vec<bool>| {
        let source = &input[slice * size..][..size];
        if order == Interpolation::Nearest {
            return gather(source, from[2], &near[0], &near[1], target);
        }
        for (y, line) in target.chunks_exact_mut(to[2]).enumerate() {
            let tap = taps[0][y];
            let row = |y: usize| &source[y * from[2]..][..from[2]];
            vote([row(tap.low), row(tap.high)], tap.weights, row(near[0][y]), &taps[1], &near[1], same, line);
        }
    };
    if from[0] == to[0] || order_z == Interpolation::Nearest {
        let mut out: Vec<L> = allocate(from, to, to[0] * plane_to)?;
        let source = nearest_taps(from[0], to[0]);
        let targets = out.par_chunks_exact_mut(plane_to).zip(&source);
        targets.for_each_init(Vec::new, |same, (target, &slice)| plane(slice, target, same));
        return Ok(out);
    }
    let mut middle: Vec<L> = allocate(from, to, from[0] * plane_to)?;
    let targets = middle.par_chunks_exact_mut(plane_to).enumerate();
    targets.for_each_init(Vec::new, |same, (slice, target)| plane(slice, target, same));
    let mut out: Vec<L> = allocate(from, to, to[0] * plane_to)?;
    out.par_chunks_exact_mut(plane_to).zip(linear_taps(from[0], to[0])).for_each(|(target, tap)| {
        let [low, high] = [tap.low, tap.high].map(|slice| &middle[slice * plane_to..][..plane_to]);
        for ((v, &a), &b) in target.iter_mut().zip(low).zip(high) {
            *v = match () {
                () if a == b || tap.weights[0] > 0.5 => a,
                () if tap.weights[1] > 0.5 => b,
                () => L::default(),
            };
        }
    });
    Ok(out)
}

/// Nearest neighbours within one slice of rows of length `width`.
pub(super) fn gather<L: Label>(slice: &[L], width: usize, y: &[usize], x: &[usize], target: &mut [L]) {
    for (line, &row) in target.chunks_exact_mut(x.len()).zip(y) {
        let source = &slice[row * width..][..width];
        line.iter_mut().zip(x).for_each(|(v, &at)| *v = source[at]);
    }
}

/// One output line from the `N` input rows around it (z before y, low before high) with their weights.
///
/// `nearest` is the input row nearest to the line; `same` is a buffer.
fn vote<L: Label, const N: usize>(
    rows: [&[L]; N],
    weights: [f64; N],
    nearest: &[L],
    taps: &[LinearTap],
    near: &[usize],
    same: &mut Vec<bool>,
    line: &mut [L],
) {
    let first = rows[0];
    same.clear();
    same.resize(first.len(), true);
    for row in &rows[1..] {
        same.iter_mut().zip(first).zip(*row).for_each(|((s, a), b)| *s &= a == b);
    }
    for ((v, tap), &at) in line.iter_mut().zip(taps).zip(near) {
        // Within a region, which is nearly everywhere, there is nothing to weigh.
        if same[tap.low] && same[tap.high] && first[tap.low] == first[tap.high] {
            *v = first[tap.low];
            continue;
        }
        // Distinct labels with their sums, in the order in which they are met.
        let mut found = [(L::default(), 0.0f64); 8];
        let mut count = 0;
        for (row, weight) in rows.iter().zip(weights) {
            for (label, share) in [(row[tap.low], tap.weights[0]), (row[tap.high], tap.weights[1])] {
                let product = weight * share;
                if let Some(entry) = found[..count].iter_mut().find(|e| e.0 == label) {
                    entry.1 += product;
                } else {
                    found[count] = (label, product);
                    count += 1;
                }
            }
        }
        let found = &found[..count];
        let best = found.iter().fold(0.0, |best: f64, e| best.max(e.1.min(1.0)));
        let tied = || found.iter().filter(|e| e.1.min(1.0) == best).map(|e| e.0);
        let close = nearest[at];
        *v = if tied().any(|label| label == close) { close } else { tied().min().unwrap_or(close) };
    }
}
