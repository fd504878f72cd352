//! The memory that preprocessing takes.

/// Bytes that preprocessing of a case of `channels` channels needs at most: images and segmentation of
/// `before` voxels before and `after` behind resampling, one channel in between, masks, and the file while
/// it is decompressed.
pub fn memory_of_case(channels: u64, before: u64, after: u64) -> u64 {
    // 4 bytes per voxel and channel, 2 + 1 for labels and mask; files are at most 8 bytes per voxel.
    (before.saturating_add(after))
        .saturating_mul(4 * channels + 3)
        .saturating_add(before.max(after).saturating_mul(12))
}
