//! Quality control of predictions without a reference: which cases to look at first.
//!
//! A case is predicted by several passes of networks, one for each fold and mirrored version of the input. Three things are read
//! from them, on the network's grid (Mehrtash et al. 2020, Roy et al. 2019):
//!
//! - the predictive entropy of the mean probabilities: how undecided the passes are together;
//! - the mutual information of label and pass: how much of that is because the passes disagree;
//! - the expected Dice of the decided segmentation if the mean probabilities are right.
//!
//! The volume of each class is compared with the segmentations of the training set. [`CaseQuality`] makes one warning score of these,
//! [`QualityTable`] is `qc.tsv`.

mod agreement;
mod control;
mod passes;
mod score;
mod table;
mod volumes;

pub(super) use agreement::Agreement;
pub(super) use control::QualityControl;
pub(super) use passes::PassSums;
pub use score::{CaseQuality, ClassQuality};
pub use table::{QualityTable, Warned, quality_file_name, warned_in};
pub(super) use volumes::class_volumes;
pub use volumes::{TRAINING_VOLUMES, TrainingVolumes};
