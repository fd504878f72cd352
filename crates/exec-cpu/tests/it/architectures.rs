//! Graphs of the registered architectures against the reference's state dicts: names, aliases, order, shapes;
//! and the messages for descriptions that cannot be built.
#![allow(clippy::unwrap_used, clippy::panic)]

use crate::common;
use std::collections::BTreeMap;

use nnunet_graph::graph::Operation;
use nnunet_graph::{Graph, architectures, build, init, shapes};
use serde_json::{Value, json};

/// Names, order and shapes of a graph's state dict and parameters.
fn check_state_dict(graph: &Graph, state_dict: &serde_json::Map<String, Value>, parameters: &[String]) {
    let names: Vec<&str> = graph.state_dict_names().map(|(name, _)| name).collect();
    let expected: Vec<&str> = state_dict.keys().map(String::as_str).collect();
    assert_eq!(names, expected);
    for entry in graph.state_entries() {
        let shape: Vec<usize> = serde_json::from_value(state_dict[&entry.name].clone()).unwrap();
        assert_eq!(graph.stored(entry.stored).1, shape, "{}", entry.name);
    }
    let order: Vec<&str> = graph.parameters().iter().map(|p| p.name.as_str()).collect();
    assert_eq!(order, parameters);
}

#[test]
fn state_dicts_of_small_networks() {
    for name in common::CASES.into_iter().chain(common::DROPOUT_CASES) {
        let case = common::case(name);
        let names: Vec<String> = serde_json::from_value(case.description["parameters"].clone()).unwrap();
        check_state_dict(&case.graph(true), case.description["state_dict"].as_object().unwrap(), &names);
        // Deep supervision changes the outputs, not the parameters.
        assert_eq!(case.graph(true).parameters(), case.graph(false).parameters());
        assert_eq!(case.graph(true).outputs().len(), 2);
        assert_eq!(case.graph(false).outputs().len(), 1);
    }
}

#[test]
fn state_dicts_of_the_reference_models() {
    for name in ["plain3d", "plain2d", "resenc3d", "regions3d", "ignore3d", "lowres_nobatchdice"] {
        let Some(step) = common::train_step(name) else { continue };
        let shapes: BTreeMap<String, Vec<usize>> =
            step.weights.iter().map(|(k, a)| (k.clone(), a.shape.clone())).collect();
        let entries = step.graph.state_entries();
        let found: BTreeMap<String, Vec<usize>> =
            entries.iter().map(|e| (e.name.clone(), step.graph.stored(e.stored).1.to_vec())).collect();
        assert!(shapes.iter().all(|(k, s)| found.get(k) == Some(s)), "{name}: names or shapes differ");
        let with_encoder: Vec<&String> =
            found.keys().filter(|k| !k.starts_with("decoder.encoder.")).collect();
        assert_eq!(
            with_encoder.len(),
            shapes.keys().filter(|k| !k.starts_with("decoder.encoder.")).count(),
            "{name}"
        );
    }
}

#[test]
fn published_plans_can_be_built() {
    let Some(folder) = nnunet_testkit::shared::shared_path("reference/plans_public") else { return };
    let mut built = 0;
    for dataset in std::fs::read_dir(folder).unwrap() {
        let dataset = dataset.unwrap().path();
        if !dataset.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(dataset).unwrap() {
            let path = file.unwrap().path();
            let Ok(plans) =
                serde_json::from_str::<Value>(&std::fs::read_to_string(&path).unwrap_or_default())
            else {
                continue;
            };
            let Some(configurations) = plans["configurations"].as_object() else { continue };
            for (name, configuration) in configurations {
                let architecture = &configuration["architecture"];
                if architecture.is_null() {
                    continue;
                }
                let class = architecture["network_class_name"].as_str().unwrap();
                let graph = build(class, &architecture["arch_kwargs"], 1, 3, true)
                    .unwrap_or_else(|e| panic!("{} {name}: {e}", path.display()));
                let patch: Vec<usize> = serde_json::from_value(configuration["patch_size"].clone()).unwrap();
                let mut shape = [2, 1, 1, 1, 1];
                shape[5 - patch.len()..].copy_from_slice(&patch);
                let inferred =
                    shapes::infer(&graph, shape).unwrap_or_else(|e| panic!("{} {name}: {e}", path.display()));
                assert_eq!(inferred[graph.outputs()[0].0], [2, 3, shape[2], shape[3], shape[4]]);
                built += 1;
            }
        }
    }
    assert!(built > 50, "only {built} plans found");
}

#[test]
fn kwargs_take_numbers_for_all_stages() {
    let mut kwargs = common::plain_kwargs();
    kwargs["kernel_sizes"] = json!(3);
    kwargs["strides"] = json!([1, 2, 2]);
    kwargs["n_conv_per_stage"] = json!(2);
    kwargs["n_conv_per_stage_decoder"] = json!(2);
    assert_eq!(
        build("PlainConvUNet", &kwargs, 1, 2, true),
        build("PlainConvUNet", &common::plain_kwargs(), 1, 2, true)
    );
}

fn message(class: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut kwargs = common::plain_kwargs();
    change(&mut kwargs);
    build(class, &kwargs, 1, 2, true).unwrap_err().to_string()
}

#[test]
fn faults_name_the_entry_and_what_is_known() {
    let class = "dynamic_network_architectures.architectures.unet.PlainConvUNet";
    let unknown = message("some.module.SwinUNETR", |_| {});
    assert!(unknown.contains("some.module.SwinUNETR"), "{unknown}");
    for name in architectures::architectures().names() {
        assert!(unknown.contains(name), "{unknown}");
    }
    let text = message(class, |k| k["n_block_per_stage"] = json!(2));
    assert!(text.contains("n_block_per_stage") && text.contains("n_conv_per_stage_decoder"), "{text}");
    let cases: &[(&str, Value, &str)] = &[
        ("n_stages", json!(1), "from 2"),
        ("n_stages", json!(1e18), "from 2"),
        ("n_stages", json!("3"), "whole number"),
        ("features_per_stage", json!([4, 8]), "list of 3"),
        ("features_per_stage", json!([4, 8, 100000]), "from 1 to 16384"),
        ("features_per_stage", json!([4, 8, 2.5]), "whole number"),
        ("kernel_sizes", json!([[3, 3], [3, 3], [3, 3]]), "lists of 3"),
        ("kernel_sizes", json!([[3, 3, 9], [3, 3, 3], [3, 3, 3]]), "from 1 to 7"),
        ("strides", json!([[1, 1, 1], [2, 2, 0], [2, 2, 2]]), "from 1 to 4"),
        ("conv_op", json!("torch.nn.modules.conv.Conv1d"), "Conv3d"),
        ("norm_op", json!("torch.nn.modules.instancenorm.InstanceNorm2d"), "InstanceNorm3d"),
        ("norm_op", json!("torch.nn.modules.batchnorm.BatchNorm2d"), "BatchNorm3d"),
        ("norm_op", json!("torch.nn.LayerNorm"), "GroupNorm"),
        ("norm_op", json!("torch.nn.GroupNorm"), "num_groups"),
        ("norm_op_kwargs", json!({"affine": 1}), "true or false"),
        ("norm_op_kwargs", json!({"track_running_stats": true}), "false"),
        ("norm_op_kwargs", json!({"epsilon": 1e-5}), "eps, affine"),
        ("norm_op_kwargs", json!({"eps": -1.0}), "above zero"),
        ("dropout_op", json!("torch.nn.AlphaDropout"), "torch.nn.Dropout3d"),
        ("nonlin", json!("torch.nn.Mish"), "torch.nn.GELU"),
        ("nonlin_kwargs", json!({"negative_slope": 2.0}), "from 0 to 1"),
        ("conv_bias", json!(1), "true or false"),
        ("n_conv_per_stage", Value::Null, "whole number"),
        ("nonlin_first", json!("yes"), "true or false"),
        ("deep_supervision", json!(2), "true or false"),
    ];
    for (key, value, expected) in cases {
        let text = message(class, |k| k[*key] = value.clone());
        assert!(text.contains(key) && text.contains(expected), "{key} = {value}: {text}");
    }
    let pairs: &[(&str, &str, Value, &str)] = &[
        ("norm_op", "torch.nn.BatchNorm3d", json!({"momentum": 2}), "from 0 to 1"),
        ("norm_op", "torch.nn.BatchNorm3d", json!({"num_groups": 2}), "momentum"),
        ("norm_op", "torch.nn.GroupNorm", json!({"num_groups": 0}), "at least 1"),
        ("norm_op", "torch.nn.GroupNorm", json!({}), "num_groups"),
        ("nonlin", "torch.nn.GELU", json!({"approximate": "tanh"}), "none"),
        ("nonlin", "torch.nn.GELU", json!({"inplace": true}), "approximate"),
        ("dropout_op", "torch.nn.Dropout", json!({"p": 1.5}), "from 0 to 1"),
    ];
    for (key, class_name, value, expected) in pairs {
        let text = message(class, |k| {
            k[*key] = json!(class_name);
            k[format!("{key}_kwargs")] = value.clone();
        });
        assert!(text.contains(expected), "{class_name} {value}: {text}");
    }
    let text = build("PlainConvUNet", &json!([1]), 1, 2, true).unwrap_err().to_string();
    assert!(text.contains("object"), "{text}");
}

#[test]
fn shapes_that_do_not_meet_are_errors() {
    let graph = build("PlainConvUNet", &common::plain_kwargs(), 1, 2, true).unwrap();
    assert!(shapes::infer(&graph, [1, 1, 8, 8, 8]).is_ok());
    let text = shapes::infer(&graph, [1, 1, 8, 9, 8]).unwrap_err().to_string();
    assert!(text.contains("decoder.stages.0.concat") && text.contains("patch size"), "{text}");
    let text = shapes::infer(&graph, [1, 2, 8, 8, 8]).unwrap_err().to_string();
    assert!(text.contains("1 channels"), "{text}");
    let text = shapes::infer(&graph, [1, 1, 4, 4, 4]).unwrap_err().to_string();
    assert!(text.contains("more than one voxel"), "{text}");
    let mut kwargs = common::plain_kwargs();
    kwargs["norm_op"] = json!("torch.nn.GroupNorm");
    kwargs["norm_op_kwargs"] = json!({"num_groups": 8});
    let grouped = build("PlainConvUNet", &kwargs, 1, 2, true).unwrap();
    let text = shapes::infer(&grouped, [1, 1, 8, 8, 8]).unwrap_err().to_string();
    assert!(text.contains("4 channels in 8 groups"), "{text}");
    assert!(shapes::infer(&graph, [0, 1, 8, 8, 8]).is_err());
    assert!(shapes::infer(&graph, [usize::MAX / 2, 1, 8, 8, 8]).is_err());
}

#[test]
fn initial_values_of_the_residual_network() {
    let case = common::case("residual3d");
    let graph = case.graph(true);
    let parameters = init::initialise(&graph, 3);
    let zero = |name: &str| parameters.get(name).unwrap().value().iter().all(|&v| v == 0.0);
    let one = |name: &str| parameters.get(name).unwrap().value().iter().all(|&v| v == 1.0);
    assert!(one("encoder.stages.1.blocks.0.conv1.norm.weight"));
    assert!(zero("encoder.stages.1.blocks.0.conv2.norm.weight"));
    assert!(zero("encoder.stages.1.blocks.0.conv2.norm.bias"));
    assert!(one("encoder.stages.1.blocks.0.skip.1.norm.weight"));
    assert!(one("encoder.stem.convs.0.norm.weight"));
    assert!(zero("decoder.transpconvs.0.bias") && zero("decoder.seg_layers.1.bias"));
    // The projection of the shortcut has no bias, whatever conv_bias says.
    assert!(parameters.get("encoder.stages.1.blocks.0.skip.1.conv.bias").is_none());
    let adds = graph.nodes().iter().filter(|n| matches!(n.operation, Operation::Add { .. })).count();
    assert_eq!(adds, 4);
}
