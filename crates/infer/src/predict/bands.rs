//! Sums of tiles over the slices that are not finished yet.
//!
//! Tiles come in the order of their first slice, so that a slice is finished once the next tile begins
//! behind it. Finished slices are handed out and forgotten: a band of about a tile's depth is all that is
//! held of classes x image.

use half::f16;
use half::slice::HalfFloatSliceExt;
use nnunet_graph::Tensor;
use nnunet_volume::ChannelVolume;
use rayon::prelude::*;

use super::export::ExportError;
use super::gaussian::importance_map;

/// Takes finished logits (classes, slices, y, x), a few slices at a time from the first to the last.
pub type LogitSink<'a> = dyn FnMut(&ChannelVolume<f16>) -> Result<(), ExportError> + 'a;

/// Values of a piece that is handed out: 64 MiB of f16 at most, but at least a slice.
const PIECE_VALUES: usize = 1 << 25;

/// Where an image lies in the grid of the tiles, which is padded to hold at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placement {
    /// Shape (z, y, x) of the image.
    pub(super) shape: [usize; 3],
    /// Shape of the padded grid.
    pub(super) padded: [usize; 3],
    /// First voxel of the image in it.
    pub(super) offset: [usize; 3],
}

impl Placement {
    /// Slices of a piece of logits with `classes` channels.
    fn piece_depth(&self, classes: usize) -> usize {
        let slice = self.shape[1] * self.shape[2] * classes;
        (PIECE_VALUES / slice.max(1)).clamp(1, self.shape[0])
    }

    /// Bytes of a band of `depth` slices for each of `networks`, of the weights and of the pieces.
    pub(super) fn bytes(&self, classes: usize, depth: usize, networks: usize) -> u64 {
        let plane = (self.padded[1] * self.padded[2]) as u64;
        let band = plane * (depth * classes * networks) as u64;
        let piece = (self.shape[1] * self.shape[2] * self.piece_depth(classes) * classes) as u64;
        // The piece, and what the export holds of it and of the one before.
        size_of::<f16>() as u64 * (band + plane * self.padded[0] as u64 + 3 * piece)
    }
}

/// Takes finished slices of two sums at a time: the logits, and what goes along.
pub(super) type JointSink<'a> =
    dyn FnMut(&ChannelVolume<f16>, Option<&ChannelVolume<f16>>) -> Result<(), ExportError> + 'a;

/// Why finished slices could not be handed out.
pub(super) enum HandOut {
    /// Logits are infinite or not a number.
    NotFinite,
    /// Whoever takes them failed.
    Sink(ExportError),
}

/// The sums of several networks over the slices in work.
pub(super) struct Bands {
    place: Placement,
    tile: [usize; 3],
    map: Vec<f32>,
    /// Sum of the importance of the tiles at each voxel of the padded grid.
    weights: Vec<f16>,
    /// First slice of the padded grid that is held.
    first: usize,
    /// Number of slices that are held.
    depth: usize,
    /// Weighted sums of each network (classes, depth, y, x).
    sums: Vec<Option<ChannelVolume<f16>>>,
    piece: ChannelVolume<f16>,
}

impl Bands {
    /// Empty sums for `networks` over tiles of shape `tile` at `starts`, of which `depth` slices are in
    /// work at a time.
    pub(super) fn new(
        place: Placement,
        tile: [usize; 3],
        starts: &[[usize; 3]],
        depth: usize,
        networks: usize,
    ) -> Self {
        let map = importance_map(tile);
        let mut weights = vec![f16::ZERO; place.padded.iter().product()];
        let mut row = Vec::new();
        for &start in starts {
            for_rows(tile, place.padded, start, |in_tile, in_image, len| {
                let values = map[in_tile..in_tile + len].iter().copied();
                add_to(&mut weights[in_image..in_image + len], values, &mut row);
            });
        }
        let sums = (0..networks).map(|_| None).collect();
        let piece = ChannelVolume::filled(0, [0; 3], f16::ZERO);
        Self { place, tile, map, weights, first: 0, depth, sums, piece }
    }

    /// Adds `factor` times the logits of a network for the tiles at `starts`.
    pub(super) fn add(&mut self, network: usize, logits: &Tensor, factor: f32, starts: &[[usize; 3]]) {
        let [_, height, width] = self.place.padded;
        let band = [self.depth, height, width];
        let sums =
            self.sums[network].get_or_insert_with(|| ChannelVolume::filled(logits.shape[1], band, f16::ZERO));
        let (voxels, tile, map, first) = (sums.voxels(), self.tile, &self.map, self.first);
        sums.data_mut().par_chunks_mut(voxels).enumerate().for_each_init(Vec::new, |row, (class, sum)| {
            for (n, &[z, y, x]) in starts.iter().enumerate() {
                let values = logits.channel(n, class);
                for_rows(tile, band, [z - first, y, x], |in_tile, in_band, len| {
                    let values = values[in_tile..in_tile + len].iter().zip(&map[in_tile..]);
                    let values = values.map(|(value, weight)| value * factor * weight);
                    add_to(&mut sum[in_band..in_band + len], values, row);
                });
            }
        });
    }

    /// Hands out what lies before slice `end` of the padded grid, to which no further tile adds anything, with the same slices of
    /// `along`, the sums of something else over the same tiles.
    pub(super) fn finish_until(
        &mut self,
        end: usize,
        mut along: Option<&mut Bands>,
        sink: &mut JointSink<'_>,
    ) -> Result<(), HandOut> {
        let end = end.min(self.place.padded[0]);
        let Some(classes) = self.sums.iter().flatten().map(ChannelVolume::channels).next() else {
            return Ok(());
        };
        let inside = self.place.offset[0]..self.place.offset[0] + self.place.shape[0];
        let depth = self.place.piece_depth(classes);
        let mut z = self.first.max(inside.start);
        while z < end.min(inside.end) {
            let slices = depth.min(end.min(inside.end) - z);
            self.fill_piece(z, slices, classes).ok_or(HandOut::NotFinite)?;
            if let Some(along) = along.as_deref_mut() {
                let channels = along.sums.iter().flatten().map(ChannelVolume::channels).next().unwrap_or(0);
                along.fill_piece(z, slices, channels).ok_or(HandOut::NotFinite)?;
            }
            sink(&self.piece, along.as_deref().map(|along| &along.piece)).map_err(HandOut::Sink)?;
            z += slices;
        }
        self.forget_until(end);
        if let Some(along) = along {
            along.forget_until(end);
        }
        Ok(())
    }

    /// Mean logits of the networks in `slices` slices from `z` on; `None` if they are not finite.
    fn fill_piece(&mut self, z: usize, slices: usize, classes: usize) -> Option<()> {
        let Placement { shape: [_, height, width], padded, offset } = self.place;
        let shape = [slices, height, width];
        if self.piece.channels() != classes || self.piece.shape() != shape {
            self.piece = ChannelVolume::filled(classes, shape, f16::ZERO);
        } else {
            self.piece.data_mut().fill(f16::ZERO);
        }
        let count = self.sums.len() as f32;
        let (sums, weights, depth) = (&self.sums, &self.weights, self.depth);
        let in_band = [z - self.first, offset[1], offset[2]];
        let before = self.first * padded[1] * padded[2];
        let voxels = self.piece.voxels();
        let finite =
            self.piece.data_mut().par_chunks_mut(voxels.max(1)).enumerate().all(|(class, target)| {
                let mut rows = [const { Vec::new() }; 3];
                for sums in sums.iter().flatten() {
                    let source = sums.channel(class);
                    for_rows(shape, [depth, padded[1], padded[2]], in_band, |to, from, len| {
                        let weights = &weights[before + from..][..len];
                        add_quotients(
                            &mut target[to..to + len],
                            &source[from..from + len],
                            weights,
                            &mut rows,
                        );
                    });
                }
                if count > 1.0 {
                    divide(target, count, &mut rows[0]);
                }
                target.iter().all(|v| v.is_finite())
            });
        finite.then_some(())
    }

    /// Moves the slices from `end` on to the front of the bands.
    fn forget_until(&mut self, end: usize) {
        let plane = self.place.padded[1] * self.place.padded[2];
        let gone = (end - self.first).min(self.depth) * plane;
        if gone > 0 {
            for sums in self.sums.iter_mut().flatten() {
                let voxels = sums.voxels();
                sums.data_mut().par_chunks_mut(voxels).for_each(|sum| {
                    sum.copy_within(gone.., 0);
                    sum[voxels - gone..].fill(f16::ZERO);
                });
            }
        }
        self.first = end;
    }
}

/// `sums[i] += values[i]`, added in f32 and rounded to f16. `row` is working space.
pub(super) fn add_to(sums: &mut [f16], values: impl Iterator<Item = f32>, row: &mut Vec<f32>) {
    row.resize(sums.len(), 0.0);
    sums.convert_to_f32_slice(row);
    row.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    sums.convert_from_f32_slice(row);
}

/// `target[i] += sums[i] / weights[i]`; the quotient is rounded to f16 before it is added, as a tensor of its
/// own would be. `rows` is working space.
fn add_quotients(target: &mut [f16], sums: &[f16], weights: &[f16], rows: &mut [Vec<f32>; 3]) {
    let [quotients, divisors, row] = rows;
    quotients.resize(sums.len(), 0.0);
    divisors.resize(sums.len(), 0.0);
    sums.convert_to_f32_slice(quotients);
    weights.convert_to_f32_slice(divisors);
    quotients.iter_mut().zip(&*divisors).for_each(|(sum, weight)| *sum /= weight);
    // The target is working space before it is the sum.
    row.resize(target.len(), 0.0);
    target.convert_to_f32_slice(row);
    target.convert_from_f32_slice(quotients);
    target.convert_to_f32_slice(quotients);
    quotients.iter_mut().zip(&*row).for_each(|(quotient, sum)| *quotient += sum);
    target.convert_from_f32_slice(quotients);
}

/// Divides every value, rounding to f16. `row` is working space.
pub(super) fn divide(values: &mut [f16], divisor: f32, row: &mut Vec<f32>) {
    row.resize(values.len(), 0.0);
    values.convert_to_f32_slice(row);
    row.iter_mut().for_each(|v| *v /= divisor);
    values.convert_from_f32_slice(row);
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
