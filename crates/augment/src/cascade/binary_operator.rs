//! Dilation, erosion, opening and closing of one-hot channels with a ball (or, for 2-D, a disk).
//!
//! The ball of real radius r has floor(2 r + 1) points per axis, evenly spaced from -r to r; the
//! disk has points at -r, -r + 1, ... below r + 1. Elements of even size sit half a voxel towards
//! larger indices. The outside is background for dilation and foreground for erosion. Axis order
//! (z, y, x). Exact.

use std::sync::Arc;

use nnunet_base::parts::Options;
use rand::RngExt;

use super::super::distribution::Distribution;
use super::super::pipeline::Sample;
use super::super::random::SampleRng;
use super::super::transform::{BuildContext, BuiltTransform, Transform, TransformContext};
use super::{draw_channels, one_hot_channels};

/// Dilates, erodes, opens or closes labels of the previous stage.
#[derive(Debug, Clone, PartialEq)]
pub struct RandomBinaryOperator {
    /// Number of channels at the image's end that hold the labels.
    pub labels: usize,
    /// Probability of each label.
    pub label_probability: f64,
    /// Radius of the structuring element in voxels, drawn for each label.
    pub radius: Distribution,
}

/// A morphological operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryOperator {
    /// Grows the set.
    Dilate,
    /// Shrinks the set.
    Erode,
    /// Dilates, then erodes.
    Close,
    /// Erodes, then dilates.
    Open,
}

impl BinaryOperator {
    const ALL: [Self; 4] = [Self::Dilate, Self::Erode, Self::Close, Self::Open];
}

impl RandomBinaryOperator {
    /// Options: `label_probability` (1) and `radius` ([1, 8]). Nothing to do outside of a cascade; comes after
    /// `previous_stage_channels`.
    pub(in super::super) fn build(options: &mut Options<'_>, context: &BuildContext<'_>) -> BuiltTransform {
        let label_probability = options.probability("label_probability", 1.0)?;
        let range = Distribution::uniform(1.0, 8.0);
        let radius = Distribution::read_within(options, "radius", range, [0.0, 64.0])?;
        Ok(match &context.facts.cascade_labels {
            Some(labels) => Some(Arc::new(Self { labels: labels.len(), label_probability, radius })),
            None => None,
        })
    }

    /// Changes random channels of `one_hot` (label, z, y, x); a voxel that a label gains is taken
    /// from the other labels.
    fn change(&self, one_hot: &mut [f32], shape: [usize; 3], rng: &mut SampleRng) {
        let voxels: usize = shape.iter().product();
        if voxels == 0 {
            return;
        }
        let channels = one_hot.len() / voxels;
        let chosen: Vec<(usize, BinaryOperator, f64)> = draw_channels(channels, self.label_probability, rng)
            .into_iter()
            .map(|c| (c, BinaryOperator::ALL[rng.random_range(0..4)], self.radius.sample(rng)))
            .collect();
        for (c, operator, radius) in chosen {
            let element = StructuringElement::new(radius, shape[0] == 1);
            apply_operator(one_hot, voxels, shape, c, operator, &element);
        }
    }
}

impl Transform for RandomBinaryOperator {
    fn apply(&self, sample: &mut Sample, context: &mut TransformContext<'_>) {
        let shape = sample.image.shape();
        self.change(one_hot_channels(&mut sample.image, self.labels), shape, context.rng);
    }
}

/// Applies `operator` to channel `c` of `one_hot`, whose channels have `voxels` elements, and clears
/// the other channels where it gained voxels.
pub fn apply_operator(
    one_hot: &mut [f32],
    voxels: usize,
    shape: [usize; 3],
    c: usize,
    operator: BinaryOperator,
    element: &StructuringElement,
) {
    let before: Vec<u8> = one_hot[c * voxels..][..voxels].iter().map(|v| u8::from(*v != 0.0)).collect();
    let after = match operator {
        BinaryOperator::Dilate => dilate(&before, shape, element),
        BinaryOperator::Erode => erode(&before, shape, element),
        BinaryOperator::Close => erode(&dilate(&before, shape, element), shape, element),
        BinaryOperator::Open => dilate(&erode(&before, shape, element), shape, element),
    };
    for (other, channel) in one_hot.chunks_exact_mut(voxels).enumerate() {
        for ((value, now), old) in channel.iter_mut().zip(&after).zip(&before) {
            if other == c {
                *value = f32::from(*now);
            } else if now > old {
                *value = 0.0;
            }
        }
    }
}

/// The points of a structuring element as runs along x.
#[derive(Debug, Clone, PartialEq)]
pub struct StructuringElement {
    runs: Vec<Run>,
}

/// The points (z, y, x) with x in `first..=last`, relative to the centre.
#[derive(Debug, Clone, PartialEq)]
struct Run {
    z: isize,
    y: isize,
    first: isize,
    last: isize,
}

impl StructuringElement {
    /// The ball of `radius` voxels, or the disk in the plane (y, x) if `flat`.
    pub fn new(radius: f64, flat: bool) -> Self {
        let points: Vec<f64> = if flat {
            // Points at -r, -r + 1, ...: as many as there are whole steps below 2 r + 1.
            (0..(2.0 * radius + 1.0).ceil() as usize).map(|i| -radius + i as f64).collect()
        } else {
            let count = (2.0 * radius + 1.0) as usize;
            let step = 2.0 * radius / (count.max(2) - 1) as f64;
            (0..count).map(|i| i as f64 * step - radius).collect()
        };
        let centre = (points.len() as isize - 1) / 2;
        let limit = radius * radius;
        let depth: &[f64] = if flat { &[0.0] } else { &points };
        let depth_centre = if flat { 0 } else { centre };
        let mut runs = Vec::new();
        for (z, pz) in depth.iter().enumerate() {
            for (y, py) in points.iter().enumerate() {
                // The order of the sum decides about points on the surface.
                let inside = |px: &f64| px * px + py * py + pz * pz <= limit;
                if let Some(first) = points.iter().position(inside) {
                    let last = points.iter().rposition(inside).unwrap_or(first);
                    runs.push(Run {
                        z: z as isize - depth_centre,
                        y: y as isize - centre,
                        first: first as isize - centre,
                        last: last as isize - centre,
                    });
                }
            }
        }
        Self { runs }
    }
}

/// Out is set where any point of the element, moved there, meets the set.
fn dilate(set: &[u8], shape: [usize; 3], element: &StructuringElement) -> Vec<u8> {
    let mut result = vec![0u8; set.len()];
    let mut widths: Vec<(isize, isize)> = element.runs.iter().map(|r| (r.first, r.last)).collect();
    widths.sort_unstable();
    widths.dedup();
    let mut spread = vec![0u8; set.len()];
    for (first, last) in widths {
        for (from, to) in set.chunks_exact(shape[2]).zip(spread.chunks_exact_mut(shape[2])) {
            spread_row(from, first, last, to);
        }
        for run in element.runs.iter().filter(|r| (r.first, r.last) == (first, last)) {
            or_shifted(&spread, shape, run.z, run.y, &mut result);
        }
    }
    result
}

fn erode(set: &[u8], shape: [usize; 3], element: &StructuringElement) -> Vec<u8> {
    let inverse: Vec<u8> = set.iter().map(|v| 1 - v).collect();
    let mut result = dilate(&inverse, shape, element);
    result.iter_mut().for_each(|v| *v = 1 - *v);
    result
}

/// `to[x]` = whether any of `from[x + first..=x + last]` is set.
fn spread_row(from: &[u8], first: isize, last: isize, to: &mut [u8]) {
    to.fill(0);
    let length = from.len() as isize;
    // One past the last x that is already set.
    let mut done = 0;
    for (i, _) in from.iter().enumerate().filter(|(_, v)| **v != 0) {
        let start = (i as isize - last).max(done);
        let end = (i as isize - first + 1).min(length);
        if start < end {
            to[start as usize..end as usize].fill(1);
            done = end;
        }
    }
}

/// Ors the rows of `set` at (z + dz, y + dy) into the rows of `result` at (z, y).
fn or_shifted(set: &[u8], shape: [usize; 3], dz: isize, dy: isize, result: &mut [u8]) {
    let source =
        |i: usize, shift: isize, length: usize| i.checked_add_signed(shift).filter(|index| *index < length);
    let plane = shape[1] * shape[2];
    for z in 0..shape[0] {
        let Some(from_z) = source(z, dz, shape[0]) else { continue };
        // Rows of a plane that stay inside of it are contiguous in both places.
        let low = (-dy).clamp(0, shape[1] as isize) as usize;
        let high = (shape[1] as isize - dy).clamp(0, shape[1] as isize) as usize;
        if low >= high {
            continue;
        }
        let Some(from_y) = source(low, dy, shape[1]) else { continue };
        let length = (high - low) * shape[2];
        let target = &mut result[z * plane + low * shape[2]..][..length];
        let origin = &set[from_z * plane + from_y * shape[2]..][..length];
        for (value, other) in target.iter_mut().zip(origin) {
            *value |= other;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naive(set: &[u8], shape: [usize; 3], element: &StructuringElement) -> Vec<u8> {
        let at = |z: isize, y: isize, x: isize| {
            let inside = |i: isize, d: usize| i >= 0 && i < shape[d] as isize;
            inside(z, 0)
                && inside(y, 1)
                && inside(x, 2)
                && set[(z as usize * shape[1] + y as usize) * shape[2] + x as usize] != 0
        };
        let mut result = vec![0u8; set.len()];
        for (i, value) in result.iter_mut().enumerate() {
            let (z, y, x) = (i / (shape[1] * shape[2]), i / shape[2] % shape[1], i % shape[2]);
            *value = u8::from(element.runs.iter().any(|run| {
                (run.first..=run.last).any(|dx| at(z as isize + run.z, y as isize + run.y, x as isize + dx))
            }));
        }
        result
    }

    #[test]
    fn runs_agree_with_testing_every_point() {
        let shape = [6, 7, 9];
        let set: Vec<u8> = (0..6 * 7 * 9).map(|i| u8::from(i * 7919 % 23 == 0)).collect();
        for radius in [1.0, 1.3, 1.5, 2.7, 4.0] {
            let element = StructuringElement::new(radius, false);
            assert_eq!(dilate(&set, shape, &element), naive(&set, shape, &element), "radius {radius}");
        }
        let flat = StructuringElement::new(2.4, true);
        assert_eq!(dilate(&set, [1, 42, 9], &flat), naive(&set, [1, 42, 9], &flat));
    }

    #[test]
    fn gained_voxels_are_taken_from_the_other_labels() {
        let mut one_hot = vec![0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0];
        let element = StructuringElement::new(1.0, true);
        apply_operator(&mut one_hot, 4, [1, 1, 4], 0, BinaryOperator::Dilate, &element);
        assert_eq!(one_hot, [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn the_border_does_not_erode() {
        let mut one_hot = vec![1.0; 12];
        let element = StructuringElement::new(1.0, true);
        apply_operator(&mut one_hot, 12, [1, 3, 4], 0, BinaryOperator::Erode, &element);
        assert!(one_hot.iter().all(|v| *v == 1.0));
    }

    #[test]
    fn labels_stay_disjoint() {
        let transform = RandomBinaryOperator {
            labels: 2,
            label_probability: 0.5,
            radius: Distribution::uniform(1.0, 8.0),
        };
        let mut rng = crate::random::derive_stream(4, &[]);
        let shape = [7, 8, 9];
        let voxels = 7 * 8 * 9;
        for _ in 0..20 {
            let mut one_hot: Vec<f32> =
                (0..2 * voxels).map(|i| f32::from(u8::from(i % voxels / 40 % 3 == i / voxels))).collect();
            transform.change(&mut one_hot, shape, &mut rng);
            let (first, second) = one_hot.split_at(voxels);
            assert!(first.iter().zip(second).all(|(a, b)| a + b <= 1.0));
        }
    }
}
