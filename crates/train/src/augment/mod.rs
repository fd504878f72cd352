//! Data augmentation: the default training pipeline of the reference, one file per transform.
//!
//! A transform is a pure function with explicit parameters plus a policy that says how often and
//! from which ranges the parameters are drawn. [`policy`] puts the policies together from the facts
//! of a configuration, [`pipeline`] runs them on one sample. Every sample draws from a random stream
//! of its own ([`random`]).

pub mod blur;
pub mod brightness;
pub mod cascade;
pub mod contrast;
pub mod crop;
pub mod error;
pub mod gamma;
pub mod geometry;
pub mod low_resolution;
pub mod mirror;
pub mod noise;
pub mod pipeline;
pub mod policy;
pub mod random;
pub mod spatial;
mod statistics;
pub mod targets;

pub use error::AugmentError;
pub use geometry::PatchGeometry;
pub use pipeline::{AugmentedSample, Sample, Scratch};
pub use policy::{AugmentationPolicy, ConfigurationFacts, FinishPolicy};
pub use random::{Purpose, SampleAddress};
pub use targets::SampleTarget;
