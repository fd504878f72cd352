//! What can go wrong while planning or while reading a plans file.

use std::path::{Path, PathBuf};

use nnunet_base::hint::Hint;

/// Errors of the plan stage. Each names the file or the value, what was found and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A file could not be written.
    #[error("{path}: cannot be written: {source}; check free space and permissions")]
    Write {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// A run works on cases that were made with the plans.
    #[error("{error}")]
    InUse {
        /// The folder and the run.
        error: nnunet_base::FolderInUse,
        /// What to do.
        #[source]
        hint: Hint,
    },
    /// A JSON file could not be read, written or understood.
    #[error(transparent)]
    Json(#[from] nnunet_pyformats::json::JsonError),
    /// The raw dataset cannot be read.
    #[error(transparent)]
    Dataset(#[from] nnunet_dataset::DatasetError),
    /// A file that another step makes is not there.
    #[error("{path}: does not exist; {remedy}")]
    Missing {
        /// The file.
        path: PathBuf,
        /// What makes it.
        remedy: &'static str,
    },
    /// The dataset has no plans of this name.
    #[error(
        "{path}: no such plans; {there}", path = path.display()
    )]
    NoPlans {
        /// The file looked for.
        path: PathBuf,
        /// What is there instead.
        there: String,
        /// What to do.
        #[source]
        hint: Hint,
    },
    /// A value of a plans file is missing or of the wrong kind.
    #[error("{place}: `{key}` {problem}")]
    Value {
        /// The file, or the part of the plans.
        place: String,
        /// The key.
        key: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// The plans have no such configuration.
    #[error("configuration `{name}` is not in the plans `{plans}`; it has: {available}{hint}")]
    UnknownConfiguration {
        /// What was asked for.
        name: String,
        /// Name of the plans.
        plans: String,
        /// What there is, comma separated.
        available: String,
        /// A guess at what was meant, or nothing.
        hint: String,
    },
    /// `inherits_from` leads in a circle.
    #[error("configuration `{name}`: inherits_from leads in a circle: {chain}; remove one of the links")]
    CircularInheritance {
        /// The configuration that was asked for.
        name: String,
        /// The way round, with arrows.
        chain: String,
    },
    /// An option of a resampling function that it does not take.
    #[error(transparent)]
    ResamplingOption(#[from] nnunet_base::parts::OptionError),
    /// A planner, or the architecture that one plans for, that there is not.
    #[error(transparent)]
    UnknownPart(#[from] nnunet_base::parts::UnknownName),
    /// The fingerprint cannot be read.
    #[error(transparent)]
    Fingerprint(#[from] crate::fingerprint::FingerprintError),
    /// The fingerprint cannot be planned from.
    #[error("dataset fingerprint: {problem}")]
    BadFingerprint {
        /// What was found and what was expected.
        problem: String,
    },
    /// An option of the planner makes no sense.
    #[error("planner option {option}: {problem}")]
    Option {
        /// The option.
        option: &'static str,
        /// What was found and what was expected.
        problem: String,
    },
    /// The splits in the raw folder contradict those already in the preprocessed folder.
    #[error("{preprocessed}: fold {fold} differs from {raw}; delete one of the two files")]
    SplitsDiffer {
        /// splits_final.json beside the raw data.
        raw: PathBuf,
        /// splits_final.json beside the preprocessed data.
        preprocessed: PathBuf,
        /// First fold that differs.
        fold: usize,
    },
}

impl PlanError {
    pub(crate) fn write(path: &Path, source: std::io::Error) -> Self {
        Self::Write { path: path.to_owned(), source }
    }

    pub(crate) fn value(
        place: impl Into<String>,
        key: impl Into<String>,
        problem: impl Into<String>,
    ) -> Self {
        Self::Value { place: place.into(), key: key.into(), problem: problem.into() }
    }
}
