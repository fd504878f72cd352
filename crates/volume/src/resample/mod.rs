//! Resampling to another grid exactly as the reference computes it.
//!
//! Grids are aligned at their outer edges: output position i of n_out lies at input coordinate
//! `n_in / n_out * (i + 0.5) - 0.5`; beyond the first and last voxel centre the image continues constantly.
//! - the way ([`Method`]): splines as scipy's, or PyTorch's interpolation;
//! - data ([`resample_data`]): spline of order 0, 1 or 3 with its exact prefilter, clipped to the input's range;
//! - labels ([`resample_labels`]): linear weight of each label, the heaviest wins;
//! - logits ([`SlabResampler`]): linear, a few output slices at a time.
//!
//! Strongly anisotropic images are resampled slice by slice and then, with a lower order, along their coarse axis
//! ([`separate_axis()`]).

mod axis;
mod axis_plan;
mod cubic;
mod data;
mod labels;
mod method;
mod separate_axis;
mod slab;
mod torch_labels;

pub use axis::Interpolation;
pub use data::resample_data;
pub use labels::{Label, resample_labels};
pub use method::Method;
pub use separate_axis::{ANISOTROPY_THRESHOLD, separate_axis};
pub use slab::SlabResampler;

use crate::error::{Result, VolumeError};

/// Refuses shapes that no resampling can serve, and those whose result memory could not hold.
fn check_shapes(from: [usize; 3], to: [usize; 3]) -> Result<()> {
    let fault = |reason: &str| Err(VolumeError::Resample { from, to, reason: reason.into() });
    if from.contains(&0) {
        return fault("the input is empty");
    }
    if to.contains(&0) {
        return fault("the output would be empty");
    }
    let voxels =
        to.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|n| *n <= isize::MAX as usize / 64);
    match voxels {
        Some(_) => Ok(()),
        None => fault("the output would not fit into any memory; check the spacings"),
    }
}

/// `len` default values, or an error where memory does not suffice.
fn allocate<T: Clone + Default>(from: [usize; 3], to: [usize; 3], len: usize) -> Result<Vec<T>> {
    Vec::<T>::new().try_reserve_exact(len).map_err(|_| VolumeError::Resample {
        from,
        to,
        reason: "there is not enough memory for the result; check the spacings".into(),
    })?;
    // Asked for again, because only this way the pages come zeroed and are touched first by the threads that fill them.
    Ok(vec![T::default(); len])
}
