//! Which configuration, or ensemble of two, is best in the cross-validation, and how to predict with it.
//!
//! ```text
//! MODEL/fold_X/validation/CASE.nii.gz -> MODEL/crossval_results_folds_0_1_2_3_4/{CASE.nii.gz, summary.json}
//! MODEL/fold_X/validation/CASE.npz    -> ensembles/ensemble___MODEL1___MODEL2___0_1_2_3_4/...
//! the best of all -> postprocessing.pkl beside it, inference_information.json, inference_instructions.txt
//! ```

mod best;
mod chosen;
mod crossval;
mod error;
mod instructions;

pub use best::{Candidate, SelectRequest, Selection, find_best};
pub use chosen::{Chosen, INFORMATION};
pub use crossval::{accumulate, crossval_folder_name, reference_folder};
pub use error::SelectError;
pub use instructions::{information, instructions};
