//! A network that differs from that of the plans.

use serde_json::{Map, Value, json};

/// What differs from the plans' network.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NetworkOverride {
    /// Another class, e.g. `ResidualEncoderUNet`, with or without its module.
    pub class: Option<String>,
    /// Another norm of all layers: `instance` or `batch`.
    pub norm: Option<String>,
    /// Arguments of the class (`arch_kwargs`) by name, instead of the plans' or beside them.
    pub arguments: Map<String, Value>,
}

/// Plans whose network cannot be changed like this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkOverrideError {
    /// A norm that is not known.
    #[error("network.norm is {found:?}, expected one of: {}", NORMS.join(", "))]
    Norm {
        /// The norm.
        found: String,
    },
    /// The network has no norm that could be exchanged.
    #[error(
        "the recipe changes the norm of the network, but the plans' network has no {missing}: expected an architecture \
         of nnU-Net's own"
    )]
    Arguments {
        /// The argument.
        missing: &'static str,
    },
}

const NORMS: [&str; 2] = ["instance", "batch"];

impl NetworkOverride {
    /// Whether the network is that of the plans.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The class and arguments of the changed network, given those of the plans.
    ///
    /// # Errors
    /// A norm that is not known, or a network without one.
    pub fn apply(
        &self,
        class: &str,
        arguments: &Map<String, Value>,
    ) -> Result<(String, Map<String, Value>), NetworkOverrideError> {
        let mut arguments = arguments.clone();
        if let Some(norm) = &self.norm {
            set_norm(norm, &mut arguments)?;
        }
        arguments.extend(self.arguments.iter().map(|(name, value)| (name.clone(), value.clone())));
        Ok((self.class.clone().unwrap_or_else(|| class.to_owned()), arguments))
    }
}

/// Exchanges the norm as `nnUNetTrainerBN` does.
fn set_norm(norm: &str, arguments: &mut Map<String, Value>) -> Result<(), NetworkOverrideError> {
    let missing = |missing| NetworkOverrideError::Arguments { missing };
    if !arguments.contains_key("norm_op") {
        return Err(missing("norm_op"));
    }
    let conv = arguments.get("conv_op").and_then(Value::as_str).ok_or_else(|| missing("conv_op"))?;
    let dimensions = if conv.ends_with("2d") { 2 } else { 3 };
    let class = match norm {
        "batch" => format!("torch.nn.modules.batchnorm.BatchNorm{dimensions}d"),
        "instance" => format!("torch.nn.modules.instancenorm.InstanceNorm{dimensions}d"),
        other => return Err(NetworkOverrideError::Norm { found: other.to_owned() }),
    };
    arguments.insert("norm_op".to_owned(), Value::String(class));
    arguments.insert("norm_op_kwargs".to_owned(), json!({"eps": 1e-5, "affine": true}));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments() -> Map<String, Value> {
        let value = json!({"conv_op": "torch.nn.modules.conv.Conv2d", "norm_op": "x", "n_stages": 6});
        value.as_object().unwrap().clone()
    }

    #[test]
    fn the_norm_is_exchanged_as_in_the_reference_and_arguments_win() {
        let mut network = NetworkOverride { norm: Some("batch".to_owned()), ..NetworkOverride::default() };
        let (class, changed) = network.apply("PlainConvUNet", &arguments()).unwrap();
        assert_eq!((class.as_str(), &changed["n_stages"]), ("PlainConvUNet", &json!(6)));
        assert_eq!(changed["norm_op"], "torch.nn.modules.batchnorm.BatchNorm2d");
        assert_eq!(changed["norm_op_kwargs"], json!({"eps": 1e-5, "affine": true}));
        network.arguments.insert("norm_op_kwargs".to_owned(), json!({"eps": 1e-3}));
        assert_eq!(network.apply("x", &arguments()).unwrap().1["norm_op_kwargs"], json!({"eps": 1e-3}));
        network.norm = Some("layer".to_owned());
        let error = network.apply("x", &arguments()).unwrap_err().to_string();
        assert!(error.contains("\"layer\", expected one of: instance, batch"), "{error}");
        network.norm = Some("batch".to_owned());
        assert!(network.apply("x", &Map::new()).unwrap_err().to_string().contains("no norm_op"));
    }

    #[test]
    fn nothing_changes_by_default() {
        let network = NetworkOverride::default();
        assert!(network.is_empty());
        assert_eq!(network.apply("x", &arguments()).unwrap(), ("x".to_owned(), arguments()));
    }
}
