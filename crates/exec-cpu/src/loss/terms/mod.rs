//! The terms of losses, one file each.

pub(super) mod boundary;
pub(super) mod cl_dice;
pub(super) mod cross_entropy;
pub(super) mod focal;
pub(super) mod hausdorff;
pub(super) mod overlap;
pub(super) mod top_k;
