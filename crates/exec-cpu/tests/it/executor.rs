//! The CPU executor against the reference: outputs and parameter gradients of small networks (goldens made in f64)
//! and of the reference's models and training steps; determinism, memory, and the messages for misuse.

#![allow(clippy::unwrap_used, clippy::panic)]

use crate::common;
use nnunet_checkpoint::Checkpoint;
use nnunet_exec_cpu::{CpuExecutor, CpuLevel, CpuOptions, Precision};
use nnunet_graph::optimiser::{Optimiser, Sgd, SgdOptions, clip_gradient_norm};
use nnunet_graph::{Tensor, build, init};
use nnunet_testkit::npy::{read_npy, read_npz};
use nnunet_testkit::shared::shared_path;

const LEVELS: [CpuLevel; 4] = [CpuLevel::Portable, CpuLevel::Avx2, CpuLevel::Avx512, CpuLevel::Avx512Bf16];

fn options(level: CpuLevel, threads: usize, precision: Precision) -> CpuOptions {
    CpuOptions { threads, precision, level, recompute: false }
}

/// Largest difference relative to the largest magnitude, for outputs and gradients of f32 arithmetic. The transforms of
/// [`Precision::Fast`] round a few times more than direct sums do. With [`Precision::Bf16`] each of a dozen layers adds an error of up to
/// 2^-9 of its values, twice with products of bf16, which norms over the few voxels of these networks enlarge: measured are up to
/// 1.9e-2.
fn tolerance(precision: Precision) -> f64 {
    match precision {
        Precision::Exact => 2e-5,
        Precision::Fast => 5e-5,
        Precision::Relaxed => 2e-4,
        Precision::Bf16 => 3e-2,
    }
}

/// The root mean square error of all gradients of bf16 activations, relative to theirs, for products of f32. Where the rounding of a
/// value changes its sign the slope of its activation jumps, and in networks of this size each voxel counts: noise of 2^-9 on their
/// weights and inputs moves the gradients of f32 arithmetic as far, by up to 0.21. GELU has no such jump.
fn check_golden_gradients(case: &common::Case, executor: &CpuExecutor, what: &str) {
    let expected = executor.parameters().iter().map(|(name, _)| case.arrays[&format!("g:{name}")].f32());
    let error = difference(&gradients(executor), &expected.collect::<Vec<_>>().concat());
    let limit = if what.contains("gelu") { 3e-2 } else { 0.3 };
    assert!(error < limit, "{what}: gradients differ by {error:e}");
}

/// The gradients of all parameters.
fn gradients(executor: &CpuExecutor) -> Vec<f32> {
    let all = executor.parameters().iter().map(|(_, parameter)| parameter.gradient().unwrap().to_vec());
    all.collect::<Vec<_>>().concat()
}

/// The root mean square difference, relative to the size of `expected`.
fn difference(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let square = |value: f32| f64::from(value).powi(2);
    let error: f64 = found.iter().zip(expected).map(|(found, expected)| square(found - expected)).sum();
    (error / expected.iter().copied().map(square).sum::<f64>()).sqrt()
}

/// Gradients of bf16 arithmetic against those of exact arithmetic, which are held to the goldens: their root mean square difference,
/// relative to their size. The networks are the goldens' with activations that hardly bend: where rounding changes the sign of a value the
/// slope of a LeakyReLU jumps, and in networks of this size each voxel counts (noise of 2^-9 on weights and inputs moves the gradients
/// of f32 arithmetic by up to 0.2 to 0.6). GELU has no such jump and stays.
fn check_rounded_gradients(name: &str, options: CpuOptions) {
    let mut case = common::case(name);
    let kwargs = &mut case.description["arch_kwargs"];
    if !kwargs["nonlin"].as_str().unwrap().ends_with("GELU") {
        kwargs["nonlin"] = "torch.nn.LeakyReLU".into();
        kwargs["nonlin_kwargs"] = serde_json::json!({"negative_slope": 0.99, "inplace": true});
    }
    let trained = |precision: Precision| {
        let options = CpuOptions { precision, ..options };
        let mut executor = CpuExecutor::new(case.graph(true), case.parameters(), options).unwrap();
        let outputs = executor.forward(&case.tensor("x")).unwrap().len();
        let of_outputs: Vec<_> = (0..outputs).map(|i| Some(case.tensor(&format!("d{i}")))).collect();
        executor.backward(&of_outputs).unwrap();
        executor
    };
    let executor = trained(options.precision);
    let error = difference(&gradients(&executor), &gradients(&trained(Precision::Exact)));
    // Measured: 1.9e-2 and 3.3e-2 with products of bf16, 1.7e-2 and 2.2e-2 with those of f32.
    let limit = match (name.contains("gelu"), executor.level() == CpuLevel::Avx512Bf16) {
        (true, true) => 4e-2,
        (true, false) => 3e-2,
        (false, _) => 2.5e-2,
    };
    assert!(error < limit, "{name} {options:?}: gradients differ by {error:e}");
}

fn check_case(name: &str, options: CpuOptions) {
    let case = common::case(name);
    let mut executor = CpuExecutor::new(case.graph(true), case.parameters(), options).unwrap();
    let what = |part: &str| format!("{name} {options:?}: {part}");
    let x = case.tensor("x");
    let outputs = executor.forward(&x).unwrap();
    let run = executor.run(&x).unwrap();
    match options.precision {
        _ if case.arrays.contains_key("e0") => check_evaluation(&case, &mut executor, &x, options.precision),
        Precision::Exact => assert_eq!(run, outputs[0], "{}", what("inference and training")),
        // The two may use other algorithms.
        precision => {
            assert!(common::relative_error(&run.data, &outputs[0].data) < tolerance(precision))
        }
    }
    let mut gradients = Vec::new();
    for (i, output) in outputs.iter().enumerate() {
        let expected = case.tensor(&format!("y{i}"));
        assert_eq!(output.shape, expected.shape);
        let error = common::relative_error(&output.data, &expected.data);
        assert!(
            error < tolerance(options.precision),
            "{}",
            what(&format!("output {i} differs by {error:e}"))
        );
        gradients.push(Some(case.tensor(&format!("d{i}"))));
    }
    executor.forward(&x).unwrap();
    executor.backward(&gradients).unwrap();
    if options.precision == Precision::Bf16 {
        if executor.level() < CpuLevel::Avx512Bf16 {
            check_golden_gradients(&case, &executor, &what("bf16"));
        }
        return check_rounded_gradients(name, options);
    }
    // One scale for all: the gradient of a bias in front of a norm is zero but for rounding.
    let expected = |name: &str| case.arrays[&format!("g:{name}")].f32();
    let names: Vec<String> = executor.parameters().iter().map(|(n, _)| n.to_owned()).collect();
    let scale = names.iter().flat_map(|n| expected(n)).fold(0f32, |m, v| m.max(v.abs()));
    for name in names {
        let found = executor.parameters().get(&name).unwrap().gradient().unwrap();
        let expected = expected(&name);
        let own = expected.iter().fold(1e-3 * scale, |m, v| m.max(v.abs()));
        for (f, e) in found.iter().zip(&expected) {
            let error = f64::from((f - e).abs() / own);
            assert!(
                error < tolerance(options.precision),
                "{}",
                what(&format!("gradient of {name} differs by {error:e}"))
            );
        }
    }
}

/// Running statistics after one training pass, and outputs that are computed with them.
fn check_evaluation(case: &common::Case, executor: &mut CpuExecutor, x: &Tensor, precision: Precision) {
    for (name, buffer) in executor.parameters().buffers() {
        let error = common::relative_error(buffer.value(), &case.arrays[&format!("a:{name}")].f32());
        assert!(error < tolerance(precision), "{name} differs by {error:e}");
    }
    let mut outputs = Vec::new();
    executor.evaluate_into(x, &mut outputs).unwrap();
    outputs.push(executor.run(x).unwrap());
    for (i, output) in outputs.iter().enumerate() {
        let expected = case.tensor(&format!("e{}", i % 2));
        let error = common::relative_error(&output.data, &expected.data);
        assert!(error < tolerance(precision), "output {i} in evaluation differs by {error:e}");
    }
    let count = |executor: &CpuExecutor| executor.parameters().clone();
    let before = count(executor);
    executor.evaluate_into(x, &mut outputs).unwrap();
    assert!(before == count(executor), "evaluation changes the weights");
}

#[test]
fn dropouts_change_nothing_in_prediction_and_are_not_trained() {
    for name in common::DROPOUT_CASES {
        let case = common::case(name);
        let mut executor =
            CpuExecutor::new(case.graph(true), case.parameters(), CpuOptions::default()).unwrap();
        let x = case.tensor("x");
        let output = executor.run(&x).unwrap();
        let error = common::relative_error(&output.data, &case.tensor("e0").data);
        assert!(error < tolerance(Precision::Fast), "{name} differs by {error:e}");
        let text = executor.forward(&x).unwrap_err().to_string();
        assert!(text.contains("dropout") && text.contains("dropout_op_kwargs"), "{text}");
        assert_eq!(executor.memory_estimate(x.shape, true).unwrap_err().to_string(), text);
    }
}

#[test]
fn batch_norm_of_one_value_is_not_trained() {
    let case = common::case("plain3d_batch");
    let mut executor = CpuExecutor::new(case.graph(true), case.parameters(), CpuOptions::default()).unwrap();
    let x = ramp([1, 1, 4, 4, 4]);
    executor.run(&x).unwrap();
    let text = executor.forward(&x).unwrap_err().to_string();
    assert!(text.contains("one value per channel") && text.contains("larger batch"), "{text}");
}

/// Recomputation changes memory, not results: outputs, gradients and running statistics are those without it, bit for bit.
#[test]
fn recomputed_gradients_are_equal_to_the_bit() {
    for name in common::CASES {
        let case = common::case(name);
        let x = case.tensor("x");
        let d: Vec<_> = (0..2).map(|i| Some(case.tensor(&format!("d{i}")))).collect();
        for level in [CpuLevel::Portable, CpuLevel::detect()] {
            for precision in [Precision::Fast, Precision::Bf16] {
                let run = |recompute: bool, d: &[Option<Tensor>]| {
                    let options = CpuOptions { recompute, ..options(level, 2, precision) };
                    let mut executor =
                        CpuExecutor::new(case.graph(true), case.parameters(), options).unwrap();
                    let outputs = executor.forward(&x).unwrap();
                    executor.backward(d).unwrap();
                    (outputs, executor.into_parameters())
                };
                let what = format!("{name} {precision:?} at {level:?}");
                assert!(run(false, &d) == run(true, &d), "{what}");
                let lowest = [None, d[1].clone()];
                assert!(run(false, &lowest) == run(true, &lowest), "{what}, lowest head only");
            }
        }
    }
}

#[test]
fn outputs_and_gradients_of_small_networks() {
    for name in common::CASES {
        for level in LEVELS {
            for precision in [Precision::Exact, Precision::Fast, Precision::Relaxed, Precision::Bf16] {
                check_case(name, options(level, 2, precision));
            }
        }
    }
}

/// Checkpoints of the reference, read as they are: every head, at the tolerance of the whole program.
#[test]
fn outputs_of_the_reference_models() {
    let names =
        ["plain3d", "plain2d", "resenc3d", "regions3d", "ignore3d", "cascade_lowres", "cascade_fullres"];
    for name in names {
        let Some(folder) = shared_path(&format!("reference/models/{name}")) else { continue };
        let read = |file: &str| -> serde_json::Value {
            serde_json::from_str(&std::fs::read_to_string(folder.join(file)).unwrap()).unwrap()
        };
        let configuration = read("meta.json")["configuration"].as_str().unwrap().to_owned();
        let configurations = &read("model/plans.json")["configurations"];
        let own = &configurations[&configuration];
        let heir = own["inherits_from"].as_str().map_or(own, |parent| &configurations[parent]);
        let architecture = &heir["architecture"];
        let array = |file: &str| common::tensor(&read_npy(folder.join("forward").join(file)));
        let (x, y) = (array("x.npy"), array("y.npy"));
        let class = architecture["network_class_name"].as_str().unwrap();
        let graph = build(class, &architecture["arch_kwargs"], x.shape[1], y.shape[1], true).unwrap();
        let fold = if name == "cascade_lowres" { "fold_all" } else { "fold_0" };
        let file = folder.join("model").join(fold).join("checkpoint_final.pth");
        let weights = Checkpoint::read_for_inference(&file).unwrap().weights;
        let keys: Vec<&str> = weights.keys().map(|(key, _)| key).collect();
        assert_eq!(keys, graph.state_dict_names().map(|(key, _)| key).collect::<Vec<_>>(), "{name}");
        let parameters = weights.into_parameters(&graph).unwrap();
        for precision in [Precision::Exact, Precision::Fast] {
            let options = options(CpuLevel::detect(), 2, precision);
            let mut executor = CpuExecutor::new(graph.clone(), parameters.clone(), options).unwrap();
            let mut found = executor.forward(&x).unwrap();
            found.push(executor.run(&x).unwrap());
            let expected = [array("ds0.npy"), array("ds1.npy"), y.clone()];
            for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
                assert_eq!(found.shape, expected.shape);
                let error = common::relative_error(&found.data, &expected.data);
                assert!(error < 1e-4, "{name} {precision:?} output {i} differs by {error:e}");
            }
        }
    }
}

/// Gradients against central differences of the forward pass along random directions.
#[test]
fn gradients_match_finite_differences() {
    for name in ["plain3d", "residual3d", "plain2d_not_affine"] {
        let case = common::case(name);
        let mut executor =
            CpuExecutor::new(case.graph(true), case.parameters(), CpuOptions::default()).unwrap();
        let x = case.tensor("x");
        let d: Vec<Tensor> = (0..2).map(|i| case.tensor(&format!("d{i}"))).collect();
        let loss = |executor: &mut CpuExecutor| -> f64 {
            let outputs = executor.forward(&x).unwrap();
            let dot = |(y, d): (&Tensor, &Tensor)| -> f64 {
                y.data.iter().zip(&d.data).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
            };
            outputs.iter().zip(&d).map(dot).sum()
        };
        executor.forward(&x).unwrap();
        executor.backward(&d.iter().cloned().map(Some).collect::<Vec<_>>()).unwrap();
        let gradients = executor.parameters().clone();
        for (name_p, parameter) in gradients.iter() {
            let g = parameter.gradient().unwrap();
            let norm = g.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
            if norm < 1e-2 {
                continue;
            }
            // Along the gradient itself the slope is its norm.
            let step = 4e-4 / norm;
            let mut shifted = |sign: f64| {
                let target = executor.parameters_mut().get_mut(name_p).unwrap().value_mut();
                for ((t, &v), &g) in target.iter_mut().zip(parameter.value()).zip(g) {
                    *t = (f64::from(v) + sign * step * f64::from(g)) as f32;
                }
                loss(&mut executor)
            };
            let slope = (shifted(1.0) - shifted(-1.0)) / (2.0 * step * norm);
            executor.parameters_mut().get_mut(name_p).unwrap().value_mut().copy_from_slice(parameter.value());
            assert!((slope / norm - 1.0).abs() < 0.03, "{name} {name_p}: slope {slope}, gradient {norm}");
        }
    }
}

fn small(precision: Precision, threads: usize) -> CpuExecutor {
    let graph = build("PlainConvUNet", &common::plain_kwargs(), 1, 2, true).unwrap();
    let parameters = init::initialise(&graph, 5);
    CpuExecutor::new(graph, parameters, options(CpuLevel::detect(), threads, precision)).unwrap()
}

fn ramp(shape: [usize; 5]) -> Tensor {
    let mut x = Tensor::zeros(shape);
    x.data.iter_mut().enumerate().for_each(|(i, v)| *v = ((i * 7919) % 613) as f32 / 300.0 - 1.0);
    x
}

#[test]
fn threads_and_repetition_do_not_change_a_bit() {
    let x = ramp([2, 1, 8, 12, 8]);
    for precision in [Precision::Fast, Precision::Bf16] {
        let mut results = Vec::new();
        for threads in [1, 2, 2, 3] {
            let mut executor = small(precision, threads);
            let outputs = executor.forward(&x).unwrap();
            executor.backward(&outputs.iter().cloned().map(Some).collect::<Vec<_>>()).unwrap();
            results.push((outputs, executor.into_parameters()));
        }
        assert!(results.windows(2).all(|w| w[0] == w[1]), "{precision:?}");
    }
}

#[test]
fn shapes_may_change_between_calls() {
    let mut executor = small(Precision::Fast, 2);
    let (one, two, other) = (ramp([1, 1, 8, 8, 8]), ramp([2, 1, 8, 8, 8]), ramp([1, 1, 12, 8, 20]));
    let first = executor.run(&one).unwrap();
    let outputs = executor.forward(&two).unwrap();
    assert_eq!(outputs[0].shape, [2, 2, 8, 8, 8]);
    assert_eq!(executor.run(&other).unwrap().shape, [1, 2, 12, 8, 20]);
    assert_eq!(executor.run(&one).unwrap(), first);
    // The first sample of a batch does not depend on the second.
    let mut pair = Tensor::zeros([2, 1, 8, 8, 8]);
    pair.data[..512].copy_from_slice(&one.data);
    let both = executor.run(&pair).unwrap();
    assert_eq!(both.data[..1024], first.data);
}

#[test]
fn heads_without_gradient_leave_their_parameters_alone() {
    let mut executor = small(Precision::Fast, 2);
    let x = ramp([1, 1, 8, 8, 8]);
    let outputs = executor.forward(&x).unwrap();
    executor.backward(&[Some(outputs[0].clone()), None]).unwrap();
    let without: Vec<&str> =
        executor.parameters().iter().filter(|(_, p)| p.gradient().is_none()).map(|(n, _)| n).collect();
    assert_eq!(without, ["decoder.seg_layers.0.weight", "decoder.seg_layers.0.bias"]);
    // As if the lower head had a gradient of zero.
    let partial = executor.parameters().clone();
    let outputs = executor.forward(&x).unwrap();
    let zero = Tensor::zeros(outputs[1].shape);
    executor.backward(&[Some(outputs[0].clone()), Some(zero)]).unwrap();
    for (name, parameter) in partial.iter() {
        if let Some(gradient) = parameter.gradient() {
            assert_eq!(gradient, executor.parameters().get(name).unwrap().gradient().unwrap(), "{name}");
        }
    }
    // Only the lowest head: what lies above it in the decoder is not reached.
    executor.forward(&x).unwrap();
    executor.backward(&[None, Some(outputs[1].clone())]).unwrap();
    let p = executor.parameters();
    assert!(p.get("decoder.stages.1.convs.0.conv.weight").unwrap().gradient().is_none());
    assert!(p.get("encoder.stages.0.0.convs.0.conv.weight").unwrap().gradient().is_some());
}

#[test]
fn changed_parameters_are_used() {
    let mut executor = small(Precision::Fast, 2);
    let x = ramp([1, 1, 8, 8, 8]);
    let before = executor.run(&x).unwrap();
    for (_, parameter) in executor.parameters_mut().iter_mut() {
        parameter.value_mut().iter_mut().for_each(|v| *v *= 1.25);
    }
    let after = executor.run(&x).unwrap();
    assert_ne!(before, after);
    let fresh = executor.parameters().clone();
    let mut other = CpuExecutor::new(executor.graph().clone(), fresh, CpuOptions::default()).unwrap();
    assert_eq!(other.run(&x).unwrap(), after);
}

#[test]
fn misuse_is_an_error() {
    let mut executor = small(Precision::Fast, 1);
    let x = ramp([1, 1, 8, 8, 8]);
    let text = executor.backward(&[None, None]).unwrap_err().to_string();
    assert!(text.contains("forward"), "{text}");
    let outputs = executor.forward(&x).unwrap();
    let text = executor.backward(&[Some(outputs[1].clone()), None]).unwrap_err().to_string();
    assert!(text.contains("shapes"), "{text}");
    // The pass before is still good.
    executor.backward(&[Some(outputs[0].clone()), None]).unwrap();
    assert!(executor.backward(&[Some(outputs[0].clone()), None]).is_err());
    executor.forward(&x).unwrap();
    executor.run(&x).unwrap();
    assert!(executor.backward(&[Some(outputs[0].clone()), None]).is_err());
    let text = executor.run(&ramp([1, 1, 8, 9, 8])).unwrap_err().to_string();
    assert!(text.contains("patch size"), "{text}");
    let mut wrong = x.clone();
    wrong.data.pop();
    assert!(executor.run(&wrong).unwrap_err().to_string().contains("511"));
    let other = common::case("plain2d").parameters();
    let text =
        CpuExecutor::new(executor.graph().clone(), other, CpuOptions::default()).unwrap_err().to_string();
    assert!(text.contains("encoder.stages.0.0.convs.0.conv.weight"), "{text}");
}

/// The default 3D U-Net at 128^3: three full-resolution maps are the least that its last stage needs.
#[test]
fn inference_memory_is_planned_by_liveness() {
    let mut kwargs = common::plain_kwargs();
    kwargs["n_stages"] = 6.into();
    kwargs["features_per_stage"] = serde_json::json!([32, 64, 128, 256, 320, 320]);
    kwargs["kernel_sizes"] = 3.into();
    kwargs["strides"] = serde_json::json!([1, 2, 2, 2, 2, 2]);
    kwargs["n_conv_per_stage"] = 2.into();
    kwargs["n_conv_per_stage_decoder"] = 2.into();
    let graph = build("PlainConvUNet", &kwargs, 1, 4, true).unwrap();
    assert_eq!(graph.parameter_count(), 31_197_204);
    let parameters = init::initialise(&graph, 0);
    let executor = CpuExecutor::new(graph, parameters, CpuOptions::default()).unwrap();
    let full = 32 * 128 * 128 * 128 * 4;
    let inference = executor.memory_estimate([1, 1, 128, 128, 128], false).unwrap().activations;
    // Two maps, and what is upsampled to the second of them.
    assert_eq!(inference, 2 * full + full / 4);
    let shape = [1, 1, 128, 128, 128];
    let training = executor.memory_estimate(shape, true).unwrap();
    assert!(training.activations < 9 * full, "{} bytes, one map is {full}", training.activations);
    assert_eq!(executor.recomputation_saves(shape).unwrap(), 0);
    let (graph, parameters) = (executor.graph().clone(), executor.parameters().clone());
    let options = CpuOptions { recompute: true, ..CpuOptions::default() };
    let executor = CpuExecutor::new(graph, parameters, options).unwrap();
    let less = executor.memory_estimate(shape, true).unwrap();
    assert!(less.activations < 7 * full, "{} bytes, one map is {full}", less.activations);
    assert_eq!(executor.recomputation_saves(shape).unwrap(), training.total() - less.total());
    let estimate = |recompute: bool, training: bool| {
        let options = CpuOptions { precision: Precision::Bf16, recompute, ..CpuOptions::default() };
        let (graph, parameters) = (executor.graph().clone(), executor.parameters().clone());
        let executor = CpuExecutor::new(graph, parameters, options).unwrap();
        executor.memory_estimate(shape, training).unwrap().activations
    };
    let bf16 =
        [(false, false), (false, true), (true, true)].map(|(recompute, train)| estimate(recompute, train));
    // Half of each map; none is alive in f32.
    assert_eq!(bf16[0], full + full / 2);
    // Gradients are f32.
    for (bf16, fast, most) in [(bf16[1], training.activations, 0.68), (bf16[2], less.activations, 0.73)] {
        assert!((bf16 as f64) < most * fast as f64, "{bf16} bytes, with f32 {fast}");
    }
}

/// What is planned is what is allocated, and the second step allocates nothing more.
#[test]
fn planned_memory_is_what_is_allocated() {
    let both = [false, true];
    for (recompute, precision) in both.into_iter().flat_map(|r| [(r, Precision::Fast), (r, Precision::Bf16)])
    {
        let case = common::case("residual3d");
        let options = CpuOptions { recompute, precision, ..CpuOptions::default() };
        let mut executor = CpuExecutor::new(case.graph(true), case.parameters(), options).unwrap();
        let x = case.tensor("x");
        executor.run(&x).unwrap();
        let inference = executor.memory_estimate(x.shape, false).unwrap().activations;
        assert_eq!(executor.activations_allocated(), inference);
        let mut executor = CpuExecutor::new(case.graph(true), case.parameters(), options).unwrap();
        let planned = executor.memory_estimate(x.shape, true).unwrap().activations;
        let mut outputs = Vec::new();
        let gradients: Vec<_> = (0..2).map(|i| Some(case.tensor(&format!("d{i}")))).collect();
        for _ in 0..3 {
            executor.forward_into(&x, &mut outputs).unwrap();
            executor.backward(&gradients).unwrap();
            assert_eq!(executor.activations_allocated(), planned);
        }
    }
}

/// Dice plus cross-entropy of the reference with its gradient with respect to the logits, in f64, as plain as can be.
fn dice_cross_entropy(logits: &Tensor, target: &[f64], batch_dice: bool) -> (f64, Tensor) {
    let [n, classes, ..] = logits.shape;
    let voxels = logits.voxels();
    let mut probabilities = vec![0f64; logits.data.len()];
    let at = |s: usize, c: usize, v: usize| (s * classes + c) * voxels + v;
    let mut cross_entropy = 0.0;
    for s in 0..n {
        for v in 0..voxels {
            let sum: f64 = (0..classes).map(|c| f64::from(logits.data[at(s, c, v)]).exp()).sum();
            for c in 0..classes {
                probabilities[at(s, c, v)] = f64::from(logits.data[at(s, c, v)]).exp() / sum;
            }
            cross_entropy -=
                probabilities[at(s, target[s * voxels + v] as usize, v)].ln() / (n * voxels) as f64;
        }
    }
    // Foreground classes, over the batch or for each sample.
    let groups: Vec<Vec<usize>> =
        if batch_dice { vec![(0..n).collect()] } else { (0..n).map(|s| vec![s]).collect() };
    let share = 1.0 / (groups.len() * (classes - 1)) as f64;
    let mut by_probability = vec![0f64; probabilities.len()];
    let mut dice = 0.0;
    for group in &groups {
        for c in 1..classes {
            let (mut both, mut all) = (0.0, 1e-5);
            for &s in group {
                for v in 0..voxels {
                    let hit = f64::from(u8::from(target[s * voxels + v] as usize == c));
                    both += 2.0 * probabilities[at(s, c, v)] * hit;
                    all += probabilities[at(s, c, v)] + hit;
                }
            }
            both += 1e-5;
            dice += share * both / all;
            for &s in group {
                for v in 0..voxels {
                    let hit = f64::from(u8::from(target[s * voxels + v] as usize == c));
                    by_probability[at(s, c, v)] = -share * (2.0 * hit / all - both / (all * all));
                }
            }
        }
    }
    let mut gradient = Tensor::zeros(logits.shape);
    for s in 0..n {
        for v in 0..voxels {
            let mean: f64 =
                (0..classes).map(|c| by_probability[at(s, c, v)] * probabilities[at(s, c, v)]).sum();
            for c in 0..classes {
                let p = probabilities[at(s, c, v)];
                let hit = f64::from(u8::from(target[s * voxels + v] as usize == c));
                gradient.data[at(s, c, v)] =
                    (p * (by_probability[at(s, c, v)] - mean) + (p - hit) / (n * voxels) as f64) as f32;
            }
        }
    }
    (cross_entropy - dice, gradient)
}

/// Three optimiser steps from the reference's weights: losses, gradient norms, clipped gradients, weights after one and three.
///
/// The tolerance of a gradient, relative to the norm of all, is the reference's own distance from the same step in f64 (7e-5,
/// 1.0e-3, 7e-7, 1.3e-7: in the first two a value close to zero falls on the other side of a leaky ReLU) and a little.
/// That of the norm likewise: over the three steps the reference is 1.2e-6, 2.1e-4, 1e-7 and 1.5e-5 from f64.
#[test]
fn training_steps_of_the_reference() {
    for (name, batch_dice, tolerance, norm_tolerance) in [
        ("plain3d", true, 8e-5, 1e-5),
        ("plain2d", true, 1.2e-3, 2.5e-4),
        ("resenc3d", false, 3e-6, 1e-6),
        ("lowres_nobatchdice", false, 3e-6, 2e-5),
    ] {
        let Some(step) = common::train_step(name) else { continue };
        let read = |file: &str| read_npz(step.folder.join(file));
        let info: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(step.folder.join("info.json")).unwrap()).unwrap();
        assert_eq!(info["batch_dice"], batch_dice);
        let target = read_npy(step.folder.join("target0.npy")).data;
        let parameters = common::parameters(&step.graph, "", &step.weights);
        let mut executor = CpuExecutor::new(step.graph.clone(), parameters, CpuOptions::default()).unwrap();
        let mut sgd = Sgd::new(SgdOptions::default());
        for (i, expected) in info["steps"].as_array().unwrap().iter().enumerate() {
            let outputs = executor.forward(&step.data).unwrap();
            let (loss, gradient) = dice_cross_entropy(&outputs[0], &target, batch_dice);
            let expected_loss = expected["loss"].as_f64().unwrap();
            assert!(
                (loss - expected_loss).abs() < 2e-5,
                "{name} step {i}: loss {loss}, expected {expected_loss}"
            );
            executor.backward(&[Some(gradient), None]).unwrap();
            let norm = clip_gradient_norm(executor.parameters_mut(), 12.0);
            let expected_norm = expected["grad_norm_before_clip"].as_f64().unwrap();
            assert!(
                (norm / expected_norm - 1.0).abs() < norm_tolerance,
                "{name} step {i}: norm {norm}, expected {expected_norm}"
            );
            if i == 0 {
                let expected = read("grads0_clipped.npz");
                for (key, parameter) in executor.parameters().iter() {
                    let Some(gradient) = parameter.gradient() else {
                        assert!(!expected.contains_key(key), "{name}: no gradient of {key}");
                        continue;
                    };
                    let worst =
                        gradient.iter().zip(expected[key].f32()).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
                    assert!(
                        f64::from(worst) < tolerance * norm,
                        "{name}: gradient of {key} differs by {worst:e}"
                    );
                }
            }
            sgd.step(executor.parameters_mut(), info["lr"].as_f64().unwrap());
            let file = format!("weights{}.npz", i + 1);
            if step.folder.join(&file).exists() {
                let expected = read(&file);
                for (key, parameter) in executor.parameters().iter() {
                    let error = parameter
                        .value()
                        .iter()
                        .zip(expected[key].f32())
                        .fold(0f32, |m, (a, b)| m.max((a - b).abs()));
                    assert!(
                        f64::from(error) < 1e-7 + 0.1 * tolerance,
                        "{name} after step {i}: {key} differs by {error:e}"
                    );
                }
            }
        }
    }
}
