//! Why a step of a federation failed.

use std::io;
use std::path::{Path, PathBuf};

use nnunet::checkpoint::CheckpointError;
use nnunet::fingerprint::FingerprintError;
use nnunet::graph::error::NetworkError;
use nnunet::json::JsonError;
use nnunet::plan::PlanError;
use nnunet::progress::Interrupted;
use nnunet::train::TrainError;

/// Errors of server and sites.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FederatedError {
    /// The settings cannot be used.
    #[error("{path}: {problem}", path = path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A message was refused; nothing of it was used.
    #[error("{path}: message refused: {problem}", path = path.display())]
    Refused {
        /// The folder of the message.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Something that a message would replace.
    #[error(
        "{path}: found {found}, expected a new or empty folder, or an earlier message to replace; nothing was written",
        path = path.display()
    )]
    Occupied {
        /// Where the message was to be written.
        path: PathBuf,
        /// What is there.
        found: String,
    },
    /// A message of another step.
    #[error("{path}: found {found}, expected {expected}", path = path.display())]
    OtherMessage {
        /// The folder of the message.
        path: PathBuf,
        /// What it is.
        found: String,
        /// What belongs there.
        expected: String,
    },
    /// A site that the settings do not name.
    #[error("site {site:?} is not in the federation; its sites are {known}")]
    UnknownSite {
        /// The name.
        site: String,
        /// The sites.
        known: String,
    },
    /// Sites whose answers are missing.
    #[error("{path}: no answer of {missing}; expected those of {expected}", path = path.display())]
    MissingSites {
        /// The folder of answers.
        path: PathBuf,
        /// Their names.
        missing: String,
        /// What is needed.
        expected: String,
    },
    /// Sites that do not fit together.
    #[error("site {site}: {what} is {found}; site {other} has {expected}")]
    SitesDiffer {
        /// The site.
        site: String,
        /// What differs.
        what: String,
        /// What it has.
        found: String,
        /// The site it was compared with.
        other: String,
        /// What that one has.
        expected: String,
    },
    /// No tensor is in all networks with one shape.
    #[error("the networks of the sites have no tensor in common, so there is nothing to average")]
    NothingShared,
    /// What a site has trained does not go with the round that it is asked for.
    #[error("{path}: {problem}", path = path.display())]
    OtherRound {
        /// The fold.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A key that is too short to be safe.
    #[error("{path}: {found} bytes are too few for a key; expected at least {expected} random bytes", path = path.display())]
    ShortKey {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        found: usize,
        /// The fewest that are taken.
        expected: usize,
    },
    /// A site's process in a simulation, where no round is possible without it.
    #[error("site {site}: {what} failed with {status}; see {log}", log = log.display())]
    SiteFailed {
        /// The site.
        site: String,
        /// What it did.
        what: String,
        /// How it ended.
        status: String,
        /// Its log.
        log: PathBuf,
    },
    /// A dataset that cannot be divided among the sites.
    #[error(
        "{cases} cases of {groups} patients cannot be divided among {sites} sites; expected at least five patients each"
    )]
    TooFewCases {
        /// Training cases.
        cases: usize,
        /// Patients.
        groups: usize,
        /// Sites.
        sites: usize,
    },
    /// A verb of the project.
    #[error(transparent)]
    Project(#[from] nnunet::Error),
    /// A training.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// Tensors in a file.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Tensors of another network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A fingerprint.
    #[error(transparent)]
    Fingerprint(#[from] FingerprintError),
    /// Plans.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A JSON file of the dataset.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A file.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The user asked to stop.
    #[error("interrupted; what is finished is kept in {path}", path = path.display())]
    Interrupted {
        /// Where.
        path: PathBuf,
        /// The request.
        source: Interrupted,
    },
}

impl FederatedError {
    /// For `map_err`: an error of the file `path`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

impl From<nnunet::dataset::DatasetError> for FederatedError {
    fn from(error: nnunet::dataset::DatasetError) -> Self {
        Self::Project(error.into())
    }
}
