//! Losses by name against nnU-Net's own, MONAI's and the formulas of their papers (tests/golden/loss_terms).

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use nnunet_exec_cpu::loss::host_loss;
use nnunet_graph::loss::{
    CrossEntropySpec, LabelBatch, Loss, LossError, LossSpec, RegionBatch, ScaleLossSpec, Target, Targets,
    TermSpec, deep_supervision_weights,
};
use serde_json::Value;

use crate::loss_cases::{
    CLASSES, IGNORE, cases, check_values_and_gradients, evaluate, inputs, largest, logits, spec, value,
};

fn loss(case: &Value, outputs: usize) -> Arc<dyn Loss> {
    host_loss(&spec(case, outputs))
}

#[test]
fn values_and_gradients() {
    assert_eq!(check_values_and_gradients(|spec| Some(host_loss(spec))), cases().len());
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
