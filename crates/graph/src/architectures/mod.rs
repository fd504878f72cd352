//! Registry of architectures: what plans.json can name. A new one is a file and a line in [`REGISTRY`].

mod blocks;
mod kwargs;
mod plain_unet;
mod residual_unet;
mod style;

use serde_json::Value;

use crate::error::NetworkError;
use crate::graph::Graph;

/// What every architecture is built from beside its `arch_kwargs`.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings {
    /// Channels of the input.
    pub input_channels: usize,
    /// Channels of each output.
    pub output_channels: usize,
    /// Whether the outputs of the lower resolutions are part of the graph.
    pub deep_supervision: bool,
}

/// An entry of the registry.
struct Architecture {
    /// Class name without its module path.
    name: &'static str,
    build: fn(&Value, Surroundings) -> Result<Graph, NetworkError>,
}

const REGISTRY: &[Architecture] = &[
    Architecture { name: plain_unet::NAME, build: plain_unet::build },
    Architecture { name: residual_unet::NAME, build: residual_unet::build },
];

/// Names of all architectures, without module paths.
pub fn known() -> impl Iterator<Item = &'static str> {
    REGISTRY.iter().map(|a| a.name)
}

/// The network `class_name` (with or without its module path, as in plans.json's
/// `network_class_name`) with the plans' `arch_kwargs`.
///
/// The parameters do not depend on `deep_supervision`: heads of all resolutions have weights, as in
/// the reference; without it the graph has the full-resolution output only.
pub fn build(
    class_name: &str,
    arch_kwargs: &Value,
    input_channels: usize,
    output_channels: usize,
    deep_supervision: bool,
) -> Result<Graph, NetworkError> {
    let short = class_name.rsplit('.').next().unwrap_or(class_name);
    let Some(architecture) = REGISTRY.iter().find(|a| a.name == short) else {
        return Err(NetworkError::UnknownArchitecture {
            found: class_name.into(),
            known: known().collect::<Vec<_>>().join(", "),
        });
    };
    (architecture.build)(arch_kwargs, Surroundings { input_channels, output_channels, deep_supervision })
}
