//! The network that a recipe makes of the plans' one.

use nnunet_data::plan::Configuration;
use nnunet_pyformats::json::Json;
use nnunet_recipe::{NetworkOverride, NetworkOverrideError};
use serde_json::Value;

/// The configuration with what `network` changes about its architecture.
///
/// # Errors
/// A change that does not fit the architecture.
pub fn with_network(
    mut configuration: Configuration,
    network: &NetworkOverride,
) -> Result<Configuration, NetworkOverrideError> {
    if network.is_empty() {
        return Ok(configuration);
    }
    let architecture = &mut configuration.architecture;
    let Value::Object(arguments) = architecture.kwargs_value() else { return Ok(configuration) };
    let (class, arguments) = network.apply(&architecture.network_class_name, &arguments)?;
    architecture.network_class_name = class;
    if let Json::Object(arguments) = Value::Object(arguments).into() {
        architecture.arch_kwargs = arguments;
    }
    Ok(configuration)
}
