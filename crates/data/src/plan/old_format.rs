//! Configurations of plans written before the `architecture` entry existed: the network was
//! described by keys of the configuration itself. They are converted on reading, as the reference does.

use super::values::{Document, shown, whole};
use crate::planner::PlanError;
use nnunet_pyformats::json::Json;

const OLD_KEYS: [&str; 8] = [
    "UNet_class_name",
    "UNet_base_num_features",
    "n_conv_per_stage_encoder",
    "n_conv_per_stage_decoder",
    "num_pool_per_axis",
    "pool_op_kernel_sizes",
    "conv_kernel_sizes",
    "unet_max_num_features",
];

/// Replaces the old keys of a configuration (inheritance resolved) by `architecture`. Leaves a
/// configuration that has one already as it is.
pub(super) fn upgrade(configuration: &mut Document, place: &str) -> Result<(), PlanError> {
    if configuration.contains_key("architecture") {
        return Ok(());
    }
    let missing = |key: &str| {
        PlanError::value(
            place,
            key,
            "is missing, and so is `architecture`: the plans are neither of the present nor of the old format; \
             plan the dataset again",
        )
    };
    let get = |key: &str| configuration.get(key).ok_or_else(|| missing(key));

    let class = get("UNet_class_name")?;
    let (network_class_name, blocks_key) = match class.as_str() {
        Some("PlainConvUNet") => {
            ("dynamic_network_architectures.architectures.unet.PlainConvUNet", "n_conv_per_stage")
        }
        Some("ResidualEncoderUNet") => (
            "dynamic_network_architectures.architectures.residual_unet.ResidualEncoderUNet",
            "n_blocks_per_stage",
        ),
        _ => {
            return Err(PlanError::value(
                place,
                "UNet_class_name",
                format!("is {}; expected PlainConvUNet or ResidualEncoderUNet", shown(class)),
            ));
        }
    };
    let blocks = get("n_conv_per_stage_encoder")?;
    let stages = blocks.as_array().map(<[Json]>::len).filter(|n| (1..=64).contains(n)).ok_or_else(|| {
        let problem = format!("is {}; expected a list", shown(blocks));
        PlanError::value(place, "n_conv_per_stage_encoder", problem)
    })?;
    let count = |key: &str| {
        let value = get(key)?;
        whole(value, 1 << 20).ok_or_else(|| {
            PlanError::value(place, key, format!("is {}; expected a whole number", shown(value)))
        })
    };
    let base = count("UNet_base_num_features")?;
    let maximum = count("unet_max_num_features")?;
    let features: Vec<usize> =
        (0..stages as u32).map(|i| base.saturating_mul(2usize.saturating_pow(i)).min(maximum)).collect();
    let dimensions = get("patch_size")?.as_array().map_or(0, <[Json]>::len);

    let norm_options = Json::object([("eps", Json::Float(1e-5)), ("affine", true.into())]);
    let kwargs = Json::object([
        ("n_stages", stages.into()),
        ("features_per_stage", features.into()),
        ("conv_op", format!("torch.nn.modules.conv.Conv{dimensions}d").into()),
        ("kernel_sizes", get("conv_kernel_sizes")?.clone()),
        ("strides", get("pool_op_kernel_sizes")?.clone()),
        (blocks_key, blocks.clone()),
        ("n_conv_per_stage_decoder", get("n_conv_per_stage_decoder")?.clone()),
        ("conv_bias", true.into()),
        ("norm_op", format!("torch.nn.modules.instancenorm.InstanceNorm{dimensions}d").into()),
        ("norm_op_kwargs", norm_options),
        ("dropout_op", Json::Null),
        ("dropout_op_kwargs", Json::Null),
        ("nonlin", "torch.nn.LeakyReLU".into()),
        ("nonlin_kwargs", Json::object([("inplace", Json::Bool(true))])),
    ]);
    let architecture = Json::object([
        ("network_class_name", network_class_name.into()),
        ("arch_kwargs", kwargs),
        ("_kw_requires_import", ["conv_op", "norm_op", "dropout_op", "nonlin"].into()),
    ]);
    for key in OLD_KEYS {
        configuration.shift_remove(key);
    }
    configuration.insert("architecture".to_owned(), architecture);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn old() -> Document {
        let value = Json::from(serde_json::json!({
            "data_identifier": "nnUNetPlans_3d_fullres", "patch_size": [40, 56, 40],
            "UNet_class_name": "PlainConvUNet", "UNet_base_num_features": 32, "unet_max_num_features": 100,
            "n_conv_per_stage_encoder": [2, 2, 2], "n_conv_per_stage_decoder": [2, 2],
            "num_pool_per_axis": [2, 2, 2], "pool_op_kernel_sizes": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
            "conv_kernel_sizes": [[3, 3, 3], [3, 3, 3], [3, 3, 3]]
        }));
        value.as_object().unwrap().clone()
    }

    #[test]
    fn old_keys_become_an_architecture() {
        let mut configuration = old();
        upgrade(&mut configuration, "test").unwrap();
        let kwargs = configuration["architecture"].get("arch_kwargs").unwrap();
        assert_eq!(kwargs.get("features_per_stage"), Some(&[32, 64, 100].into()));
        assert_eq!(kwargs.get("n_conv_per_stage"), Some(&[2, 2, 2].into()));
        assert_eq!(kwargs.get("conv_op"), Some(&"torch.nn.modules.conv.Conv3d".into()));
        assert!(OLD_KEYS.iter().all(|key| !configuration.contains_key(*key)));
        let once = configuration.clone();
        upgrade(&mut configuration, "test").unwrap();
        assert_eq!(configuration, once);
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut configuration = old();
        configuration.shift_remove("conv_kernel_sizes");
        let text = upgrade(&mut configuration, "plans.json, 3d_fullres").unwrap_err().to_string();
        assert!(text.contains("plans.json, 3d_fullres") && text.contains("conv_kernel_sizes"), "{text}");
        let mut configuration = old();
        configuration.insert("UNet_class_name".into(), "Swin".into());
        let text = upgrade(&mut configuration, "plans.json").unwrap_err().to_string();
        assert!(text.contains("Swin") && text.contains("ResidualEncoderUNet"), "{text}");
    }
}
