//! Losses of partly annotated samples against their definitions, differences of their values, and the ordinary losses.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use nnunet_exec_cpu::loss::host_loss;
use nnunet_graph::Tensor;
use nnunet_graph::loss::{
    Compared, LabelBatch, Loss, LossSpec, PartlyLabelledSpec, RegionBatch, ScaleLossSpec, Target, Targets,
    Validity,
};

const SHAPE: [usize; 5] = [3, 4, 2, 5, 6];
const VOXELS: usize = 60;

/// Logits between -3 and 3, without pattern.
fn logits(shape: [usize; 5]) -> Tensor {
    let of = |i: usize| ((i * 7919 + 13) % 1009) as f32 / 168.0 - 3.0;
    Tensor { shape, data: (0..shape.iter().product()).map(of).collect() }
}

fn labels(ignore: bool) -> Target {
    let of = |i: usize| if ignore && i.is_multiple_of(11) { 4 } else { (i / 3 % 4) as i16 };
    Target::Labels(LabelBatch { shape: [3, 2, 5, 6], data: (0..3 * VOXELS).map(of).collect() })
}

fn regions(ignore: bool) -> Target {
    let channels = 4 + usize::from(ignore);
    let of = |i: usize| match i / VOXELS % channels {
        4 => i.is_multiple_of(7),
        channel => (i % VOXELS) % (channel + 3) < 2,
    };
    let data = (0..3 * channels * VOXELS).map(of).collect();
    Target::Regions(RegionBatch { shape: [3, channels, 2, 5, 6], data })
}

fn targets(target: Target, rows: [[bool; 4]; 3]) -> Targets {
    let validity = Validity { shape: [3, 4], data: rows.concat() };
    Targets { validity: Some(validity), ..Targets::new(vec![target]) }
}

const ALL: [[bool; 4]; 3] = [[true; 4]; 3];
/// The last class nowhere, the second and third in one sample each, and everything in the third but that.
const SOME: [[bool; 4]; 3] =
    [[true, true, false, false], [true, false, true, false], [true, true, true, false]];

fn spec(compared: Compared, batch_dice: bool, exclusion: f64, summed: bool) -> PartlyLabelledSpec {
    PartlyLabelledSpec { compared, batch_dice, smooth: 1e-5, exclusion, summed }
}

fn loss(spec: PartlyLabelledSpec) -> Arc<dyn Loss> {
    host_loss(&LossSpec::PartlyLabelled { loss: spec, weights: vec![1.0] })
}

/// Every loss of this kind, with a target that fits it.
fn all() -> Vec<(PartlyLabelledSpec, Target)> {
    let mut all = Vec::new();
    for ignore in [false, true] {
        for batch in [false, true] {
            let of_labels = Compared::Labels { ignore_label: ignore.then_some(4) };
            let of_regions = Compared::Regions { has_ignore: ignore };
            all.push((spec(of_labels, batch, 0.0, false), labels(ignore)));
            all.push((spec(of_labels, batch, 0.7, false), labels(ignore)));
            all.push((spec(of_regions, batch, 0.0, false), regions(ignore)));
            all.push((spec(of_regions, batch, 0.0, true), regions(ignore)));
        }
    }
    all
}

#[test]
fn gradients_are_differences_of_values() {
    for (spec, target) in all() {
        let (loss, targets) = (loss(spec), targets(target, SOME));
        let logits = logits(SHAPE);
        let (_, gradients) = loss.value_and_gradient(std::slice::from_ref(&logits), &targets).unwrap();
        let gradient = gradients[0].as_ref().unwrap();
        let largest = gradient.data.iter().fold(0.0f32, |all, v| all.max(v.abs()));
        for i in (0..logits.data.len()).step_by(17) {
            let at = |by: f32| {
                let mut shifted = logits.clone();
                shifted.data[i] += by;
                loss.value(&[shifted], &targets).unwrap().total
            };
            let step = 0.03125;
            let difference = ((at(step) - at(-step)) / f64::from(2.0 * step)) as f32;
            let error = (gradient.data[i] - difference).abs();
            assert!(error < 2e-3 * largest, "{spec:?}, {i}: {} {difference}", gradient.data[i]);
        }
    }
}

#[test]
fn with_everything_annotated_they_are_the_ordinary_losses() {
    for (spec, target) in all().into_iter().filter(|(spec, _)| spec.exclusion == 0.0 && !spec.summed) {
        let ordinary = match spec.compared {
            Compared::Labels { ignore_label } => {
                ScaleLossSpec::dice_and_cross_entropy(spec.batch_dice, ignore_label)
            }
            Compared::Regions { has_ignore } => {
                ScaleLossSpec::dice_and_binary_cross_entropy(spec.batch_dice, has_ignore)
            }
        };
        let ordinary = host_loss(&LossSpec::deep_supervision(ordinary, 1));
        let logits = [logits(SHAPE)];
        let expected = ordinary.value_and_gradient(&logits, &Targets::new(vec![target.clone()])).unwrap();
        let found = loss(spec).value_and_gradient(&logits, &targets(target.clone(), ALL)).unwrap();
        assert_eq!(found, expected, "{spec:?}");

        // The general code, which a sample without any annotations asks for, agrees with the ordinary loss of the others.
        let without_last = [ALL[0], ALL[1], [false; 4]];
        let whole = Targets { ..targets(target, without_last) };
        let (expected, expected_gradient) = ordinary.value_and_gradient(&logits, &whole).unwrap();
        let (found, gradient) = loss(spec).value_and_gradient(&logits, &whole).unwrap();
        assert!(
            (found.total - expected.total).abs() < 1e-5 * expected.total.abs(),
            "{spec:?} {found:?} {expected:?}"
        );
        let (gradient, expected) = (gradient[0].as_ref().unwrap(), expected_gradient[0].as_ref().unwrap());
        let largest = expected.data.iter().fold(0.0f32, |all, v| all.max(v.abs()));
        for (a, b) in gradient.data.iter().zip(&expected.data) {
            assert!((a - b).abs() <= 1e-5 * largest, "{spec:?}: {a} {b}");
        }
        assert!(gradient.data[2 * 4 * VOXELS..].iter().all(|v| *v == 0.0));
    }
}

#[test]
fn the_marginal_loss_is_that_of_a_merged_background() {
    let logits = logits([1, 4, 1, 1, VOXELS]);
    let truth: Vec<i16> = (0..VOXELS).map(|i| (i % 4) as i16).collect();
    // Of classes 1 to 3 the second alone is annotated.
    let row = [true, false, true, false];
    let (mut cross_entropy, mut sums) = (0.0, [0.0; 3]);
    for (i, &label) in truth.iter().enumerate() {
        let e: Vec<f64> = (0..4).map(|c| f64::from(logits.data[c * VOXELS + i]).exp()).collect();
        let p = e[2] / e.iter().sum::<f64>();
        let is_there = label == 2;
        cross_entropy -= if is_there { p.ln() } else { (1.0 - p).ln() } / VOXELS as f64;
        sums[0] += if is_there { p } else { 0.0 };
        sums[1] += p;
        sums[2] += f64::from(u8::from(is_there));
    }
    let expected = cross_entropy - (2.0 * sums[0] + 1e-5) / (sums[1] + sums[2] + 1e-5);
    let target = Target::Labels(LabelBatch { shape: [1, 1, 1, VOXELS], data: truth });
    let validity = Some(Validity { shape: [1, 4], data: row.to_vec() });
    let targets = Targets { validity, ..Targets::new(vec![target]) };
    let found = loss(spec(Compared::Labels { ignore_label: None }, true, 0.0, false));
    let found = found.value(&[logits], &targets).unwrap().total;
    assert!((found - expected).abs() < 1e-6, "{found} {expected}");
}

#[test]
fn logits_far_apart_stay_finite() {
    let mut far = logits(SHAPE);
    far.data.iter_mut().for_each(|z| *z *= 100.0);
    for (spec, target) in all() {
        let (value, gradient) =
            loss(spec).value_and_gradient(std::slice::from_ref(&far), &targets(target, SOME)).unwrap();
        assert!(value.total.is_finite(), "{spec:?}");
        assert!(gradient[0].as_ref().unwrap().data.iter().all(|v| v.is_finite()), "{spec:?}");
    }
}

#[test]
fn regions_that_were_not_annotated_get_no_gradient_and_change_nothing() {
    for (spec, target) in
        all().into_iter().filter(|(spec, _)| matches!(spec.compared, Compared::Regions { .. }))
    {
        let targets = targets(target, SOME);
        let logits = logits(SHAPE);
        let (value, gradient) =
            loss(spec).value_and_gradient(std::slice::from_ref(&logits), &targets).unwrap();
        let gradient = gradient[0].as_ref().unwrap();
        let mut other = logits.clone();
        for (n, row) in SOME.iter().enumerate() {
            for c in (0..4).filter(|&c| !row[c]) {
                assert!(gradient.channel(n, c).iter().all(|v| *v == 0.0));
                let start = (n * 4 + c) * VOXELS;
                other.data[start..start + VOXELS].fill(5.0);
            }
        }
        assert_eq!(loss(spec).value(&[other], &targets).unwrap(), value, "{spec:?}");
    }
}

#[test]
fn a_sample_without_a_class_changes_nothing_of_its_batch_dice() {
    for compared in [Compared::Labels { ignore_label: None }, Compared::Regions { has_ignore: false }] {
        let target = match compared {
            Compared::Labels { .. } => labels(false),
            Compared::Regions { .. } => regions(false),
        };
        let dice = |rows| {
            let value = loss(spec(compared, true, 0.0, false));
            value.value(&[logits(SHAPE)], &targets(target.clone(), rows)).unwrap().scales[0].terms[0]
        };
        let only = |last| dice([[false, true, false, false], [false, true, false, false], last]);
        let background = matches!(compared, Compared::Labels { .. });
        assert_eq!(only([background, false, false, false]), only([false; 4]), "{compared:?}");
        assert_ne!(only([false, true, false, false]), only([false; 4]));
    }
}

#[test]
fn masks_that_do_not_fit_are_named() {
    let loss = loss(spec(Compared::Labels { ignore_label: None }, true, 0.0, false));
    let with = |shape: [usize; 2]| {
        let validity = Some(Validity { shape, data: vec![true; shape[0] * shape[1]] });
        let targets = Targets { validity, ..Targets::new(vec![labels(false)]) };
        loss.value(&[logits(SHAPE)], &targets).unwrap_err().to_string()
    };
    assert!(with([3, 3]).contains("a mask of 3 classes for 4 outputs"));
    assert!(with([2, 4]).contains("a mask of 2 x 4 for 3 samples"));
    let ordinary = ScaleLossSpec::dice_and_cross_entropy(true, None);
    let ordinary = host_loss(&LossSpec::deep_supervision(ordinary, 1));
    let error = ordinary.value(&[logits(SHAPE)], &targets(labels(false), SOME)).unwrap_err().to_string();
    assert!(error.contains("Choose the loss marginal or exclusion"), "{error}");
}
