//! Soft skeletons and their derivatives. Shit et al. 2021, arXiv:2003.07311.
//!
//! Erosion is the smallest value among a voxel and its neighbours along the axes; dilation the largest one in a cube of 3
//! voxels. With E_0 the image, E_(j + 1) the erosion of E_j and D_j the dilation of E_(j + 1), the skeleton adds up what
//! openings lose: d_j = max(0, E_j - D_j); s_0 = d_0; s_j = s_(j - 1) + max(0, d_j (1 - s_(j - 1))). Where several values are
//! equally small or large, the derivative goes to the first of them.

use rayon::prelude::*;

/// A step from a voxel to a neighbour along (z, y, x).
type Step = [i8; 3];

const CROSS: [Step; 7] = [[0, 0, 0], [-1, 0, 0], [1, 0, 0], [0, -1, 0], [0, 1, 0], [0, 0, -1], [0, 0, 1]];
/// A cube, one axis after the other.
const LINES: [[Step; 3]; 3] = [
    [[0, 0, 0], [0, 0, -1], [0, 0, 1]],
    [[0, 0, 0], [0, -1, 0], [0, 1, 0]],
    [[0, 0, 0], [-1, 0, 0], [1, 0, 0]],
];

/// The soft skeleton of an image, with what its derivatives need.
pub(super) struct Skeleton {
    shape: [usize; 3],
    /// s_0, s_1, ...
    skeletons: Vec<Vec<f32>>,
    /// d_0, d_1, ...
    lost: Vec<Vec<f32>>,
    /// From E_j to E_(j + 1).
    erosions: Vec<Choice>,
    /// From E_(j + 1) to D_j, along x, y and z.
    dilations: Vec<[Choice; 3]>,
}

/// Which of its neighbours' values each voxel took, as an index of the steps.
struct Choice(Vec<u8>);

impl Skeleton {
    /// Of `image`, shape (z, y, x), C order, by `iterations` openings after the first.
    pub(super) fn new(image: &[f32], shape: [usize; 3], iterations: usize) -> Self {
        let mut result = Self {
            shape,
            skeletons: Vec::new(),
            lost: Vec::new(),
            erosions: Vec::new(),
            dilations: Vec::new(),
        };
        let mut image = image.to_vec();
        for _ in 0..=iterations {
            image = result.open(image);
        }
        result
    }

    /// The skeleton itself.
    pub(super) fn values(&self) -> &[f32] {
        self.skeletons.last().map_or(&[], Vec::as_slice)
    }

    /// The derivatives by the image of a value whose derivatives by the skeleton are `gradient`.
    pub(super) fn gradient(&self, mut gradient: Vec<f32>) -> Vec<f32> {
        // By E_(j + 1), from what comes after it.
        let mut by_eroded = vec![0.0f32; gradient.len()];
        for j in (0..self.lost.len()).rev() {
            let lost = &self.lost[j];
            // By d_j, which is 0 where it does not depend on the image.
            let mut by_lost = gradient.clone();
            if let Some(before) = j.checked_sub(1).map(|before| &self.skeletons[before]) {
                let voxels = by_lost.par_iter_mut().zip(&mut gradient).zip(lost).zip(before);
                voxels.with_min_len(1 << 14).for_each(|(((by_lost, gradient), lost), before)| {
                    let active = lost * (1.0 - before) > 0.0;
                    *by_lost *= if active { 1.0 - before } else { 0.0 };
                    *gradient *= if active { 1.0 - lost } else { 1.0 };
                });
            }
            by_lost.par_iter_mut().zip(lost).with_min_len(1 << 14).for_each(|(by_lost, lost)| {
                *by_lost = if *lost > 0.0 { *by_lost } else { 0.0 };
            });
            let mut by_opened: Vec<f32> = by_lost.par_iter().with_min_len(1 << 14).map(|by| -by).collect();
            for (choice, steps) in self.dilations[j].iter().zip(&LINES).rev() {
                by_opened = choice.send_back(&by_opened, self.shape, steps);
            }
            by_eroded.par_iter_mut().zip(by_opened).with_min_len(1 << 14).for_each(|(a, b)| *a += b);
            let from_eroded = self.erosions[j].send_back(&by_eroded, self.shape, &CROSS);
            by_eroded = by_lost;
            by_eroded.par_iter_mut().zip(from_eroded).with_min_len(1 << 14).for_each(|(a, b)| *a += b);
        }
        by_eroded
    }

    /// Adds what the opening of `image` loses; returns its erosion.
    fn open(&mut self, image: Vec<f32>) -> Vec<f32> {
        let smaller = |a: f32, b: f32| a < b;
        let larger = |a: f32, b: f32| a > b;
        let (eroded, erosion) = choose(&image, self.shape, &CROSS, smaller);
        let (along_x, x) = choose(&eroded, self.shape, &LINES[0], larger);
        let (along_y, y) = choose(&along_x, self.shape, &LINES[1], larger);
        let (opened, z) = choose(&along_y, self.shape, &LINES[2], larger);
        let mut lost = image;
        lost.par_iter_mut()
            .zip(opened)
            .with_min_len(1 << 14)
            .for_each(|(lost, opened)| *lost = (*lost - opened).max(0.0));
        let skeleton = match self.skeletons.last() {
            None => lost.clone(),
            Some(before) => {
                let next = |(s, d): (&f32, &f32)| s + (d - s * d).max(0.0);
                before.par_iter().zip(&lost).with_min_len(1 << 14).map(next).collect()
            }
        };
        self.skeletons.push(skeleton);
        self.lost.push(lost);
        self.erosions.push(erosion);
        self.dilations.push([x, y, z]);
        eroded
    }
}

impl Choice {
    /// The derivatives by the values that were chosen from, of those chosen.
    fn send_back(&self, gradient: &[f32], shape: [usize; 3], steps: &[Step]) -> Vec<f32> {
        let mut result = vec![0.0f32; gradient.len()];
        let line = |(at, out): (usize, &mut [f32])| {
            for (index, &step) in steps.iter().enumerate() {
                // The voxel that took its value from here by this step is one step back.
                let Some((from, columns)) = neighbours(at, shape, step.map(|by| -by)) else { continue };
                let taker = |x: usize| (from + x).wrapping_add_signed(-isize::from(step[2]));
                for x in columns {
                    let taker = taker(x);
                    out[x] += if self.0[taker] == index as u8 { gradient[taker] } else { 0.0 };
                }
            }
        };
        result.par_chunks_mut(shape[2].max(1)).enumerate().with_min_len(32).for_each(line);
        result
    }
}

/// The value of each voxel's neighbourhood that is better than those before it.
fn choose(
    values: &[f32],
    shape: [usize; 3],
    steps: &[Step],
    better: impl Fn(f32, f32) -> bool + Sync,
) -> (Vec<f32>, Choice) {
    let mut result = values.to_vec();
    let mut choice = vec![0u8; values.len()];
    let width = shape[2].max(1);
    let line = |(at, (out, choice)): (usize, (&mut [f32], &mut [u8]))| {
        for (index, &step) in steps.iter().enumerate() {
            let Some((from, columns)) = neighbours(at, shape, step) else { continue };
            for x in columns {
                let value = values[(from + x).wrapping_add_signed(isize::from(step[2]))];
                let take = better(value, out[x]);
                out[x] = if take { value } else { out[x] };
                choice[x] = if take { index as u8 } else { choice[x] };
            }
        }
    };
    let lines = result.par_chunks_mut(width).zip(choice.par_chunks_mut(width));
    lines.enumerate().with_min_len(32).for_each(line);
    (result, Choice(choice))
}

/// Where the line that lies `step` beside line `at` of (z, y) begins, and the columns of line `at` whose neighbour is within
/// the volume; `None` if that line is outside.
fn neighbours(
    at: usize,
    [depth, height, width]: [usize; 3],
    [by_z, by_y, by_x]: Step,
) -> Option<(usize, std::ops::Range<usize>)> {
    let z = (at / height).checked_add_signed(isize::from(by_z)).filter(|z| *z < depth)?;
    let y = (at % height).checked_add_signed(isize::from(by_y)).filter(|y| *y < height)?;
    let first = usize::from(by_x < 0);
    let last = width - usize::from(by_x > 0).min(width);
    Some(((z * height + y) * width, first.min(last)..last))
}
