//! Training: augmentation, losses, the loader, the loop over epochs and the final validation.
#![forbid(unsafe_code)]

pub mod augment;
pub mod train;
