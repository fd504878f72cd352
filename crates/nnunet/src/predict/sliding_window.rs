//! Logits of a whole image from a network that sees one tile at a time.
//!
//! Each tile's logits (averaged over the mirrored versions of its input) are weighted with the
//! importance map and added up; the sum is divided by the sum of the weights. Several networks
//! (folds) are averaged. Sums are f16 and rounded tile by tile, in the order of the reference: near the
//! corners of an image, where all weights are tiny, its rounding decides probabilities, and half the
//! memory is enough.

use half::f16;
use half::slice::HalfFloatSliceExt;
use nnunet_network::{Executor, Tensor};
use nnunet_volume::ChannelVolume;
use rayon::prelude::*;

use super::gaussian::importance_map;
use super::mirror;
use super::tiles::{axis_padding, tile_starts};
use crate::progress::Cancel;

/// How an image is cut into tiles.
#[derive(Debug, Clone, PartialEq)]
pub struct SlidingWindow {
    /// Shape (z, y, x) of the network's input; `tile[0] == 1` for a 2-D network.
    pub tile: [usize; 3],
    /// Whether each plane is predicted on its own (2-D network).
    pub planar: bool,
    /// Distance of neighbouring tiles as a share of the tile, in (0, 1].
    pub step_fraction: f64,
    /// Spatial axes (0 = z) along which inputs are mirrored; empty for no test-time mirroring.
    pub mirror_axes: Vec<usize>,
    /// Tiles that go through the network together.
    pub batch: usize,
}

/// Why a sliding window ended early.
#[derive(Debug, thiserror::Error)]
pub enum SlidingWindowError<E: std::error::Error + 'static> {
    /// The network failed.
    #[error("the network failed on a tile: {0}")]
    Network(#[source] E),
    /// The network returned another shape than its input's.
    #[error("the network returned logits of shape {found:?} for tiles of shape {expected:?}")]
    Shape {
        /// (z, y, x) of the logits.
        found: [usize; 3],
        /// (z, y, x) of the tile.
        expected: [usize; 3],
    },
    /// Logits are infinite or not a number.
    #[error("the network's logits are not finite numbers: the weights or the image are damaged")]
    NotFinite,
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// The sums of one image over tiles and networks.
#[derive(Debug)]
pub struct Accumulator {
    padded: [usize; 3],
    shape: [usize; 3],
    offset: [usize; 3],
    /// Weighted sums of the network that is running, on the padded grid.
    sums: Option<ChannelVolume<f16>>,
    /// Sum of the weights of each voxel of the padded grid.
    weights: Vec<f16>,
    /// Sum of the logits of the networks that are done, on the grid of the image.
    total: Option<ChannelVolume<f16>>,
    networks: usize,
}

impl SlidingWindow {
    /// Number of network passes for an image of `shape` (z, y, x), mirrored versions included.
    pub fn passes(&self, shape: [usize; 3]) -> usize {
        let (padded, _) = self.padding(shape);
        tile_starts(padded, self.tile, self.step_fraction, self.planar).len() << self.mirror_axes.len()
    }

    /// Empty sums for an image of `shape` (z, y, x).
    pub fn accumulator(&self, shape: [usize; 3]) -> Accumulator {
        let (padded, offset) = self.padding(shape);
        let map = importance_map(self.tile);
        let mut weights = vec![f16::ZERO; padded.iter().product()];
        let mut row = Vec::new();
        for start in tile_starts(padded, self.tile, self.step_fraction, self.planar) {
            for_rows(self.tile, padded, start, |in_tile, in_image, len| {
                let values = map[in_tile..in_tile + len].iter().copied();
                add_to(&mut weights[in_image..in_image + len], values, &mut row);
            });
        }
        Accumulator { padded, shape, offset, sums: None, weights, total: None, networks: 0 }
    }

    /// Adds the logits of one network for `image` (c, z, y, x). `progress` is called with the number
    /// of network passes just made.
    ///
    /// # Errors
    /// When the network fails or returns something unusable, or when `cancel` is raised between tiles.
    pub fn accumulate<E: Executor>(
        &self,
        network: &mut E,
        image: &ChannelVolume<f32>,
        accumulator: &mut Accumulator,
        cancel: &Cancel,
        mut progress: impl FnMut(usize),
    ) -> Result<(), SlidingWindowError<E::Error>> {
        let starts = tile_starts(accumulator.padded, self.tile, self.step_fraction, self.planar);
        let combinations = mirror::combinations(&self.mirror_axes);
        let map = importance_map(self.tile);
        for group in starts.chunks(self.batch.max(1)) {
            let input = self.gather(image, accumulator.offset, group);
            let mut mirrored = Tensor::zeros(input.shape);
            let mut mean: Option<Tensor> = None;
            for axes in &combinations {
                if cancel.is_cancelled() {
                    return Err(SlidingWindowError::Interrupted);
                }
                let output = if axes.is_empty() {
                    network.run(&input)
                } else {
                    mirror::mirror_into(&input, axes, &mut mirrored);
                    network.run(&mirrored)
                };
                let output = output.map_err(SlidingWindowError::Network)?;
                match &mut mean {
                    Some(sum) => mirror::add_mirrored(&output, axes, sum),
                    None => mean = Some(output),
                }
                progress(group.len());
            }
            if let Some(mean) = mean {
                self.scatter(&mean, 1.0 / combinations.len() as f32, &map, group, accumulator)?;
            }
        }
        accumulator.finish_network()
    }

    /// Padded shape and where the image begins in it.
    fn padding(&self, shape: [usize; 3]) -> ([usize; 3], [usize; 3]) {
        let pads: [(usize, usize); 3] =
            std::array::from_fn(|axis| axis_padding(shape[axis], self.tile[axis]));
        (std::array::from_fn(|a| shape[a] + pads[a].0 + pads[a].1), pads.map(|p| p.0))
    }

    /// The tiles at `starts` (in the padded image) as one batch; zero outside of the image.
    fn gather(&self, image: &ChannelVolume<f32>, offset: [usize; 3], starts: &[[usize; 3]]) -> Tensor {
        let [depth, height, width] = self.tile;
        let mut input = Tensor::zeros([starts.len(), image.channels(), depth, height, width]);
        let shape = image.shape();
        let tile_len = depth * height * width;
        for (n, start) in starts.iter().enumerate() {
            // The part of the tile that lies inside of the image, per axis: [low, high) in the tile.
            let inside: [(usize, usize); 3] = std::array::from_fn(|a| {
                let low = offset[a].saturating_sub(start[a]);
                (low, self.tile[a].min((shape[a] + offset[a]).saturating_sub(start[a])).max(low))
            });
            for c in 0..image.channels() {
                let channel = image.channel(c);
                let target = &mut input.data[(n * image.channels() + c) * tile_len..][..tile_len];
                for z in inside[0].0..inside[0].1 {
                    for y in inside[1].0..inside[1].1 {
                        let (x0, x1) = inside[2];
                        let row = (z + start[0] - offset[0]) * shape[1] + (y + start[1] - offset[1]);
                        let from = row * shape[2] + (x0 + start[2] - offset[2]);
                        target[(z * height + y) * width + x0..][..x1 - x0]
                            .copy_from_slice(&channel[from..from + x1 - x0]);
                    }
                }
            }
        }
        input
    }

    fn scatter<E: std::error::Error>(
        &self,
        logits: &Tensor,
        factor: f32,
        map: &[f32],
        starts: &[[usize; 3]],
        accumulator: &mut Accumulator,
    ) -> Result<(), SlidingWindowError<E>> {
        let [_, classes, z, y, x] = logits.shape;
        if [z, y, x] != self.tile {
            return Err(SlidingWindowError::Shape { found: [z, y, x], expected: self.tile });
        }
        let padded = accumulator.padded;
        let sums = accumulator.sums.get_or_insert_with(|| ChannelVolume::filled(classes, padded, f16::ZERO));
        let voxels = sums.voxels();
        sums.data_mut().par_chunks_mut(voxels).enumerate().for_each_init(Vec::new, |row, (class, sum)| {
            for (n, &start) in starts.iter().enumerate() {
                let tile = logits.channel(n, class);
                for_rows(self.tile, padded, start, |in_tile, in_image, len| {
                    let values = tile[in_tile..in_tile + len].iter().zip(&map[in_tile..]);
                    let values = values.map(|(value, weight)| value * factor * weight);
                    add_to(&mut sum[in_image..in_image + len], values, row);
                });
            }
        });
        Ok(())
    }
}

impl Accumulator {
    /// Divides the sums of a network by the weights and adds them to the total.
    fn finish_network<E: std::error::Error>(&mut self) -> Result<(), SlidingWindowError<E>> {
        let Some(sums) = self.sums.take() else { return Ok(()) };
        let (padded, shape, offset, weights) = (self.padded, self.shape, self.offset, &self.weights);
        let total =
            self.total.get_or_insert_with(|| ChannelVolume::filled(sums.channels(), shape, f16::ZERO));
        let voxels = total.voxels();
        let finite = total.data_mut().par_chunks_mut(voxels.max(1)).enumerate().all(|(class, target)| {
            let source = sums.channel(class);
            let mut finite = true;
            let mut row = Vec::new();
            for_rows(shape, padded, offset, |to, from, len| {
                let sums = source[from..from + len].iter().zip(&weights[from..]);
                // The quotient is rounded before it is added, as a tensor of its own would be.
                let values = sums.map(|(sum, weight)| f16::from_f32(sum.to_f32() / weight.to_f32()).to_f32());
                let target = &mut target[to..to + len];
                add_to(target, values, &mut row);
                finite &= target.iter().all(|v| v.is_finite());
            });
            finite
        });
        self.networks += 1;
        if finite { Ok(()) } else { Err(SlidingWindowError::NotFinite) }
    }

    /// Mean logits (classes, z, y, x) of the networks on the grid of the image. `None` before the first.
    pub fn finish(self) -> Option<ChannelVolume<f16>> {
        let mut total = self.total?;
        if self.networks > 1 {
            let count = self.networks as f32;
            total.data_mut().par_iter_mut().for_each(|v| *v = f16::from_f32(v.to_f32() / count));
        }
        Some(total)
    }
}

/// `sums[i] += values[i]`, added in f32 and rounded to f16. `row` is working space.
fn add_to(sums: &mut [f16], values: impl Iterator<Item = f32>, row: &mut Vec<f32>) {
    row.resize(sums.len(), 0.0);
    sums.convert_to_f32_slice(row);
    row.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    sums.convert_from_f32_slice(row);
}

/// Calls `row(index in the box, index in the image, length)` for each row of a box of shape `size`
/// that begins at `start` in an image of shape `image`.
fn for_rows(
    size: [usize; 3],
    image: [usize; 3],
    start: [usize; 3],
    mut row: impl FnMut(usize, usize, usize),
) {
    for z in 0..size[0] {
        for y in 0..size[1] {
            let in_image = ((z + start[0]) * image[1] + y + start[1]) * image[2] + start[2];
            row((z * size[1] + y) * size[2], in_image, size[2]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// A network that returns its input, and the input times ten as second class.
    struct Copy {
        runs: usize,
    }

    impl Executor for Copy {
        type Error = Infallible;

        fn run(&mut self, input: &Tensor) -> Result<Tensor, Infallible> {
            self.runs += input.shape[0];
            let [n, _, z, y, x] = input.shape;
            let voxels = z * y * x;
            let mut out = Tensor::zeros([n, 2, z, y, x]);
            for (o, i) in out.data.chunks_mut(2 * voxels).zip(input.data.chunks(voxels)) {
                o[..voxels].copy_from_slice(i);
                o[voxels..].iter_mut().zip(i).for_each(|(o, i)| *o = i * 10.0);
            }
            Ok(out)
        }
    }

    fn image(shape: [usize; 3]) -> ChannelVolume<f32> {
        let data = (0..shape.iter().product()).map(|i| ((i * 37) % 101) as f32 - 50.0).collect();
        ChannelVolume::new(1, shape, data).unwrap()
    }

    fn run(
        window: &SlidingWindow,
        image: &ChannelVolume<f32>,
        networks: usize,
    ) -> (ChannelVolume<f16>, usize) {
        let mut accumulator = window.accumulator(image.shape());
        let mut network = Copy { runs: 0 };
        let mut passes = 0;
        for _ in 0..networks {
            window
                .accumulate(&mut network, image, &mut accumulator, &Cancel::new(), |n| passes += n)
                .unwrap();
        }
        assert_eq!(passes, network.runs);
        assert_eq!(passes, window.passes(image.shape()) * networks);
        (accumulator.finish().unwrap(), passes)
    }

    #[test]
    fn the_identity_comes_back_whatever_the_tiling() {
        for (shape, tile, planar, mirror_axes, batch) in [
            ([9, 13, 17], [4, 6, 8], false, vec![], 1),
            ([9, 13, 17], [4, 6, 8], false, vec![0, 1, 2], 3),
            ([3, 5, 7], [8, 8, 8], false, vec![2], 1),
            ([5, 13, 7], [1, 8, 8], true, vec![1, 2], 4),
        ] {
            let window = SlidingWindow { tile, planar, step_fraction: 0.5, mirror_axes, batch };
            let image = image(shape);
            let (logits, _) = run(&window, &image, 2);
            assert_eq!((logits.channels(), logits.shape()), (2, shape));
            for (i, value) in image.data().iter().enumerate() {
                // Where all weights are near the smallest f16 numbers, sums have few digits.
                let tolerance = 0.02 * value.abs() + 1e-3;
                assert!((logits.channel(0)[i].to_f32() - value).abs() < tolerance, "{window:?} {value}");
                assert!((logits.channel(1)[i].to_f32() - value * 10.0).abs() < 10.0 * tolerance);
            }
        }
    }

    #[test]
    fn numbers_that_are_not_finite_are_an_error() {
        let window = SlidingWindow {
            tile: [4, 4, 4],
            planar: false,
            step_fraction: 1.0,
            mirror_axes: vec![],
            batch: 1,
        };
        let mut image = image([4, 4, 4]);
        image.data_mut()[5] = f32::NAN;
        let mut accumulator = window.accumulator(image.shape());
        let outcome =
            window.accumulate(&mut Copy { runs: 0 }, &image, &mut accumulator, &Cancel::new(), |_| ());
        assert!(matches!(outcome, Err(SlidingWindowError::NotFinite)));
    }

    #[test]
    fn stops_between_tiles_when_asked() {
        let window = SlidingWindow {
            tile: [4, 4, 4],
            planar: false,
            step_fraction: 0.5,
            mirror_axes: vec![],
            batch: 1,
        };
        let image = image([8, 8, 8]);
        let mut accumulator = window.accumulator(image.shape());
        let cancel = Cancel::new();
        let outcome =
            window.accumulate(&mut Copy { runs: 0 }, &image, &mut accumulator, &cancel, |_| cancel.cancel());
        assert!(matches!(outcome, Err(SlidingWindowError::Interrupted)));
    }
}
