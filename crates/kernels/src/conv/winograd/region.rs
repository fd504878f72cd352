//! How a convolution is cut into tiles, strips of tiles and tasks, and where transformed planes lie.

use crate::layout::LANES;

use super::Variant;

/// Sizes of one stride-1 convolution in the transform domain.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tiling {
    /// Samples.
    pub(super) batch: usize,
    /// Voxels (z, y, x) of input and output.
    pub(super) size: [usize; 3],
    /// Blocks of input channels.
    pub(super) blocks: usize,
    /// Taps along z: 1 or 3.
    pub(super) taps_z: usize,
    /// How y is transformed.
    pub(super) variant: Variant,
}

impl Tiling {
    /// Tiles along y.
    pub(super) fn rows(&self) -> usize {
        self.size[1].div_ceil(self.variant.rows())
    }

    /// Tiles along x.
    pub(super) fn columns(&self) -> usize {
        self.size[2].div_ceil(4)
    }

    /// Tiles of a plane.
    pub(super) fn tiles(&self) -> usize {
        self.rows() * self.columns()
    }

    /// Rows of V beyond those of the output tiles: the taps along y that are summed in the transform domain need their neighbours.
    pub(super) fn halo(&self) -> usize {
        self.variant.taps_y() - 1
    }

    /// Transformed weights per point and pair of channels, see [`Variant::taps`].
    pub(super) fn taps(&self) -> usize {
        self.variant.taps(self.taps_z)
    }

    /// Layers of a sample: planes of results, or pairs of them.
    pub(super) fn layers(&self) -> usize {
        self.size[0].div_ceil(self.variant.planes())
    }

    /// Planes of V that the results of `layers` consecutive layers read.
    pub(super) fn planes_read(&self, layers: usize) -> usize {
        layers * self.variant.planes() + self.taps_z - 1
    }

    /// Planes of padding on each side along z.
    pub(super) fn padding_z(&self) -> usize {
        self.taps_z / 2
    }

    /// The taps along z, first and behind the last, that reach into the image from one of the planes `first..=last`.
    pub(super) fn taps_z_inside(&self, first: usize, last: usize) -> (usize, usize) {
        if self.taps_z == 1 {
            return (0, 1);
        }
        (usize::from(last == 0), if first + 1 == self.size[0] { 2 } else { 3 })
    }
}

/// Where the transformed planes lie: `[block][point][slot][tile][16]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slots {
    /// Number of slots; a plane's slot is its padded z modulo this, plus the sample's part when all samples are held.
    pub(super) count: usize,
    /// Slots of one sample when all samples are held, else 0.
    pub(super) per_sample: usize,
    /// Tiles of one slot, halo rows included.
    pub(super) tiles: usize,
    /// Values from one point to the next.
    pub(super) point_stride: usize,
    /// Values from one block to the next.
    pub(super) block_stride: usize,
}

impl Slots {
    /// A ring of `count` slots for `rows` rows of tiles (halo not counted) and one sample.
    pub(super) fn ring(tiling: &Tiling, count: usize, rows: usize) -> Self {
        Self::new(tiling, count, 0, rows)
    }

    /// Slots for all planes of all samples, padding planes included.
    pub(super) fn whole(tiling: &Tiling) -> Self {
        let per_sample = tiling.planes_read(tiling.layers());
        Self::new(tiling, tiling.batch * per_sample, per_sample, tiling.rows())
    }

    fn new(tiling: &Tiling, count: usize, per_sample: usize, rows: usize) -> Self {
        let tiles = (rows + tiling.halo()) * tiling.columns();
        let point_stride = odd(count * tiles) * LANES;
        Self { count, per_sample, tiles, point_stride, block_stride: tiling.variant.points() * point_stride }
    }

    /// Position of the first tile of plane `z` (padding planes counted) of a sample.
    pub(super) fn position(&self, sample: usize, padded_z: usize) -> usize {
        (sample * self.per_sample + padded_z % self.count) * self.tiles
    }

    /// Values of V for `blocks` blocks.
    pub(super) fn len(&self, blocks: usize) -> usize {
        blocks * self.block_stride
    }
}

/// An odd number of cache lines, so that the points of a tile do not all fall into the same cache set.
pub(super) fn odd(lines: usize) -> usize {
    lines | 1
}

/// Consecutive positions of V that are computed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// Sample.
    pub(super) sample: usize,
    /// First plane.
    pub(super) z: usize,
    /// Planes; those of more than one layer only with all rows of tiles.
    pub(super) planes: usize,
    /// First row of tiles.
    pub(super) row: usize,
    /// Rows of tiles.
    pub(super) rows: usize,
}

impl Run {
    /// Tiles of the run.
    pub(super) fn positions(&self, tiling: &Tiling) -> usize {
        self.planes * self.rows * tiling.columns()
    }
}

/// Strips of tile rows, numbered sample by sample, layer by layer, row by row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strips {
    /// First layer of all, counted over samples.
    pub(super) first_layer: usize,
    /// Rows of tiles of a strip.
    pub(super) rows: usize,
    /// Strips of a layer.
    pub(super) per_layer: usize,
    /// Consecutive layers are joined to one run.
    pub(super) joined: bool,
}

impl Strips {
    /// The run that begins at strip `first` and ends before strip `end`, and the strip after it.
    pub(super) fn run(&self, tiling: &Tiling, first: usize, end: usize) -> (Run, usize) {
        let layer = self.first_layer + first / self.per_layer;
        let (sample, layer) = (layer / tiling.layers(), layer % tiling.layers());
        let row = first % self.per_layer * self.rows;
        let count = if self.joined { (end - first).min(tiling.layers() - layer) } else { 1 };
        let z = layer * tiling.variant.planes();
        let planes = (count * tiling.variant.planes()).min(tiling.size[0] - z);
        (Run { sample, z, planes, row, rows: self.rows.min(tiling.rows() - row) }, first + count)
    }
}
