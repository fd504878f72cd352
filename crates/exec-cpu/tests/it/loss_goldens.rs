//! Losses and gradients against the reference's (PyTorch in f32).
//!
//! Tolerances: losses 1e-6 relative, gradients 1e-6 of the largest element.

// A helper that fails must fail the test that called it.
#![allow(clippy::unwrap_used, clippy::panic)]

use nnunet_exec_cpu::loss::{
    DeepSupervision, DiceAndBinaryCrossEntropy, DiceAndCrossEntropy, Gradient, ScaleLoss, SumOfTerms,
};
use nnunet_graph::Tensor;
use nnunet_graph::loss::{DICE_SMOOTH, LabelBatch, Loss, LossError, RegionBatch, Target, Targets};
use nnunet_testkit::npy::{Array, read_npy};
use nnunet_testkit::shared::shared_path;
use serde_json::Value;

use crate::loss_golden_cases::{cases, labels, logits, numbers, regions, spec};

/// The loss of a case as a sum of terms, without the form of its own.
fn as_terms(case: &Value) -> SumOfTerms {
    SumOfTerms::new(spec(case))
}

/// Loss, logits and target of a case.
fn build(case: &Value) -> (Box<dyn ScaleLoss>, Tensor, Target) {
    let shape: Vec<usize> = numbers(&case["shape"]).iter().map(|v| *v as usize).collect();
    let shape: [usize; 5] = shape.try_into().unwrap();
    let batch_dice = case["batch_dice"].as_bool().unwrap();
    let labels = labels(shape, case["labels"].as_u64().unwrap() as usize);
    match case["kind"].as_str().unwrap() {
        "labels" => {
            let ignore_label = case["ignore"].as_i64().map(|v| v as i16);
            (
                Box::new(DiceAndCrossEntropy { batch_dice, smooth: DICE_SMOOTH, ignore_label }),
                logits(shape),
                Target::Labels(labels),
            )
        }
        _ => {
            let has_ignore = case["ignore"].as_bool().unwrap();
            let target = regions(&labels, shape[1] + usize::from(has_ignore));
            (
                Box::new(DiceAndBinaryCrossEntropy { batch_dice, smooth: DICE_SMOOTH, has_ignore }),
                logits(shape),
                Target::Regions(target),
            )
        }
    }
}

#[test]
fn values_and_gradients() {
    for case in cases() {
        let (loss, logits, target) = build(&case);
        check(&case, &*loss, &logits, &target);
        check(&case, &as_terms(&case), &logits, &target);
    }
}

fn check(case: &Value, loss: &dyn ScaleLoss, logits: &Tensor, target: &Target) {
    let (value, gradient) = loss.evaluate(logits, target, Gradient::Times(1.0)).unwrap();
    let expected = case["loss"].as_f64().unwrap();
    assert!(((value.sum() - expected) / expected).abs() < 1e-6, "{}: {value:?}, {expected}", case["name"]);
    let (only_value, none) = loss.evaluate(logits, target, Gradient::Omitted).unwrap();
    assert_eq!((only_value, none), (value, None));
    let gradient = gradient.unwrap();
    let expected = numbers(&case["gradient"]);
    let largest = expected.iter().fold(0.0f64, |a, b| a.max(b.abs())).max(1e-30);
    let stride = case["stride"].as_u64().unwrap() as usize;
    let found: Vec<f32> = gradient.data.iter().copied().step_by(stride).collect();
    assert_eq!(found.len(), expected.len());
    for (i, (a, b)) in found.iter().zip(&expected).enumerate() {
        let error = (f64::from(*a) - b).abs();
        assert!(error < 1e-6 * largest, "{} element {i}: {a}, expected {b}", case["name"]);
    }
}

#[test]
fn gradients_are_differences_of_the_value() {
    // Independent of the reference: central differences. The value's own rounding limits the step.
    for case in cases() {
        let (loss, mut logits, target) = build(&case);
        let gradient = loss.evaluate(&logits, &target, Gradient::Times(2.0)).unwrap().1.unwrap();
        let largest = gradient.data.iter().fold(0.0f32, |a, b| a.max(b.abs()));
        for i in (0..logits.data.len()).step_by(logits.data.len() / 12 + 1) {
            let centre = logits.data[i];
            let mut at = |z: f32| {
                logits.data[i] = z;
                loss.evaluate(&logits, &target, Gradient::Omitted).unwrap().0.sum()
            };
            let slope = (at(centre + 0.0625) - at(centre - 0.0625)) / 0.125 * 2.0;
            logits.data[i] = centre;
            let error = (slope - f64::from(gradient.data[i])).abs();
            assert!(error < 2e-3 * f64::from(largest) + 1e-7, "{} element {i}: {slope}", case["name"]);
        }
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    for case in cases() {
        let (loss, logits, target) = build(&case);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| loss.evaluate(&logits, &target, Gradient::Times(0.7)).unwrap())
        };
        assert_eq!(run(1), run(3), "{}", case["name"]);
    }
}

#[test]
fn targets_that_do_not_fit_are_errors() {
    let loss = DeepSupervision::new(
        DiceAndCrossEntropy { batch_dice: true, smooth: DICE_SMOOTH, ignore_label: None },
        2,
    );
    let shape = [1, 3, 2, 3, 4];
    let good = Target::Labels(labels(shape, 3));
    let run = |logits: &[Tensor], scales: Vec<Target>| loss.value(logits, &Targets::new(scales)).unwrap_err();
    assert!(matches!(run(&[logits(shape)], vec![good.clone()]), LossError::Outputs { weights: 2, .. }));
    let pair = [logits(shape), logits(shape)];
    let stray = run(&pair, vec![Target::Labels(labels(shape, 5)), good.clone()]);
    assert!(stray.to_string().contains("outputs for 0 to 2"), "{stray}");
    let wrong = run(&pair, vec![Target::Labels(labels([1, 3, 2, 3, 5], 3)), good.clone()]);
    assert!(matches!(wrong, LossError::Shape { .. }));
    let kind = run(&pair, vec![Target::Regions(regions(&labels(shape, 3), 3)), good]);
    assert!(matches!(kind, LossError::Kind { expected: "labels", found: "regions" }));
}

#[test]
fn logits_that_are_not_numbers_give_a_loss_that_is_not_a_number() {
    let loss = DiceAndCrossEntropy { batch_dice: true, smooth: DICE_SMOOTH, ignore_label: None };
    let shape = [1, 3, 2, 3, 4];
    let mut logits = logits(shape);
    logits.data[40] = f32::NAN;
    let (value, _) = loss.evaluate(&logits, &Target::Labels(labels(shape, 3)), Gradient::Omitted).unwrap();
    assert!(value.sum().is_nan());
}

fn tensor(array: &Array) -> Tensor {
    let shape = match *array.shape {
        [n, c, y, x] => [n, c, 1, y, x],
        [n, c, z, y, x] => [n, c, z, y, x],
        _ => panic!("{:?}", array.shape),
    };
    Tensor { shape, data: array.f32() }
}

fn target(array: &Array) -> Target {
    let shape = tensor(array).shape;
    if array.dtype == "b1" {
        return Target::Regions(RegionBatch { shape, data: array.data.iter().map(|v| *v != 0.0).collect() });
    }
    let [n, _, z, y, x] = shape;
    Target::Labels(LabelBatch { shape: [n, z, y, x], data: array.data.iter().map(|v| *v as i16).collect() })
}

#[test]
fn whole_training_steps() {
    let Some(folder) = shared_path("reference/trainstep_public") else { return };
    for name in ["plain3d", "plain2d", "resenc3d", "lowres_nobatchdice", "ignore3d", "regions3d"] {
        let folder = folder.join(name);
        let info: Value = serde_json::from_slice(&std::fs::read(folder.join("info.json")).unwrap()).unwrap();
        let weights = numbers(&info["ds_weights"]);
        let batch_dice = info["batch_dice"].as_bool().unwrap();
        let read = |what: &str| -> Vec<Array> {
            (0..weights.len()).map(|k| read_npy(folder.join(format!("{what}{k}.npy")))).collect()
        };
        let logits: Vec<Tensor> = read("output0_ds").iter().map(tensor).collect();
        let scales: Vec<Target> = read("target").iter().map(target).collect();
        let dataset: Value =
            serde_json::from_slice(&std::fs::read(folder.join("dataset.json")).unwrap()).unwrap();
        let ignore_label = dataset["labels"]["ignore"].as_i64().map(|v| v as i16);
        let loss: Box<dyn ScaleLoss> = match &scales[0] {
            Target::Labels(_) => {
                Box::new(DiceAndCrossEntropy { batch_dice, smooth: DICE_SMOOTH, ignore_label })
            }
            Target::Regions(_) => {
                let has_ignore = ignore_label.is_some();
                Box::new(DiceAndBinaryCrossEntropy { batch_dice, smooth: DICE_SMOOTH, has_ignore })
            }
        };
        let step = &info["steps"][0];
        for (k, expected) in numbers(&step["loss_per_scale_unweighted"]).into_iter().enumerate() {
            let (value, _) = loss.evaluate(&logits[k], &scales[k], Gradient::Omitted).unwrap();
            let error = (value.sum() - expected) / expected;
            assert!(error.abs() < 1e-6, "{name} scale {k}: {value:?}, expected {expected}, {error:e}");
            if let (0, Some(dice)) = (k, step["dice_term_scale0"].as_array()) {
                assert!((value.terms[0] - dice[0].as_f64().unwrap()).abs() < 1e-6, "{name}: {value:?}");
            }
        }
        if let Target::Labels(_) = &scales[0] {
            let loss = DiceAndCrossEntropy { batch_dice, smooth: DICE_SMOOTH, ignore_label };
            let loss = DeepSupervision::new(loss, weights.len());
            assert_eq!(loss.weights, weights, "{name}");
            let (value, gradients) = loss.value_and_gradient(&logits, &Targets::new(scales)).unwrap();
            assert!((value.total / step["loss"].as_f64().unwrap() - 1.0).abs() < 1e-6, "{name}: {value:?}");
            assert!(gradients[0].is_some() && gradients.last().unwrap().is_none(), "{name}");
        }
    }
}
