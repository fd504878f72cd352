//! Data augmentation: transforms, one file each, and the lists of the reference's trainers.
//!
//! A [`Transform`] draws its parameters and changes a sample; what it computes is a pure function with explicit parameters
//! in the same file. [`transforms`] has all of them by name, built from options. An [`AugmentationList`] is data: an
//! ordered list of transforms with their options, and how patches are cropped and mirrored; [`lists()`] has those of the
//! reference's trainers. An [`AugmentationPolicy`] is a list built for the facts of a configuration; [`pipeline`] runs it
//! on one sample. Every sample draws from a random stream of its own ([`random`]).
#![forbid(unsafe_code)]

pub mod blank_rectangles;
pub mod blur;
pub mod brightness;
pub mod cascade;
pub mod channel_misalignment;
pub mod contrast;
pub mod crop;
pub mod cut_off;
pub mod distribution;
pub mod drop_channels;
pub mod error;
pub mod gamma;
pub mod geometry;
pub mod invert;
pub mod labels;
pub mod lists;
pub mod local;
pub mod low_resolution;
pub mod median_filter;
pub mod mirror;
pub mod noise;
pub mod one_of;
pub mod pipeline;
pub mod policy;
pub mod random;
pub mod registry;
pub mod rician_noise;
pub mod rotate90;
pub mod sharpen;
pub mod spatial;
mod statistics;
pub mod targets;
pub mod transform;

pub use distribution::{ChannelChoice, CountRange, Distribution};
pub use error::AugmentError;
pub use geometry::{PatchGeometry, PatchOptions, SliceRule};
pub use lists::{AugmentationList, Mirroring, lists};
pub use pipeline::{AugmentedSample, Sample, Scratch};
pub use policy::{AugmentationPolicy, ConfigurationFacts, FinishPolicy};
pub use random::{Purpose, SampleAddress, SampleRng};
pub use registry::transforms;
pub use targets::SampleTarget;
pub use transform::{BuildContext, BuiltTransform, Step, Transform, TransformBuilder, TransformContext};
