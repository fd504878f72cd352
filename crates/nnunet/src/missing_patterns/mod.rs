//! What a model is worth without some of its channels: every set of channels that leaves one, predicted and evaluated.
//!
//! ```text
//! PREDICTIONS/channels_0_2/CASE.nii.gz     predicted from channels 0 and 2 alone
//!             channels_0_2/summary.json    metrics of these
//!             missing_patterns.json        Dice and volume bias of all patterns
//! ```

mod pattern;
mod table;

pub use pattern::{ChannelPattern, PatternError};
pub use table::{ClassResult, PatternResult, PatternTable};
