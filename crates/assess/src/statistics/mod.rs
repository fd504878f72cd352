//! The statistics that evaluations need: agreement of two measurements, effects and their tests, sample sizes, bootstrap.
//!
//! Distributions come from `statrs`; everything is held to SciPy, statsmodels and pingouin in tests.

mod agreement;
mod bootstrap;
mod descriptive;
mod distributions;
mod effects;
mod power;
mod signed_rank;

pub use agreement::{BlandAltman, Line, concordance, intraclass_correlation};
pub use bootstrap::{Bootstrap, percentile};
pub use descriptive::{mean, median, standard_deviation};
pub use effects::{Test, equivalence, hedges_g, mann_whitney, one_sample, welch};
pub use power::{subjects_for_groups, subjects_for_pairs};
pub use signed_rank::{SignedRank, holm, rank_biserial};
