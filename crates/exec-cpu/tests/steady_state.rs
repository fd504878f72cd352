//! After the first step of a shape nothing of size is allocated any more, in training and in inference.
#![allow(clippy::unwrap_used)]

mod common;

use allocation_counter::{AllocationInfo, measure};
use nnunet_exec_cpu::{CpuExecutor, CpuOptions, Precision};
use nnunet_graph::Tensor;
use nnunet_graph::optimiser::{Optimiser, Sgd, SgdOptions, clip_gradient_norm};

/// Lists of sources and shapes of all steps together; the feature maps of these networks are larger.
const SMALL: u64 = 64 << 10;

fn assert_steady(what: &str, first: &AllocationInfo, later: &[AllocationInfo], planned: usize) {
    assert!(first.bytes_total >= planned as u64, "{what}: {first:?}, planned are {planned}");
    for info in later {
        assert!(info.bytes_total < SMALL, "{what}: {info:?}");
        assert_eq!((info.bytes_current, info.count_current), (0, 0), "{what}: {info:?}");
        assert_eq!(info.count_total, later[0].count_total, "{what}");
    }
}

#[test]
fn only_the_first_step_allocates() {
    for name in ["plain3d", "residual3d_bottleneck", "plain3d_batch", "plain3d_group", "plain2d_gelu"] {
        let settings = [
            (false, Precision::Fast),
            (true, Precision::Fast),
            (false, Precision::Bf16),
            (true, Precision::Bf16),
        ];
        for (recompute, precision) in settings {
            let case = common::case(name);
            // The counter counts those of its own thread.
            let options = CpuOptions { threads: 1, recompute, precision, ..CpuOptions::default() };
            let mut executor = CpuExecutor::new(case.graph(true), case.parameters(), options).unwrap();
            let x = case.tensor("x");
            let gradients: Vec<_> = (0..2).map(|i| Some(case.tensor(&format!("d{i}")))).collect();
            let mut sgd = Sgd::new(SgdOptions::default());
            let mut outputs = Vec::new();
            let planned = executor.memory_estimate(x.shape, true).unwrap().activations;
            let mut step = || {
                executor.forward_into(&x, &mut outputs).unwrap();
                executor.backward(&gradients).unwrap();
                clip_gradient_norm(executor.parameters_mut(), 12.0);
                sgd.step(executor.parameters_mut(), 1e-3);
            };
            let first = measure(&mut step);
            step();
            let later = [measure(&mut step), measure(&mut step)];
            assert_steady(&format!("training of {name}"), &first, &later, planned);

            let mut executor = CpuExecutor::new(case.graph(true), case.parameters(), options).unwrap();
            let mut output = Tensor::zeros([0; 5]);
            let planned = executor.memory_estimate(x.shape, false).unwrap().activations;
            let mut run = || executor.run_into(&x, &mut output).unwrap();
            let first = measure(&mut run);
            run();
            let later = [measure(&mut run), measure(&mut run)];
            assert_steady(&format!("inference of {name}"), &first, &later, planned);
        }
    }
}
