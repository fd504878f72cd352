//! Label images by PyTorch's interpolation.
//!
//! Rule of the reference's `resample_torch_simple`: the indicator of every label, times 1000, is interpolated in f32 and
//! rounded to f16; the largest value wins, the smallest label among equal ones. With `majority_only` instead: the label
//! with more than half of the weight, 0 where there is none. Sums are nested as in PyTorch's kernel.

use half::f16;
use rayon::prelude::*;

use super::axis::{LinearTap, Taps};
use super::labels::{Label, gather};
use super::{Method, allocate};
use crate::error::{Result, VolumeError};

/// What a label's whole weight becomes before it is rounded to f16.
const SCALE: f32 = 1000.0;

/// All three axes at once.
pub(super) fn volume<L: Label>(
    input: &[L],
    from: [usize; 3],
    to: [usize; 3],
    method: &Method,
) -> Result<Vec<L>> {
    let taps: [Taps; 3] = std::array::from_fn(|axis| method.together.taps(from[axis], to[axis]));
    let size = from[1] * from[2];
    let mut out: Vec<L> = allocate(from, to, to.iter().product())?;
    let targets = out.par_chunks_exact_mut(to[1] * to[2]).enumerate();
    match &taps {
        [Taps::Linear(z), Taps::Linear(y), Taps::Linear(x)] => targets.for_each(|(at, target)| {
            let slices = [z[at].low, z[at].high].map(|slice| &input[slice * size..][..size]);
            blend(slices, z[at], from[2], y, x, method.majority_only, target);
        }),
        [Taps::Nearest(z), Taps::Nearest(y), Taps::Nearest(x)] => targets.for_each(|(at, target)| {
            gather(&input[z[at] * size..][..size], from[2], y, x, target);
        }),
        _ => return Err(unsuitable(from, to)),
    }
    Ok(out)
}

/// Within the slices first, then across them.
pub(super) fn slices<L: Label>(
    input: &[L],
    from: [usize; 3],
    to: [usize; 3],
    method: &Method,
) -> Result<Vec<L>> {
    let size = from[1] * from[2];
    let plane_to = to[1] * to[2];
    let mut middle: Vec<L> = allocate(from, to, from[0] * plane_to)?;
    if from[1..] == to[1..] {
        middle.copy_from_slice(input);
    } else {
        let taps = [1, 2].map(|axis| method.in_plane.taps(from[axis], to[axis]));
        let planes = input.par_chunks_exact(size).zip(middle.par_chunks_exact_mut(plane_to));
        match &taps {
            [Taps::Linear(y), Taps::Linear(x)] => planes.for_each(|(source, target)| {
                let alone = LinearTap { low: 0, high: 0, weights: [1.0, 0.0] };
                blend([source, source], alone, from[2], y, x, method.majority_only, target);
            }),
            [Taps::Nearest(y), Taps::Nearest(x)] => {
                planes.for_each(|(source, target)| gather(source, from[2], y, x, target));
            }
            _ => return Err(unsuitable(from, to)),
        }
    }
    if from[0] == to[0] {
        return Ok(middle);
    }
    let mut out: Vec<L> = allocate(from, to, to[0] * plane_to)?;
    let targets = out.par_chunks_exact_mut(plane_to);
    let slice = |at: usize| &middle[at * plane_to..][..plane_to];
    match method.across.taps(from[0], to[0]) {
        Taps::Nearest(z) => targets.zip(z).for_each(|(target, at)| target.copy_from_slice(slice(at))),
        Taps::Linear(z) => targets.zip(z).for_each(|(target, tap)| {
            let weights = tap.weights.map(|w| w as f32);
            for ((v, &a), &b) in target.iter_mut().zip(slice(tap.low)).zip(slice(tap.high)) {
                *v = if a == b {
                    a
                } else {
                    winner(&[(a, weights[0]), (b, weights[1])], method.majority_only)
                };
            }
        }),
        Taps::Cubic(_) => return Err(unsuitable(from, to)),
    }
    Ok(out)
}

fn unsuitable(from: [usize; 3], to: [usize; 3]) -> VolumeError {
    let reason = "labels can be resampled with nearest or linear interpolation only".into();
    VolumeError::Resample { from, to, reason }
}

/// One output slice between two input slices with rows of length `width`.
fn blend<L: Label>(
    slices: [&[L]; 2],
    z: LinearTap,
    width: usize,
    y: &[LinearTap],
    x: &[LinearTap],
    majority_only: bool,
    target: &mut [L],
) {
    let mut same = vec![true; width];
    let [z0, z1] = z.weights.map(|w| w as f32);
    for (line, y) in target.chunks_exact_mut(x.len()).zip(y) {
        let row = |slice: usize, at: usize| &slices[slice][at * width..][..width];
        let rows = [row(0, y.low), row(0, y.high), row(1, y.low), row(1, y.high)];
        let [first, others @ ..] = rows;
        for (at, same) in same.iter_mut().enumerate() {
            *same = others.iter().all(|row| row[at] == first[at]);
        }
        let [y0, y1] = y.weights.map(|w| w as f32);
        for (v, x) in line.iter_mut().zip(x) {
            // Within a region, which is nearly everywhere, there is nothing to weigh.
            if same[x.low] && same[x.high] && first[x.low] == first[x.high] {
                *v = first[x.low];
                continue;
            }
            let [x0, x1] = x.weights.map(|w| w as f32);
            let weight = |label: L| {
                let is = |row: &[L], at: usize| if row[at] == label { 1.0f32 } else { 0.0 };
                let [a, b, c, d] = rows.map(|row| is(row, x.low) * x0 + is(row, x.high) * x1);
                (a * y0 + b * y1) * z0 + (c * y0 + d * y1) * z1
            };
            let mut found = [(L::default(), 0.0f32); 8];
            let mut count = 0;
            for label in rows.iter().flat_map(|row| [row[x.low], row[x.high]]) {
                if !found[..count].iter().any(|entry| entry.0 == label) {
                    found[count] = (label, weight(label));
                    count += 1;
                }
            }
            *v = winner(&found[..count], majority_only);
        }
    }
}

/// The label that wins with these weights, of 1 in all.
fn winner<L: Label>(found: &[(L, f32)], majority_only: bool) -> L {
    if majority_only {
        let heavy = found.iter().filter(|(_, weight)| *weight > 0.5).map(|(label, _)| *label);
        return heavy.max().unwrap_or_default();
    }
    let value = |weight: f32| f16::from_f32(weight * SCALE);
    let best = found.iter().map(|(_, weight)| value(*weight)).fold(f16::ZERO, f16::max);
    let tied = found.iter().filter(|(_, weight)| value(*weight) == best).map(|(label, _)| *label);
    tied.min().unwrap_or_default()
}
