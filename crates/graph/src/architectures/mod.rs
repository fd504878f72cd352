//! Architectures by the names that plans give them: the graph that their arguments describe, and what planners have to know.
//!
//! A new one is a file here and a line in [`architectures`]; one from outside is an [`Architecture`] that the caller
//! registers:
//!
//! ```
//! use std::sync::Arc;
//!
//! use nnunet_graph::architectures::{Architecture, Surroundings, architectures, find};
//! use nnunet_graph::graph::{GraphBuilder, InitialValue, Operation, Stored};
//! use nnunet_graph::{Graph, NetworkError};
//! use serde_json::Value;
//!
//! /// A single convolution: each voxel is classified by its neighbours.
//! #[derive(Debug)]
//! struct OneConvolution;
//!
//! impl Architecture for OneConvolution {
//!     fn class_name(&self) -> &str {
//!         "my_networks.OneConvolution"
//!     }
//!
//!     fn graph(&self, _: &Value, surroundings: Surroundings) -> Result<Graph, NetworkError> {
//!         let Surroundings { input_channels, output_channels, .. } = surroundings;
//!         let mut builder = GraphBuilder::new(input_channels, 3);
//!         let he = InitialValue::HeNormal { fan_in: 27 * input_channels, slope: 0.0 };
//!         let shape = vec![output_channels, input_channels, 3, 3, 3];
//!         let weight = builder.parameter("conv.weight".to_owned(), shape, he);
//!         builder.state_entry("conv.weight".to_owned(), Stored::Parameter(weight));
//!         builder.heads("conv.");
//!         let input = builder.input();
//!         let (kernel, stride) = ([3; 3], [1; 3]);
//!         let conv = Operation::Convolution { input, weight, bias: None, output_channels, kernel, stride };
//!         let output = builder.push("conv", conv);
//!         Ok(builder.finish(vec![output]))
//!     }
//! }
//!
//! let mut known = architectures();
//! known.register("OneConvolution", "single convolutions", Arc::new(OneConvolution))?;
//! let surroundings = Surroundings { input_channels: 1, output_channels: 3, deep_supervision: false };
//! let graph = find("my_networks.OneConvolution", &known)?.graph(&Value::Null, surroundings)?;
//! assert!(graph.is_head("conv.weight"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod blocks;
mod kwargs;
mod plain_unet;
mod planning;
mod residual_unet;
mod style;

use std::fmt::Debug;
use std::sync::Arc;

use nnunet_base::parts::Named;
use serde_json::{Map, Value};

use crate::error::NetworkError;
use crate::graph::Graph;

pub use planning::{PlannedUNet, plain_feature_map_elements, residual_feature_map_elements, unet_arguments};

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

/// A family of networks: everything that planning, training and prediction ask about it.
///
/// What only planners ask has a default, which is right for a network that takes the arguments of `PlainConvUNet` and needs
/// about as much memory.
pub trait Architecture: Debug + Send + Sync {
    /// The class as planners write it into `network_class_name`, with the module that the Python package finds it in.
    fn class_name(&self) -> &str;

    /// The network that `arguments` (`arch_kwargs` of the plans) describe. Its parameters have the names of PyTorch's state
    /// dict; [`GraphBuilder::heads`](crate::graph::GraphBuilder::heads) says which of them depend on the classes.
    ///
    /// The parameters must not depend on `deep_supervision`: heads of all resolutions have weights, as in the reference;
    /// without it the graph has the full-resolution output only.
    ///
    /// # Errors
    /// Arguments that are not known or cannot be built.
    fn graph(&self, arguments: &Value, surroundings: Surroundings) -> Result<Graph, NetworkError>;

    /// The argument that takes the number of blocks or convolutions of each encoder stage.
    fn blocks_argument(&self) -> &str {
        plain_unet::BLOCKS
    }

    /// Arguments that planners write as they are, for networks of 2 or 3 `dimensions`.
    fn default_arguments(&self, dimensions: usize) -> Map<String, Value> {
        unet_arguments(dimensions)
    }

    /// Elements of all feature maps of `network` for one patch of `patch_size` voxels: planners cut patches and choose
    /// batch sizes by it.
    fn feature_map_elements(&self, network: &PlannedUNet<'_>, patch_size: &[usize]) -> u64 {
        plain_feature_map_elements(network, patch_size)
    }
}

/// Architectures by their class names without modules.
pub type Architectures = Named<Arc<dyn Architecture>>;

/// The architectures that are built in. The summaries say what a planner plans for that chooses them.
pub fn architectures() -> Architectures {
    let none: Architectures = Named::new("network class");
    none.with(plain_unet::NAME, "plain U-Nets", Arc::new(plain_unet::PlainUNet)).with(
        residual_unet::NAME,
        "U-Nets with residual encoders",
        Arc::new(residual_unet::ResidualUNet),
    )
}

/// The architecture that plans call `class_name`, with or without its module.
///
/// # Errors
/// [`NetworkError::UnknownArchitecture`] with the names that are known, closest first.
pub fn find<'a>(class_name: &str, known: &'a Architectures) -> Result<&'a dyn Architecture, NetworkError> {
    let short = class_name.rsplit('.').next().unwrap_or(class_name);
    known.get(short).map(|architecture| &**architecture).map_err(|mut unknown| {
        class_name.clone_into(&mut unknown.name);
        NetworkError::UnknownArchitecture(unknown)
    })
}

/// The network of a built-in architecture, with or without its module, for `arch_kwargs`. Programs that have architectures of
/// their own [find](find()) them instead.
///
/// # Errors
/// A class that is not built in; arguments that are not known or cannot be built.
pub fn build(
    class_name: &str,
    arch_kwargs: &Value,
    input_channels: usize,
    output_channels: usize,
    deep_supervision: bool,
) -> Result<Graph, NetworkError> {
    let surroundings = Surroundings { input_channels, output_channels, deep_supervision };
    find(class_name, &architectures())?.graph(arch_kwargs, surroundings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_found_with_and_without_their_modules() {
        let known = architectures();
        for (name, _, architecture) in known.iter() {
            assert_eq!(find(name, &known).unwrap().class_name(), architecture.class_name());
            assert!(architecture.class_name().ends_with(&format!(".{name}")));
            assert_eq!(
                find(architecture.class_name(), &known).unwrap().class_name(),
                architecture.class_name()
            );
        }
        assert_eq!(
            find("some.module.ResidualEncoderUnet", &known).unwrap_err().to_string(),
            "network class \"some.module.ResidualEncoderUnet\" is not known (did you mean ResidualEncoderUNet?); known: \
             ResidualEncoderUNet, PlainConvUNet. Check network_class_name in plans.json"
        );
    }
}
