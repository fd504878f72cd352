//! How the work of a convolution is cut.
//!
//! Two schedules, chosen by shape alone so that results never depend on the number of threads:
//! - *fused*: a task owns a band of tile rows of one sample, walks along z, and keeps the transformed planes that the taps reach in a
//!   ring of its own. Every input value is transformed once (twice at the borders of bands and segments). What a thread writes no
//!   other thread reads, which is worth more than the weights that are read from a shared cache for every band.
//! - *layered*, for small planes and for weights that a shared cache does not hold: all threads transform a slab of planes into
//!   shared memory, then all threads compute products; a task takes one group of result channels and some hundred tiles, so that
//!   the weights are read only once or twice per slab.

use super::region::{Slots, Strips, Tiling};
use crate::layout::LANES;

/// Values of V that a task of the fused schedule keeps in its L2 cache (half a megabyte).
const FUSED_INPUT: usize = 140_000;
/// Tiles of a plane that a band of the fused schedule should have, even if V then takes more: with fewer, weights are read too often.
const FUSED_TILES: usize = 20;
/// Fewest tiles of a plane that the fused schedule is worth it for.
const FEWEST_FUSED_TILES: usize = 16;
/// Most values that V may take for these tiles.
const MOST_FUSED_INPUT: usize = 700_000;
/// Most transformed weights that are read for every band: those of 256 to 256 channels.
const MOST_FUSED_WEIGHTS: usize = 5_000_000;
/// Values of V that the layered schedule holds at a time (12 MiB: part of a shared cache).
const LAYERED_INPUT: usize = 3 << 20;
/// Tiles of a task of the layered schedule: M then takes some 300 KB.
const LAYERED_TILES: usize = 96;
/// Tasks that a schedule aims for, enough to keep many threads evenly busy.
const TASKS: usize = 32;
/// Fewest tasks of the fused schedule, for which it takes segments of few planes.
const FEWEST_TASKS: usize = 10;

/// How the work is cut.
#[derive(Debug, Clone, Copy)]
pub(super) enum Schedule {
    /// Rows of tiles of a band, planes of a segment.
    Fused { rows: usize, segment: usize },
    /// Where planes are kept, layers computed at a time, strips, strips of a task.
    Layered { slots: Slots, slab: usize, strips: Strips, strips_per_task: usize },
}

impl Schedule {
    /// The schedule for `groups` groups of result channels.
    pub(super) fn new(tiling: &Tiling, groups: usize) -> Self {
        Self::fused(tiling, groups).unwrap_or_else(|| Self::layered(tiling, groups))
    }

    /// The fused schedule, where it is the better one.
    fn fused(tiling: &Tiling, groups: usize) -> Option<Self> {
        let (columns, depth, planes) = (tiling.columns(), tiling.size[0], tiling.variant.planes());
        let per_row = tiling.blocks * tiling.variant.points() * tiling.planes_read(1) * columns * LANES;
        let in_cache = (FUSED_INPUT / per_row).saturating_sub(tiling.halo());
        let rows = in_cache.max(FUSED_TILES.div_ceil(columns)).min(tiling.rows());
        let bands = tiling.rows().div_ceil(rows);
        let rows = tiling.rows().div_ceil(bands);
        let weights = tiling.variant.points() * tiling.taps() * tiling.blocks * groups * 2 * LANES * LANES;
        let tasks = tiling.batch * bands;
        let small =
            Slots::whole(tiling).len(tiling.blocks) <= LAYERED_INPUT / 2 && tiling.blocks * groups >= 4;
        let few_tiles = rows * columns < FEWEST_FUSED_TILES && (rows < tiling.rows() || small);
        let few_tasks = small && tasks * tiling.layers() < FEWEST_TASKS;
        let large = (rows + tiling.halo()) * per_row > MOST_FUSED_INPUT || weights > MOST_FUSED_WEIGHTS;
        if few_tiles || few_tasks || large {
            return None;
        }
        let segments = TASKS.div_ceil(tasks).clamp(1, depth.div_ceil(8));
        let segments = segments.max(FEWEST_TASKS.div_ceil(tasks).min(tiling.layers()));
        Some(Self::Fused { rows, segment: depth.div_ceil(segments).next_multiple_of(planes) })
    }

    fn layered(tiling: &Tiling, groups: usize) -> Self {
        let (columns, planes, layers) = (tiling.columns(), tiling.variant.planes(), tiling.layers());
        let whole = Slots::whole(tiling);
        let (slots, slab) = if whole.len(tiling.blocks) <= LAYERED_INPUT {
            (whole, tiling.batch * layers)
        } else {
            let plane = Slots::ring(tiling, 1, tiling.rows()).len(tiling.blocks);
            let count = (LAYERED_INPUT / plane).clamp(tiling.planes_read(1), tiling.planes_read(layers));
            (Slots::ring(tiling, count, tiling.rows()), (count + 1 - tiling.taps_z) / planes)
        };
        let most = LAYERED_TILES / planes;
        let joined = slots.per_sample > 0 && tiling.halo() == 0 && 2 * tiling.tiles() <= most;
        let rows = if joined { tiling.rows() } else { (most / columns).clamp(1, tiling.rows()) };
        let per_layer = tiling.rows().div_ceil(rows);
        let strips = Strips { first_layer: 0, rows: tiling.rows().div_ceil(per_layer), per_layer, joined };
        let all = slab * strips.per_layer;
        let by_tiles = (most / (strips.rows * columns)).max(1);
        let by_tasks = (all * groups).div_ceil(TASKS);
        Self::Layered { slots, slab, strips, strips_per_task: by_tiles.min(by_tasks).max(1) }
    }

    /// Strips of a plane: the units of the statistics.
    pub(super) fn strips_per_plane(&self, tiling: &Tiling) -> (usize, usize) {
        match self {
            Self::Fused { rows, .. } => (tiling.rows().div_ceil(*rows), *rows),
            Self::Layered { strips, .. } => (strips.per_layer, strips.rows),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Variant;
    use super::*;

    #[test]
    fn threads_share_transformed_planes_only_where_these_are_small_or_weights_are_large() {
        let fused = |batch, size, channels: usize, variant| {
            let blocks = channels / LANES;
            let tiling = Tiling { batch, size, blocks, taps_z: 3, variant };
            matches!(Schedule::new(&tiling, blocks.div_ceil(2)), Schedule::Fused { .. })
        };
        assert!(fused(2, [40, 56, 40], 32, Variant::W2Z));
        assert!(fused(2, [10, 14, 10], 128, Variant::W2Z));
        assert!(fused(1, [32, 32, 32], 128, Variant::W2Z));
        assert!(fused(1, [16, 16, 16], 256, Variant::W2));
        assert!(!fused(1, [10, 14, 10], 128, Variant::W2Z), "five layers are too few tasks");
        assert!(!fused(2, [5, 7, 5], 256, Variant::W2), "eight tiles");
        assert!(!fused(1, [16, 16, 16], 320, Variant::W2), "29 MB of weights");
    }
}
