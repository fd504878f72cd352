//! The built-in metrics, one family a file.

mod betti;
mod calibration;
mod cldice;
mod lesions;
mod panoptic;
mod surface;
mod volumes;
pub mod voxel_surface;

pub use betti::Betti;
pub use calibration::Calibration;
pub use cldice::ClDice;
pub use lesions::Lesions;
pub use panoptic::PanopticQuality;
pub use surface::Surface;
pub use volumes::Volumes;
pub use voxel_surface::VoxelSurface;
