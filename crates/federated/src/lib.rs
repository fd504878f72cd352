//! Federated nnU-Net: several sites plan and train together, and images never leave them.
//!
//! Server and sites exchange [`Message`]s: JSON for facts, safetensors for numbers, sealed and checked. Whatever carries
//! them from one to the other (Flower, NVFLARE, a shared folder) is not part of this crate. In order:
//!
//! 1. Each [`Site`] describes its data ([`Site::fingerprint`]), [`merge()`] makes one fingerprint of it, and each site plans
//!    from it ([`Site::plan`]).
//! 2. Each site trains a round from the weights of all ([`Site::round`]), [`aggregate()`] averages what matches.
//! 3. Each site takes the last weights and validates them on its own cases ([`Site::validate`]).
//!
//! [`simulate()`] runs all of it on one machine, each site as a process. Method: asymmetric federated averaging and federated
//! fingerprints of FednnU-Net (doi 10.1038/s41598-025-22239-0); FedAvg (arXiv 1602.05629), FedProx (arXiv 1812.06127),
//! FedBN (arXiv 2102.07623).
#![forbid(unsafe_code)]

mod aggregate;
mod error;
mod fingerprint;
mod keys;
mod merge;
mod message;
mod plan;
mod proximal;
mod round;
mod seal;
mod sent_log;
mod settings;
mod simulate;
mod site;
mod validate;

pub use aggregate::{Aggregated, aggregate};
pub use error::FederatedError;
pub use fingerprint::{Axes, CaseList, DatasetIdentity, MergedFingerprint, Quantiles, SiteFingerprint};
pub use keys::shared_keys;
pub use merge::{Merged, merge};
pub use message::{
    Body, GlobalWeights, LeftOut, Message, PlanMade, SiteValidation, TensorFact, Update, ValidatedClass,
    check_output,
};
pub use seal::Key;
pub use sent_log::SENT_LOG;
pub use settings::{FingerprintForm, Matching, Settings, Weighting};
pub use simulate::{SimulateJob, Simulated, SiteScore, simulate};
pub use site::Site;
