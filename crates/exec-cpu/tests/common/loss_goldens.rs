//! Cases of nnU-Net's own losses, made by tests/golden/loss/make.py.
#![allow(dead_code, unreachable_pub)] // each test binary uses its own part

use nnunet_graph::Tensor;
use nnunet_graph::loss::{LabelBatch, Loss, LossSpec, RegionBatch, ScaleLossSpec, Target, Targets};
use serde_json::Value;

pub fn logits(shape: [usize; 5]) -> Tensor {
    let count: usize = shape.iter().product();
    Tensor { shape, data: (0..count).map(|i| (i * 7919 % 1009) as f32 / 64.0 - 8.0).collect() }
}

pub fn labels([n, _, z, y, x]: [usize; 5], count: usize) -> LabelBatch {
    LabelBatch {
        shape: [n, z, y, x],
        data: (0..n * z * y * x).map(|i| (i / 3 * 31 % count) as i16).collect(),
    }
}

pub fn regions(labels: &LabelBatch, channels: usize) -> RegionBatch {
    let [n, z, y, x] = labels.shape;
    let mut data = Vec::new();
    for sample in 0..n {
        for c in 0..channels {
            data.extend(labels.sample(sample).iter().map(|label| *label > c as i16));
        }
    }
    RegionBatch { shape: [n, channels, z, y, x], data }
}

pub fn cases() -> Vec<Value> {
    let path = crate::common::golden("loss").join("goldens.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

pub fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

/// The loss of a case.
pub fn spec(case: &Value) -> ScaleLossSpec {
    let batch_dice = case["batch_dice"].as_bool().unwrap();
    match case["kind"].as_str().unwrap() {
        "labels" => {
            let ignore_label = case["ignore"].as_i64().map(|v| v as i16);
            ScaleLossSpec::dice_and_cross_entropy(batch_dice, ignore_label)
        }
        _ => ScaleLossSpec::dice_and_binary_cross_entropy(batch_dice, case["ignore"].as_bool().unwrap()),
    }
}

/// Logits and target of a case.
pub fn inputs(case: &Value) -> (Tensor, Target) {
    let shape: Vec<usize> = numbers(&case["shape"]).iter().map(|v| *v as usize).collect();
    let shape: [usize; 5] = shape.try_into().unwrap();
    let labels = labels(shape, case["labels"].as_u64().unwrap() as usize);
    let target = match case["kind"].as_str().unwrap() {
        "labels" => Target::Labels(labels),
        _ => {
            let has_ignore = case["ignore"].as_bool().unwrap();
            Target::Regions(regions(&labels, shape[1] + usize::from(has_ignore)))
        }
    };
    (logits(shape), target)
}

/// Values and gradients of all cases: losses 1e-6 relative, gradients 1e-6 of the largest element.
pub fn check_values_and_gradients(make: impl Fn(&LossSpec) -> std::sync::Arc<dyn Loss>) {
    for case in cases() {
        let loss = make(&LossSpec::deep_supervision(spec(&case), 1));
        let (logits, target) = inputs(&case);
        let targets = Targets::new(vec![target]);
        let (value, gradients) = loss.value_and_gradient(std::slice::from_ref(&logits), &targets).unwrap();
        let expected = case["loss"].as_f64().unwrap();
        assert!(
            ((value.total - expected) / expected).abs() < 1e-6,
            "{}: {value:?}, {expected}",
            case["name"]
        );
        assert_eq!(loss.value(std::slice::from_ref(&logits), &targets).unwrap(), value);
        let expected = numbers(&case["gradient"]);
        let largest = expected.iter().fold(0.0f64, |a, b| a.max(b.abs())).max(1e-30);
        let stride = case["stride"].as_u64().unwrap() as usize;
        let gradient = gradients.into_iter().next().unwrap().unwrap();
        let found: Vec<f32> = gradient.data.iter().copied().step_by(stride).collect();
        assert_eq!(found.len(), expected.len());
        for (i, (a, b)) in found.iter().zip(&expected).enumerate() {
            let error = (f64::from(*a) - b).abs();
            assert!(error < 1e-6 * largest, "{} element {i}: {a}, expected {b}", case["name"]);
        }
    }
}
