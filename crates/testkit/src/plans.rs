//! Plans whose networks train in milliseconds.

use serde_json::{Value, json};

/// Makes the network of a configuration in plans.json a tiny one.
pub fn shrink(configuration: &mut Value) {
    configuration["patch_size"] = json!([16, 16, 16]);
    configuration["batch_size"] = json!(2);
    let arguments = &mut configuration["architecture"]["arch_kwargs"];
    arguments["n_stages"] = json!(2);
    arguments["features_per_stage"] = json!([8, 16]);
    arguments["kernel_sizes"] = json!([[3, 3, 3], [3, 3, 3]]);
    arguments["strides"] = json!([[1, 1, 1], [2, 2, 2]]);
    arguments["n_conv_per_stage"] = json!([1, 1]);
    arguments["n_conv_per_stage_decoder"] = json!([1]);
}
