//! Raw datasets in nnU-Net's layout: dataset.json, cases, labels, splits, verification.
//!
//! ```text
//! nnUNet_raw/Dataset004_Hippocampus/dataset.json
//!                                   imagesTr/hippocampus_001_0000.nii.gz   one file per channel
//!                                   labelsTr/hippocampus_001.nii.gz
//!                                   imagesTs/...
//! ```
#![forbid(unsafe_code)]

mod annotated;
mod case_images;
pub mod cases;
pub mod channels;
pub mod convert;
mod discovery;
mod error;
mod fault;
mod fold;
pub mod image_geometry;
pub mod json;
mod json_keys;
pub mod labels;
pub mod layout;
mod non_finite;
mod part;
pub mod patients;
mod placement;
mod prediction_cases;
pub mod reader;
pub mod repair;
mod spacing_files;
pub mod splits;
mod stamp;
pub mod verify;
mod verify_case;

pub use annotated::AnnotatedLabels;
pub use case_images::channels_fault;
pub use case_images::{CaseImages, CaseWarning, LabelledImage, ReadError};
pub use cases::{Case, Discovery};
pub use error::DatasetError;
pub use fault::Problem;
pub use image_geometry::ImageGeometry;
pub use json::DatasetJson;
pub use labels::{LabelManager, LabelManagers, LabelOrRegion, label_managers};
pub use layout::{DatasetName, Folders};
pub use non_finite::NonFinite;
pub use part::Part;
pub use patients::Patients;
pub use placement::Displacement;
pub use reader::{ImageFormat, ImageFormats, ImageReader, ReadChannels, ReadImage, image_formats};
pub use spacing_files::{ManyMissing, warn_of_missing_spacing_files};
