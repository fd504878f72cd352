//! Cases of losses by name, made by tests/golden/loss_terms/make.py.
//!
//! Tolerances: losses 1e-6 relative, gradients 2e-6 of the largest element.
#![allow(dead_code, unreachable_pub)] // each test binary uses its own part

use std::sync::Arc;

use nnunet_base::parts::Choice;
use nnunet_graph::Tensor;
use nnunet_graph::loss::{LabelBatch, Loss, LossFacts, LossSpec, RegionBatch, Target, Targets, losses};
use serde_json::Value;

pub const CLASSES: usize = 3;
pub const IGNORE: i16 = CLASSES as i16;

pub fn logits(shape: [usize; 5]) -> Tensor {
    let count: usize = shape.iter().product();
    let of = |i: usize| (i.pow(3) % 99_989) as f32 / 12500.0 - 4.0;
    Tensor { shape, data: (0..count).map(of).collect() }
}

/// A ball (1) and a corner (2), which lie elsewhere in each sample; ignored voxels are spread over all.
pub fn labels([samples, _, depth, height, width]: [usize; 5], ignore: bool) -> LabelBatch {
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
pub fn regions(labels: &LabelBatch, ignore: bool) -> RegionBatch {
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

pub fn cases() -> Vec<Value> {
    let path = crate::common::golden("loss_terms").join("goldens.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

pub fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

/// The loss of a case on `outputs` outputs.
pub fn spec(case: &Value, outputs: usize) -> LossSpec {
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
    spec
}

pub fn inputs(case: &Value) -> (Tensor, Target) {
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
pub fn evaluate(loss: &dyn Loss, logits: &Tensor, target: &Target) -> (f64, Vec<f32>) {
    let targets = Targets::new(vec![target.clone()]);
    let (value, gradients) = loss.value_and_gradient(std::slice::from_ref(logits), &targets).unwrap();
    (value.total, gradients.into_iter().next().unwrap().unwrap().data)
}

pub fn value(loss: &dyn Loss, logits: &Tensor, target: &Target) -> f64 {
    let targets = Targets::new(vec![target.clone()]);
    loss.value(std::slice::from_ref(logits), &targets).unwrap().total
}

pub fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(1e-30, |a, b| a.max(b.abs()))
}

/// Values and gradients of all cases whose losses `make` makes; returns how many those are.
pub fn check_values_and_gradients(make: impl Fn(&LossSpec) -> Option<Arc<dyn Loss>>) -> usize {
    let mut faults = Vec::new();
    let mut checked = 0;
    for case in cases() {
        let (Some(loss), (logits, target)) = (make(&spec(&case, 1)), inputs(&case)) else { continue };
        checked += 1;
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
    checked
}
