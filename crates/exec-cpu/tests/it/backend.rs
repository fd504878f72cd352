//! What every backend has to show, of the CPU.

use nnunet_exec_cpu::{CpuBackend, CpuOptions, Precision};

use crate::backends;

fn backend() -> CpuBackend {
    CpuBackend::new(CpuOptions { threads: 2, precision: Precision::Exact, ..CpuOptions::default() })
}

#[test]
fn small_networks() {
    backends::small_networks(&backend(), 2e-5);
    backends::dropouts_in_prediction(&backend(), 2e-5);
}

#[test]
fn models_and_training_steps_of_the_reference() {
    backends::reference_models(&backend(), 1e-4);
    // In the default precision, as trainings run.
    let fast = CpuBackend::new(CpuOptions { threads: 2, ..CpuOptions::default() });
    backends::reference_training_steps(&fast, &backends::LABEL_STEPS);
}

#[test]
fn states_go_over_to_another_session() {
    backends::states_go_over(&backend(), &backend(), 0.0);
}

#[test]
fn sessions_honour_masks_rates_and_adjustments() {
    backends::samples_without_annotations(&backend());
    backends::rates_and_adjustments(&backend(), &backend(), 0.0);
    backends::misfits_change_nothing(&backend());
}
