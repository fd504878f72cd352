//! Changes that are strongest at one place: a Gaussian bump says how much of the changed image each voxel takes.

mod brightness_gradient;
mod bump;
mod contrast;
mod gamma;
mod smoothing;

pub use brightness_gradient::{BrightnessGradient, add_gradient};
pub use bump::{Bump, BumpOptions};
pub use contrast::{LocalContrast, scale_contrast_locally};
pub use gamma::{LocalGamma, correct_gamma_locally};
pub use smoothing::{LocalSmoothing, smooth_locally};
