//! Crop, normalise, resample and store the cases as the network will see them.

mod class_locations;
mod crop;
mod error;
mod geometry_entries;
mod leftovers;
mod made_from;
mod memory;
mod npy_store;
mod one_hot;
mod pipeline;
mod previous_stage;
mod properties;
mod read_case;
mod run;
mod store;

pub use class_locations::{ClassLocations, sample_locations, sampled_classes};
pub use crop::{OUTSIDE, mark_outside, transpose};
pub use error::PreprocessError;
pub use made_from::check_made_from;
pub use memory::memory_of_case;
pub use one_hot::append_one_hot;
pub use pipeline::{PreprocessedCase, Preprocessor, RawCase};
pub use previous_stage::{PreviousStage, write_previous_stage};
pub use properties::Properties;
pub use read_case::{read_case, read_labels, read_labels_of_case, warn_of_undeclared};
pub use run::{
    DatasetFolders, Existing, PreprocessOptions, Preprocessed, copy_segmentations, preprocess_configuration,
    preprocess_dataset,
};
pub use store::{CaseFiles, StoredCase, StoredFormat, stored_cases, write_case};
