//! Resampling to another grid exactly as the reference computes it.
//!
//! Grids are aligned at their outer edges: output position i of n_out lies at input coordinate
//! `n_in / n_out * (i + 0.5) - 0.5`; beyond the first and last voxel centre the image continues constantly.
//! - data ([`resample_data`]): spline of order 0, 1 or 3 with its exact prefilter, clipped to the input's range;
//! - labels ([`resample_labels`]): linear weight of each label, the heaviest wins;
//! - logits ([`SlabResampler`]): linear, a few output slices at a time.
//!
//! Strongly anisotropic images are resampled slice by slice and then, with a lower order, along their coarse axis
//! ([`separate_axis`]).

mod axis;
mod cubic;
mod data;
mod labels;
mod separate_axis;
mod slab;

pub use axis::Order;
pub use data::resample_data;
pub use labels::{Label, resample_labels};
pub use separate_axis::{ANISOTROPY_THRESHOLD, separate_axis};
pub use slab::SlabResampler;

use crate::error::{Result, VolumeError};

/// Refuses shapes that no resampling can serve.
fn check_shapes(from: [usize; 3], to: [usize; 3]) -> Result<()> {
    let fault = |reason: &str| Err(VolumeError::Resample { from, to, reason: reason.into() });
    if from.contains(&0) {
        return fault("the input is empty");
    }
    if to.contains(&0) {
        return fault("the output would be empty");
    }
    Ok(())
}
