//! f16 and bf16: within what PyTorch's own autocast differs from f32, and trainings that learn as in f32.

use nnunet_exec_torch::Arithmetic;
use nnunet_graph::Tensor;
use nnunet_graph::backend::{Backend, BatchRef};

use crate::torch::backend;
use crate::{backends, common};

/// The root mean square difference, relative to the size of `expected`.
fn difference(found: &[f32], expected: &[f32]) -> f64 {
    let square = |value: f32| f64::from(value).powi(2);
    let error: f64 = found.iter().zip(expected).map(|(a, b)| square(a - b)).sum();
    (error / expected.iter().copied().map(square).sum::<f64>()).sqrt()
}

/// Outputs of the small networks. A dozen layers each round to 8 or 11 bits.
#[test]
fn outputs_differ_by_the_rounding_of_their_numbers() {
    for (arithmetic, limit) in [(Arithmetic::Bf16, 3e-2), (Arithmetic::F16, 4e-3)] {
        let Some(backend) = backend(arithmetic) else { return };
        for name in common::CASES.into_iter().filter(|name| !name.contains("batch")) {
            let case = common::case(name);
            if case.arrays.contains_key("e0") {
                continue;
            }
            let mut session = backend.inference(&case.graph(true), case.parameters()).unwrap();
            let mut output = Tensor::zeros([0; 5]);
            session.run_into(&case.tensor("x"), &mut output).unwrap();
            let error = difference(&output.data, &case.tensor("y0").data);
            assert!(error > 0.0 && error < limit, "{name} {arithmetic:?}: {error:e}");
        }
    }
}

/// Scaled gradients of f16 come out unscaled, and steps bring the loss down as in f32.
#[test]
fn trainings_in_narrow_numbers_learn() {
    let (Some(wide), Some(half), Some(brain)) =
        (backend(Arithmetic::F32), backend(Arithmetic::F16), backend(Arithmetic::Bf16))
    else {
        return;
    };
    // PyTorch's own autocast on the CPU differs by 0.043 (f16) and 0.111 (bf16) here: where rounding changes the sign of a value
    // the slope of its activation jumps, and in a network of this size each voxel counts.
    let case = common::case("plain3d");
    let gradient = |backend: &dyn Backend, case: &common::Case| -> Vec<f32> {
        let found = backends::golden_gradients(backend, case);
        found.iter().flat_map(|(_, parameter)| parameter.gradient().unwrap().to_vec()).collect()
    };
    // GELU has no such jump. The limits of bf16 are those of the CPU backend with products of bf16.
    for (case, limits) in [(&case, [5e-2, 0.3]), (&common::case("plain2d_gelu"), [1e-2, 4e-2])] {
        let expected = gradient(&wide, case);
        for (backend, limit) in [&half, &brain].into_iter().zip(limits) {
            let error = difference(&gradient(backend, case), &expected);
            assert!(error > 0.0 && error < limit, "limit {limit}: {error:e}");
        }
    }
    let (graph, image, targets) = (case.graph(true), case.tensor("x"), backends::labels_for(&case));
    let batch = BatchRef { image: &image, targets: &targets };
    let losses = |backend: &dyn Backend| -> Vec<f64> {
        let mut session = backends::training(backend, &graph, 1, backends::optimisers()[0]);
        backends::steps(&mut *session, batch, 12).iter().map(|report| report.loss).collect()
    };
    let expected = losses(&wide);
    for backend in [&half, &brain] {
        let found = losses(backend);
        assert!(found[11] < found[0] - 0.05, "{found:?}");
        assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 0.03), "{found:?} and {expected:?}");
    }
}

/// A step whose scaled gradients overflow is left out: weights stay, the next one is taken with a smaller scale.
#[test]
fn steps_that_overflow_are_left_out() {
    let Some(backend) = backend(Arithmetic::F16) else { return };
    let case = common::case("plain3d");
    let (graph, image, targets) = (case.graph(true), case.tensor("x"), backends::labels_for(&case));
    let batch = BatchRef { image: &image, targets: &targets };
    let mut session = backends::training(&backend, &graph, 1, backends::optimisers()[0]);
    let mut large = session.export().unwrap();
    // The weights of the head multiply the gradient, so that 65536 times it is beyond f16; logits stay within.
    let head = large.parameters.get_mut("decoder.seg_layers.1.weight").unwrap();
    head.value_mut().iter_mut().for_each(|weight| *weight *= 2000.0);
    session.import(large).unwrap();
    let (mut taken, mut left_out) = (false, false);
    for _ in 0..24 {
        let before = session.export().unwrap().parameters;
        let report = session.step(batch, 1e-6.into()).unwrap();
        let moved = session.export().unwrap().parameters != before;
        assert_eq!(moved, report.gradient_norm.is_finite(), "{report:?}");
        (taken, left_out) = (taken | moved, left_out | !moved);
    }
    let scale = session.gradient_scale().unwrap();
    assert!(scale.scale < 65536.0, "{scale:?}");
    let mut other = backends::training(&backend, &graph, 2, backends::optimisers()[0]);
    other.set_gradient_scale(scale);
    assert_eq!(other.gradient_scale(), Some(scale));
    assert!(taken && left_out, "taken: {taken}, left out: {left_out}");
}
