//! Where a task sums up the results of its tile: in the tensor they belong to, or, if that is bf16, in scratch until they are finished and
//! can be rounded.

use super::pass::Pass;
use super::tiles::Tile;
use crate::Context;
use crate::bf16::{self, Piece};
use crate::conv::packed::Group;
use crate::layout::LANES;
use crate::memory::SharedMut;
use crate::values::SharedValues;

/// Result tensors of a job; one of bf16 is the only one, and is not added to.
pub(super) struct Output<'a> {
    pub(super) data: SharedValues<'a>,
    /// Blocks per sample.
    pub(super) blocks: usize,
    /// What sums start from, per padded channel; none adds to what the tensor holds.
    pub(super) start: Option<&'a [f32]>,
}

/// The results of a tile: rows (z, y) of the result tensor, of whole length.
#[derive(Clone, Copy)]
pub(super) struct Region {
    first: [usize; 2],
    /// Rows (z, y) and columns.
    size: [usize; 3],
}

impl Region {
    /// Those of `tile`: results of all `passes`, in a tensor of `spatial` voxels.
    pub(super) fn new(tile: &Tile, passes: &[Pass], spatial: [usize; 3]) -> Self {
        let rows = |axis: usize| {
            let spacing = passes.first().map_or(1, |pass| pass.axes[axis].spacing);
            let end = (tile.first[axis] + tile.size[axis]) * spacing;
            (tile.first[axis] * spacing, spatial[axis].min(end).saturating_sub(tile.first[axis] * spacing))
        };
        let ((z, depth), (y, height)) = (rows(0), rows(1));
        Self { first: [z, y], size: [depth, height, spatial[2]] }
    }

    fn voxels(&self) -> usize {
        self.size.iter().product()
    }
}

/// Scratch for results that are to be rounded: `[block][z][y][x][16]` of a region; empty if they are not.
pub(super) struct Results<'a> {
    pub(super) values: SharedMut<'a, f32>,
    pub(super) first_block: usize,
    pub(super) region: Region,
}

/// Where results of a group are summed up.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    /// First value of the group's first block.
    pub(super) data: *mut f32,
    /// Voxels of a block.
    pub(super) voxels: usize,
    /// First row (z, y).
    pub(super) first: [usize; 2],
    /// Rows of a plane.
    pub(super) height: usize,
}

impl Output<'_> {
    /// Values of [`Results`] for `blocks` blocks.
    pub(super) fn results_len(&self, region: &Region, blocks: usize) -> usize {
        match self.data {
            SharedValues::F32(_) => 0,
            SharedValues::Bf16(_) => blocks * region.voxels() * LANES,
        }
    }

    /// Where the results of a sample and group are summed up.
    pub(super) fn frame(
        &self,
        sample: usize,
        group: &Group,
        results: &Results<'_>,
        spatial: [usize; 3],
    ) -> Frame {
        let (data, block, voxels, first, height) = match self.data {
            SharedValues::F32(data) => {
                (data, sample * self.blocks + group.block, spatial.iter().product(), [0, 0], spatial[1])
            }
            SharedValues::Bf16(_) => {
                let Results { values, first_block, region } = results;
                (*values, group.block - first_block, region.voxels(), region.first, region.size[1])
            }
        };
        assert!((block + group.blocks) * voxels * LANES <= data.len());
        // SAFETY: the group's blocks lie within the memory, as asserted.
        let data = unsafe { data.as_mut_ptr().add(block * voxels * LANES) };
        Frame { data, voxels, first, height }
    }

    /// Rounds the finished results of `blocks` blocks of a sample to their places, if they are to be rounded.
    pub(super) fn round(
        &self,
        ctx: &Context,
        sample: usize,
        results: &Results<'_>,
        blocks: usize,
        spatial: [usize; 3],
    ) {
        let SharedValues::Bf16(output) = self.data else { return };
        let Results { values, first_block, region } = results;
        let ([size_z, size_y, size_x], [depth, height, _]) = (spatial, region.size);
        let count = height * size_x * LANES;
        for (block, z) in (0..blocks).flat_map(|block| (0..depth).map(move |z| (block, z))) {
            let from = (block * depth + z) * count;
            let place = sample * self.blocks + first_block + block;
            let to = ((place * size_z + region.first[0] + z) * size_y + region.first[1]) * size_x * LANES;
            assert!(from + count <= values.len() && to + count <= output.len());
            // SAFETY: both places lie in their memory, as asserted; the results of a tile and its blocks are one task's alone; the
            // level is one that the CPU has.
            unsafe {
                let (from, to) = (values.as_mut_ptr().add(from), output.as_mut_ptr().add(to));
                bf16::round(ctx.level(), &Piece { from, to, count });
            }
        }
    }
}
