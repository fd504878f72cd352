//! Losses by name against nnU-Net's own, MONAI's and the formulas of their papers (tests/golden/loss_terms).
//!
//! Tolerances: losses 1e-6 relative, gradients 2e-6 of the largest element.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;

use nnunet_base::parts::Choice;
use nnunet_exec_cpu::loss::host_loss;
use nnunet_graph::Tensor;
use nnunet_graph::loss::{
    CrossEntropySpec, LabelBatch, Loss, LossError, LossFacts, LossSpec, RegionBatch, ScaleLossSpec, Target,
    Targets, TermSpec, deep_supervision_weights, losses,
};
use serde_json::Value;

const CLASSES: usize = 3;
const IGNORE: i16 = CLASSES as i16;

fn logits(shape: [usize; 5]) -> Tensor {
    let count: usize = shape.iter().product();
    let of = |i: usize| (i.pow(3) % 99_989) as f32 / 12500.0 - 4.0;
    Tensor { shape, data: (0..count).map(of).collect() }
}

/// A ball (1) and a corner (2), which lie elsewhere in each sample; ignored voxels are spread over all.
fn labels([samples, _, depth, height, width]: [usize; 5], ignore: bool) -> LabelBatch {
    let mut data = Vec::new();
    let square = |a: usize, b: usize| a.abs_diff(b).pow(2);
    for n in 0..samples {
        for i in 0..depth * height * width {
            let (z, y, x) = (i / width / height, i / width % height, i % width);
            data.push(match () {
                () if ignore && (x + 2 * y + 3 * z + n) % 11 == 0 => IGNORE,
                () if square(z, 2) * 2 + square(y, 5 + n) + square(x, 4) <= 12 => 1,
                () => i16::from(y + x >= 16 + 2 * n) * 2,
            });
        }
    }
    LabelBatch { shape: [samples, depth, height, width], data }
}

/// Region r holds the labels above r; with ignored voxels, the last channel is those.
fn regions(labels: &LabelBatch, ignore: bool) -> RegionBatch {
    let [n, z, y, x] = labels.shape;
    let mut data = Vec::new();
    for sample in 0..n {
        for r in 0..CLASSES as i16 - 1 {
            data.extend(labels.sample(sample).iter().map(|&label| label > r && label != IGNORE));
        }
        if ignore {
            data.extend(labels.sample(sample).iter().map(|&label| label == IGNORE));
        }
    }
    RegionBatch { shape: [n, CLASSES - 1 + usize::from(ignore), z, y, x], data }
}

fn cases() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/loss_terms/goldens.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

/// The loss of a case on `outputs` outputs.
fn loss(case: &Value, outputs: usize) -> Arc<dyn Loss> {
    let kind = case["kind"].as_str().unwrap();
    let regions = case["target"] == "regions";
    let facts = LossFacts {
        regions,
        ignore_label: case["ignore"].as_bool().unwrap().then_some(IGNORE),
        batch_dice: case["batch_dice"].as_bool().unwrap(),
        classes: CLASSES - usize::from(regions),
        outputs,
    };
    let choice = Choice { kind: kind.to_owned(), options: case["options"].as_object().unwrap().clone() };
    let mut options = choice.reader("loss");
    let spec = losses().get(kind).unwrap()(&mut options, &facts).unwrap();
    options.finish().unwrap();
    host_loss(&spec)
}

fn inputs(case: &Value) -> (Tensor, Target) {
    let shape: Vec<usize> = numbers(&case["shape"]).iter().map(|v| *v as usize).collect();
    let shape: [usize; 5] = shape.try_into().unwrap();
    let ignore = case["ignore"].as_bool().unwrap();
    let labels = labels(shape, ignore);
    let target = match case["target"].as_str().unwrap() {
        "labels" => Target::Labels(labels),
        _ => Target::Regions(regions(&labels, ignore)),
    };
    (logits(shape), target)
}

/// Value and gradient of a loss of one output.
fn evaluate(loss: &dyn Loss, logits: &Tensor, target: &Target) -> (f64, Vec<f32>) {
    let targets = Targets::new(vec![target.clone()]);
    let (value, gradients) = loss.value_and_gradient(std::slice::from_ref(logits), &targets).unwrap();
    (value.total, gradients.into_iter().next().unwrap().unwrap().data)
}

fn value(loss: &dyn Loss, logits: &Tensor, target: &Target) -> f64 {
    let targets = Targets::new(vec![target.clone()]);
    loss.value(std::slice::from_ref(logits), &targets).unwrap().total
}

fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(1e-30, |a, b| a.max(b.abs()))
}

#[test]
fn values_and_gradients() {
    let mut faults = Vec::new();
    for case in cases() {
        let (loss, (logits, target)) = (loss(&case, 1), inputs(&case));
        let (total, gradient) = evaluate(&*loss, &logits, &target);
        assert_eq!(value(&*loss, &logits, &target), total, "{}", case["name"]);
        let expected = case["loss"].as_f64().unwrap();
        if ((total - expected) / expected).abs() > 1e-6 {
            faults.push(format!("{}: {total}, expected {expected}", case["name"]));
        }
        let expected = numbers(&case["gradient"]);
        let limit = 2e-6 * largest(expected.iter().copied());
        let found: Vec<f32> =
            gradient.iter().copied().step_by(case["stride"].as_u64().unwrap() as usize).collect();
        assert_eq!(found.len(), expected.len());
        let errors = found.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs());
        let (worst, count) =
            errors.fold((0.0f64, 0), |(worst, count), e| (worst.max(e), count + usize::from(e > limit)));
        if count > 0 {
            faults.push(format!("{}: {count} elements, by {:.1} tolerances", case["name"], worst / limit));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn gradients_are_differences_of_the_value() {
    // Independent of any reference. The gradient lies between the slopes on both sides, which are almost equal except at the
    // kinks of losses of the worst voxels, of thresholds and of skeletons. Rounding of the value limits the tolerance.
    const STEP: f32 = 1.0 / 128.0;
    const ELEMENTS: usize = 9;
    let mut faults = Vec::new();
    for case in cases() {
        let (loss, (mut logits, target)) = (loss(&case, 1), inputs(&case));
        let (centre, gradient) = evaluate(&*loss, &logits, &target);
        let limit = 2e-3 * largest(gradient.iter().map(|g| f64::from(*g)));
        let mut kinks = 0;
        for i in (0..logits.data.len()).step_by(logits.data.len() / ELEMENTS + 1) {
            let z = logits.data[i];
            let mut slope = |by: f32| {
                logits.data[i] = z + by;
                (value(&*loss, &logits, &target) - centre) / f64::from(by)
            };
            let (after, before) = (slope(STEP), slope(-STEP));
            logits.data[i] = z;
            kinks += usize::from((after - before).abs() > 20.0 * limit);
            let between = after.min(before) - limit..=after.max(before) + limit;
            if !between.contains(&f64::from(gradient[i])) {
                faults.push(format!("{} element {i}: {after}, {before}, {}", case["name"], gradient[i]));
            }
        }
        if kinks > ELEMENTS / 3 {
            faults.push(format!("{}: {kinks} kinks", case["name"]));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    for case in cases() {
        let (loss, (logits, target)) = (loss(&case, 1), inputs(&case));
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| evaluate(&*loss, &logits, &target))
        };
        assert_eq!(run(1), run(3), "{}", case["name"]);
    }
}

#[test]
fn outputs_are_weighted_and_those_of_weight_zero_left_out() {
    let weights = deep_supervision_weights(3);
    for case in cases() {
        let (single, three) = (loss(&case, 1), loss(&case, 3));
        let (logits, target) = inputs(&case);
        let (total, gradient) = evaluate(&*single, &logits, &target);
        let targets = Targets::new(vec![target.clone(), target.clone(), target.clone()]);
        let all = [logits.clone(), logits.clone(), logits.clone()];
        let (value, gradients) = three.value_and_gradient(&all, &targets).unwrap();
        let expected = (weights[0] + weights[1]) * total;
        assert!((value.total / expected - 1.0).abs() < 1e-14, "{}", case["name"]);
        assert!(gradients[2].is_none());
        let limit = 1e-6 * largest(gradient.iter().map(|g| f64::from(*g)));
        for (gradients, weight) in gradients.iter().flatten().zip(&weights) {
            for (found, of_one) in gradients.data.iter().zip(&gradient) {
                let expected = f64::from(*of_one) * weight;
                assert!((f64::from(*found) - expected).abs() < limit, "{}", case["name"]);
            }
        }
    }
}

#[test]
fn a_batch_in_which_nothing_counts_has_no_gradient() {
    for case in cases().iter().filter(|case| case["ignore"] == true) {
        let (loss, (logits, target)) = (loss(case, 1), inputs(case));
        let nothing = match target {
            Target::Labels(mut labels) => {
                labels.data.fill(IGNORE);
                Target::Labels(labels)
            }
            Target::Regions(mut regions) => {
                let voxels: usize = regions.shape[2..].iter().product();
                for sample in regions.data.chunks_mut(CLASSES * voxels) {
                    sample.fill(false);
                    sample[(CLASSES - 1) * voxels..].fill(true);
                }
                Target::Regions(regions)
            }
        };
        let (total, gradient) = evaluate(&*loss, &logits, &nothing);
        assert!(total.is_finite(), "{}", case["name"]);
        assert!(gradient.iter().all(|g| *g == 0.0), "{}", case["name"]);
    }
}

#[test]
fn logits_that_are_not_numbers_give_a_loss_that_is_not_a_number() {
    let mut faults = Vec::new();
    for case in cases().iter().filter(|case| case["ignore"] == false) {
        let (loss, (mut logits, target)) = (loss(case, 1), inputs(case));
        let middle = logits.data.len() / 2;
        logits.data[middle] = f32::NAN;
        let total = value(&*loss, &logits, &target);
        if !total.is_nan() {
            faults.push(format!("{}: {total}", case["name"]));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn perfect_and_hopeless_predictions_have_finite_gradients() {
    for case in cases() {
        let (loss, (mut logits, target)) = (loss(&case, 1), inputs(&case));
        let voxels = logits.voxels();
        for sign in [60.0, -60.0] {
            let channels = logits.shape[1];
            for (i, z) in logits.data.iter_mut().enumerate() {
                let (channel, voxel) = (i / voxels, i % voxels);
                let (n, c) = (channel / channels, channel % channels);
                let there = match &target {
                    Target::Labels(labels) => labels.sample(n)[voxel] == c as i16,
                    Target::Regions(regions) => regions.channel(n, c)[voxel],
                };
                *z = if there { sign } else { -sign };
            }
            let (total, gradient) = evaluate(&*loss, &logits, &target);
            assert!(total.is_finite(), "{} {sign}", case["name"]);
            assert!(gradient.iter().all(|g| g.is_finite()), "{} {sign}", case["name"]);
        }
    }
}

#[test]
fn targets_and_weights_that_do_not_fit_are_errors() {
    let shape = [1, 3, 2, 3, 4];
    let labels = |last| LabelBatch { shape: [1, 2, 3, 4], data: vec![last; 24] };
    let with = |term: TermSpec, target: Target| {
        let mut spec = ScaleLossSpec::dice_and_cross_entropy(true, None);
        spec.terms.push(term.weighted(1.0));
        let loss = host_loss(&LossSpec::deep_supervision(spec, 1));
        loss.value(&[logits(shape)], &Targets::new(vec![target])).unwrap_err()
    };
    let ce = || TermSpec::CrossEntropy(CrossEntropySpec::default());
    let stray = with(ce(), Target::Labels(labels(3)));
    assert!(matches!(stray, LossError::Label { label: 3, last: 2 }), "{stray}");
    let wrong = with(ce(), Target::Labels(LabelBatch { shape: [1, 2, 3, 3], data: vec![0; 18] }));
    assert!(matches!(wrong, LossError::Shape { .. }), "{wrong}");
    let kind = with(ce(), Target::Regions(RegionBatch { shape, data: vec![false; 72] }));
    assert!(matches!(kind, LossError::Kind { expected: "labels", found: "regions" }), "{kind}");
    let two = CrossEntropySpec { class_weights: Some(vec![1.0, 2.0]), label_smoothing: 0.0 };
    let weights = with(TermSpec::CrossEntropy(two), Target::Labels(labels(1)));
    assert!(matches!(weights, LossError::ClassWeights { weights: 2, outputs: 3 }), "{weights}");
}
