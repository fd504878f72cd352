//! nnUNetPlans.json of every age, each of its configurations and the network it describes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nnunet::json::Json;
use nnunet::plan::Plans;

fuzz_target!(|text: &str| {
    let Ok(document) = Json::parse(text) else { return };
    let Ok(plans) = Plans::from_json(document, "plans.json") else { return };
    for name in plans.configuration_names() {
        let Ok(configuration) = plans.configuration(name) else { continue };
        let class = &configuration.architecture.network_class_name;
        let _ = nnunet_graph::build(class, &configuration.architecture.kwargs_value(), 1, 2, true);
    }
});
