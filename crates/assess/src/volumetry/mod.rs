//! Whether the volumes of predicted segmentations answer the question that they were measured for.
//!
//! Dice does not see the sign of a volume error, nor whether the error depends on the group or the time. A therapy's
//! effect on a lesion can vanish in predictions whose Dice is excellent. Here volumes (ml) are compared as measurements:
//! agreement per class ([`agreement`]), changes over time ([`change`]), effects of groups ([`group`]), each on the
//! reference and on the prediction with the same test, strata, and a verdict in plain words ([`verdict`]).
//!
//! Intervals are at 95 %, tests two-sided at 5 %. Where subjects have several cases, agreement treats all cases alike;
//! changes and groups work on subjects.

mod agreement;
mod change;
mod group;
mod output;
mod report;
mod strata;
mod subjects;
mod verdict;

pub use agreement::Agreement;
pub use change::Change;
pub use group::{Effect, GroupEffect};
pub use report::{ClassReport, Measured, VolumetryError, VolumetryOptions, VolumetryReport, report};
pub use strata::Stratum;
pub use subjects::{Subjects, SubjectsError};
