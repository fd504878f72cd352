//! Why libtorch or a device of it cannot be used.

use std::fmt;
use std::path::PathBuf;

use nnunet_base::hint::Hint;
use nnunet_graph::NetworkError;

use crate::interface::TorchError;

/// A device that cannot be used. Its texts state facts; what to do is up to the program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// No libtorch at any of the places.
    #[error("no libtorch found; looked at: {}", list(.looked_at))]
    NotFound {
        /// What was looked at, in order, each with what was found there.
        looked_at: Vec<String>,
    },
    /// A file that cannot be opened.
    #[error("{}: cannot be opened: {message}", .path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// The system's message.
        message: String,
    },
    /// A libtorch that is too old.
    #[error("{}: libtorch {found}, expected 2.10 or newer", .path.display())]
    Version {
        /// The library.
        path: PathBuf,
        /// Its version.
        found: String,
    },
    /// A library without functions that libtorch has.
    #[error(
        "{}: {}lacks {}",
        .path.display(),
        .version.as_ref().map_or("no libtorch of 2.10 or newer: ".to_owned(), |version| format!("libtorch {version} ")),
        list(.missing)
    )]
    Functions {
        /// The library.
        path: PathBuf,
        /// Its version, if it says one.
        version: Option<String>,
        /// The functions.
        missing: Vec<String>,
    },
    /// Operations that are missing or not as they were.
    #[error("{}: libtorch {version} does not run {}", .path.display(), list(.faults))]
    Operations {
        /// The library.
        path: PathBuf,
        /// Its version.
        version: String,
        /// Each operation with what happened.
        faults: Vec<String>,
    },
    /// A libtorch that was built without the device.
    #[error("{}: libtorch {version} was built without {device}: {} is missing", .path.display(), .file)]
    NotBuiltFor {
        /// The library.
        path: PathBuf,
        /// Its version.
        version: String,
        /// What it lacks.
        device: &'static str,
        /// The file that has it.
        file: &'static str,
    },
    /// No driver, or a driver that refuses.
    #[error("no NVIDIA card can be used: {0}")]
    NoCard(String),
    /// A number that no card has.
    #[error("there is no cuda:{index}; found {}", cards(.found))]
    NoSuchCard {
        /// The number.
        index: usize,
        /// Names of the cards that there are.
        found: Vec<String>,
    },
    /// A device that a first operation fails on.
    #[error("{device}: {message}")]
    Device {
        /// Its name.
        device: String,
        /// libtorch's message.
        message: String,
    },
}

impl OpenError {
    /// What to do about it.
    pub fn hint(&self) -> Hint {
        match self {
            Self::NotFound { .. } => Hint::InstallTorch,
            Self::Load { .. }
            | Self::Version { .. }
            | Self::Functions { .. }
            | Self::Operations { .. }
            | Self::NotBuiltFor { .. } => Hint::UpdateTorch,
            Self::NoCard(_) | Self::NoSuchCard { .. } | Self::Device { .. } => Hint::AnotherDevice,
        }
    }
}

fn list(entries: &[String]) -> String {
    entries.join(", ")
}

fn cards(found: &[String]) -> String {
    found.iter().enumerate().map(|(i, name)| format!("cuda:{i} ({name})")).collect::<Vec<_>>().join(", ")
}

/// libtorch's refusal as an error of networks, with the node that it is about.
pub(crate) fn at_node(node: &str, error: &TorchError) -> NetworkError {
    NetworkError::Device { node: node.to_owned(), message: error.to_string(), memory: error.memory }
}

/// libtorch's refusal as an error of networks, where it is about no node.
pub(crate) fn during(what: impl fmt::Display) -> impl Fn(TorchError) -> NetworkError {
    move |error| at_node(&what.to_string(), &error)
}
