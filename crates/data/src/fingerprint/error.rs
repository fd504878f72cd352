//! What can go wrong with a fingerprint.

use std::path::PathBuf;

use nnunet_base::hint::Hint;
use nnunet_base::memory::MemoryLimitError;
use nnunet_base::progress::Interrupted;
use nnunet_dataset::DatasetError;
use nnunet_pyformats::json::JsonError;

/// Why there is no fingerprint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FingerprintError {
    /// dataset.json, its labels or the choice of a reader.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The file cannot be read or written.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// Cases do not fit into the memory that may be used.
    #[error(transparent)]
    Memory(#[from] MemoryLimitError),
    /// A part of a fingerprint cannot be written.
    #[error("{path}: cannot write this part of the fingerprint: {source}", path = path.display())]
    Part {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There are no training cases.
    #[error("no training cases to take a fingerprint of")]
    NoCases,
    /// Some cases cannot be used; all of them are named.
    #[error("{} cases cannot be used:\n{}\nNo fingerprint was written", .0.len(), .0.join("\n"))]
    Cases(Vec<String>, #[source] Hint),
    /// No segmentation has any foreground.
    #[error(
        "no training case has a foreground voxel (label above 0) within its nonzero image: nothing could be \
         learnt. Check that the label files are the right ones"
    )]
    NoForeground,
    /// An optional channel that no case with foreground has.
    #[error(
        "channel {channel} has no file in any training case with foreground: nothing could be learnt of it. Remove it from \
         channel_names in dataset.json, or add its files"
    )]
    AbsentChannel {
        /// The channel.
        channel: usize,
    },
    /// A file that is no fingerprint.
    #[error("{path}: {key} is missing or not {expected}; extract the fingerprint again", path = path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// The user asked to stop.
    #[error("interrupted before all cases were seen; no fingerprint was written")]
    Interrupted(#[from] Interrupted),
}
