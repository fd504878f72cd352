//! NIfTI-1 and NIfTI-2 (`.nii`, `.nii.gz`), read and written as SimpleITK (ITK 5.4) does.
//!
//! Voxels run x fastest in the file, which is the (z, y, x) C order of [`nnunet_volume::Volume`]: they are never moved.
//! Geometry is converted between the header's RAS axes and the LPS axes of [`nnunet_volume::Geometry`].
//! NIfTI-2, which ITK cannot read, follows the same rules in double precision.

pub mod nibabel;

mod forms;
mod header;
mod orientation;
mod reader;
mod singular_vectors;
mod split;
mod writer;

pub use orientation::ORTHONORMAL_TOLERANCE;
pub use reader::{read, read_geometry};
pub use split::{number_of_volumes, split_volumes};
pub(crate) use writer::FORMAT;
pub use writer::{write, write_labels};

pub use super::voxels::StoredVoxel;
