//! Descriptions, shapes and values that nobody should give: errors, never panics; and numbers that are not finite.
#![allow(clippy::unwrap_used)]

use crate::common;
use nnunet_exec_cpu::{CpuExecutor, CpuLevel, CpuOptions, Precision};
use nnunet_graph::graph::{GraphBuilder, InitialValue, Operation};
use nnunet_graph::{Graph, Parameters, Tensor, build, init, shapes};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Largest network and batch that are run.
const LARGEST: usize = 1 << 20;

fn options(recompute: bool) -> CpuOptions {
    CpuOptions { threads: 1, recompute, ..CpuOptions::default() }
}

/// Runs `graph` forward and backward where it is small enough; what happens must be a result or an error.
fn run(graph: Graph, shape: [usize; 5], recompute: bool) {
    if shapes::infer(&graph, shape).is_err() || graph.parameter_count() > LARGEST {
        return;
    }
    let executor = CpuExecutor::new(graph.clone(), init::initialise(&graph, 1), options(recompute));
    let Ok(mut executor) = executor else { return };
    let fits = |executor: &CpuExecutor, training| {
        executor.memory_estimate(shape, training).is_ok_and(|estimate| estimate.total() < 16 * LARGEST)
    };
    if !fits(&executor, false) {
        return;
    }
    let x = Tensor::zeros(shape);
    let _ = executor.run(&x);
    if fits(&executor, true)
        && let Ok(outputs) = executor.forward(&x)
    {
        executor.backward(&outputs.into_iter().map(Some).collect::<Vec<_>>()).unwrap();
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..20).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::collection::vec(0_u64..9, 0..4).prop_map(Value::from),
        prop::collection::vec(prop::collection::vec(0_u64..9, 0..4), 0..4).prop_map(Value::from),
        prop::sample::select(vec![
            "",
            "Conv2d",
            "torch.nn.Conv3d",
            "torch.nn.InstanceNorm2d",
            "torch.nn.InstanceNorm3d",
            "torch.nn.BatchNorm3d",
            "torch.nn.GroupNorm",
            "torch.nn.GELU",
            "torch.nn.ReLU",
            "torch.nn.Dropout3d",
            "BottleneckD",
            "BasicBlockD",
        ])
        .prop_map(Value::from),
        prop::sample::select(vec![
            json!({"num_groups": 2}),
            json!({"num_groups": u64::MAX}),
            json!({"eps": 1e-300}),
            json!({"momentum": null}),
            json!({"p": 0.0}),
            json!({"affine": false}),
            json!({"negative_slope": 1.0}),
            json!({"track_running_stats": false}),
        ]),
    ]
}

const KEYS: &[&str] = &[
    "n_stages",
    "features_per_stage",
    "conv_op",
    "kernel_sizes",
    "strides",
    "n_conv_per_stage",
    "n_blocks_per_stage",
    "n_conv_per_stage_decoder",
    "conv_bias",
    "norm_op",
    "norm_op_kwargs",
    "dropout_op",
    "dropout_op_kwargs",
    "nonlin",
    "nonlin_kwargs",
    "nonlin_first",
    "block",
    "bottleneck_channels",
    "stem_channels",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn descriptions_are_built_or_refused(
        changes in prop::collection::vec((prop::sample::select(KEYS), any_json()), 0..4),
        residual in any::<bool>(), channels in 1_usize..10, classes in 1_usize..20, recompute in any::<bool>(),
        shape in (1_usize..3, prop_oneof![Just(1_usize), Just(4), 1_usize..12], 1_usize..13, prop_oneof![Just(8_usize), 1_usize..13]),
    ) {
        let mut kwargs = common::plain_kwargs();
        kwargs["features_per_stage"] = json!([2, 4, 6]);
        if residual {
            let entries = kwargs.as_object_mut().unwrap();
            entries.remove("n_conv_per_stage");
            entries.insert("n_blocks_per_stage".into(), json!([1, 2, 1]));
        }
        for (key, value) in changes {
            kwargs[key] = value;
        }
        let class = if residual { "ResidualEncoderUNet" } else { "PlainConvUNet" };
        let deep = channels % 2 == 0;
        if let Ok(graph) = build(class, &kwargs, channels, classes, deep) {
            let (n, z, y, x) = shape;
            run(graph.clone(), [n, channels, z, y, x], recompute);
            run(graph, [n, channels, 8, 8, 8], recompute);
        }
    }

    #[test]
    fn shapes_are_inferred_or_refused(shape in prop::array::uniform5(prop_oneof![0_usize..20, Just(usize::MAX), any::<usize>()])) {
        let graph = build("PlainConvUNet", &common::plain_kwargs(), 1, 2, true).unwrap();
        for shape in [shape, [shape[0], 1, shape[2], shape[3], shape[4]]] {
            let _ = shapes::infer(&graph, shape);
            let parameters = Parameters::zeros(&graph);
            let executor = CpuExecutor::new(graph.clone(), parameters, options(true)).unwrap();
            let _ = (executor.memory_estimate(shape, false), executor.memory_estimate(shape, true));
        }
    }

    /// Chains of any operations on any earlier values.
    #[test]
    fn graphs_are_run_or_refused(
        steps in prop::collection::vec((0_usize..10, any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1_usize..5), 0..12),
        recompute in any::<bool>(), size in 1_usize..9,
    ) {
        let mut builder = GraphBuilder::new(2, 3);
        let mut values = vec![(builder.input(), 2_usize)];
        let he = InitialValue::HeNormal { fan_in: 10, slope: 0.0 };
        for (i, (kind, a, b, number)) in steps.into_iter().enumerate() {
            let ((input, channels), (other, other_channels)) = (*a.get(&values), *b.get(&values));
            let weight = |builder: &mut GraphBuilder, shape: Vec<usize>| builder.parameter(format!("p{i}"), shape, he);
            let operation = match kind {
                0 | 1 => {
                    let weight = weight(&mut builder, vec![number, channels, number, 3, 1]);
                    let (kernel, stride) = ([number, 3, 1], [1, number, 1]);
                    Operation::Convolution { input, weight, bias: None, output_channels: number, kernel, stride }
                }
                2 => {
                    let weight = weight(&mut builder, vec![channels, number, 1, 2, 1]);
                    Operation::TransposedConvolution { input, weight, bias: None, output_channels: number, stride: [1, 2, 1] }
                }
                3 => Operation::InstanceNorm { input, affine: None, epsilon: 1e-5 },
                4 => Operation::BatchNorm { input, affine: None, epsilon: 1e-5, running: None },
                5 => Operation::GroupNorm { input, groups: number, affine: None, epsilon: 1e-5 },
                6 => Operation::Gelu { input },
                7 => Operation::LeakyRelu { input, slope: number as f64 / 4.0 },
                8 => Operation::Concat { inputs: vec![input, other] },
                _ if number == 1 => Operation::Dropout { input, probability: 0.0 },
                _ if number == 2 => Operation::AveragePool { input, kernel: [1, 2, 1] },
                _ => Operation::Add { inputs: [input, other] },
            };
            let own = match kind {
                0..=2 => number,
                8 => channels + other_channels,
                _ => channels,
            };
            values.push((builder.push(format!("n{i}"), operation), own));
        }
        let (input, channels) = *values.last().unwrap();
        let weight = builder.parameter("head".into(), vec![3, channels, 1, 1, 1], he);
        let head = Operation::Convolution { input, weight, bias: None, output_channels: 3, kernel: [1; 3], stride: [1; 3] };
        let head = builder.push("head", head);
        run(builder.finish(vec![head]), [2, 2, 3, size, 4], recompute);
    }
}

/// A copy of the batch hands the memory of its gradient on; the batch needs none, and another reader must not write there.
#[test]
fn copies_of_the_batch_that_nobody_reads_do_no_harm() {
    let mut builder = GraphBuilder::new(2, 3);
    let he = InitialValue::HeNormal { fan_in: 10, slope: 0.0 };
    let batch = builder.input();
    let gelu = builder.push("gelu", Operation::Gelu { input: batch });
    let convolution = |builder: &mut GraphBuilder, name: &str, input, output_channels| {
        let weight = builder.parameter(name.into(), vec![output_channels, 2, 1, 1, 1], he);
        let (kernel, stride) = ([1; 3], [1; 3]);
        let operation = Operation::Convolution { input, weight, bias: None, output_channels, kernel, stride };
        builder.push(name, operation)
    };
    let value = convolution(&mut builder, "convolution", gelu, 2);
    let norm = |input| Operation::InstanceNorm { input, affine: None, epsilon: 1e-5 };
    let copy = builder.push("copy", norm(batch));
    builder.push("unread", norm(copy));
    let head = convolution(&mut builder, "head", value, 3);
    run(builder.finish(vec![head]), [2, 2, 3, 4, 4], false);
}

/// More than an address space holds, from an input of two kilobytes.
#[test]
fn memory_that_is_not_there_is_an_error() {
    let mut builder = GraphBuilder::new(1, 3);
    let one = InitialValue::Constant(1.0);
    let mut value = builder.input();
    for i in 0..3 {
        let weight = builder.parameter(format!("up{i}"), vec![1, 1, 4, 4, 4], one);
        let operation = Operation::TransposedConvolution {
            input: value,
            weight,
            bias: None,
            output_channels: 1,
            stride: [4; 3],
        };
        value = builder.push(format!("up{i}"), operation);
    }
    for (name, from, to) in [("wide", 1, 1 << 20), ("head", 1 << 20, 1)] {
        let weight = builder.parameter(name.into(), vec![to, from, 1, 1, 1], one);
        let operation = Operation::Convolution {
            input: value,
            weight,
            bias: None,
            output_channels: to,
            kernel: [1; 3],
            stride: [1; 3],
        };
        value = builder.push(name, operation);
    }
    let graph = builder.finish(vec![value]);
    let parameters = Parameters::zeros(&graph);
    let mut executor = CpuExecutor::new(graph, parameters, options(false)).unwrap();
    let text = executor.run(&Tensor::zeros([1, 1, 8, 8, 8])).unwrap_err().to_string();
    assert!(text.contains("cannot be allocated") && text.contains("smaller patch or batch"), "{text}");
}

/// A convolution to a whole block of channels without norm, its activation, and a head that adds them up.
fn passing(slope: f64) -> (Graph, Parameters) {
    const CHANNELS: usize = 16;
    let mut builder = GraphBuilder::new(1, 3);
    let one = InitialValue::Constant(1.0);
    let weight = builder.parameter("a".into(), vec![CHANNELS, 1, 1, 1, 3], one);
    let (input, kernel, stride) = (builder.input(), [1, 1, 3], [1; 3]);
    let convolution =
        Operation::Convolution { input, weight, bias: None, output_channels: CHANNELS, kernel, stride };
    let value = builder.push("a", convolution);
    let input = builder.push("nonlin", Operation::LeakyRelu { input: value, slope });
    let weight = builder.parameter("head".into(), vec![1, CHANNELS, 1, 1, 1], one);
    let head =
        Operation::Convolution { input, weight, bias: None, output_channels: 1, kernel: [1; 3], stride };
    let head = builder.push("head", head);
    let graph = builder.finish(vec![head]);
    let mut parameters = init::initialise(&graph, 0);
    // The middle tap alone: every voxel is seen by its neighbours with weight zero.
    parameters.set("a", &[CHANNELS, 1, 1, 1, 3], &[0.0, 1.0, 0.0].repeat(CHANNELS)).unwrap();
    (graph, parameters)
}

/// As PyTorch has it: infinities and NaN go through and turn neighbours, which read them with weight zero, to NaN; denormals
/// stay.
#[test]
fn what_is_not_finite_passes_through() {
    let (inf, nan, tiny) = (f32::INFINITY, f32::NAN, 1e-40_f32);
    let x = [1.0, 2.0, inf, 3.0, 4.0, 5.0, -inf, -1.0, -2.0, nan, -3.0, tiny, -tiny, 0.5];
    let one = [1.0, nan, inf, nan, 4.0, nan, -inf, nan, nan, nan, nan, tiny, -1.0005e-42, 0.5];
    for level in CpuLevel::available() {
        let (graph, parameters) = passing(0.01);
        let options = CpuOptions { threads: 1, precision: Precision::Exact, level, recompute: false };
        let mut executor = CpuExecutor::new(graph, parameters, options).unwrap();
        let input = Tensor { shape: [1, 1, 1, 1, x.len()], data: x.to_vec() };
        let found = executor.run(&input).unwrap().data;
        for (at, (found, expected)) in found.iter().zip(one.map(|v| 16.0 * v)).enumerate() {
            let same = (found.is_nan() && expected.is_nan())
                || *found == expected
                || (found - expected).abs() <= 16.0 * f32::from_bits(1);
            assert!(same, "{level:?} at {at}: {found}, PyTorch has {expected}");
        }
    }
}
