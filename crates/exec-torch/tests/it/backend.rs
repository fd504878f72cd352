//! What every backend has to show, of libtorch, at the tolerances of the CPU backend.

use nnunet_exec_cpu::{CpuBackend, CpuOptions, Precision};
use nnunet_exec_torch::Arithmetic;

use crate::backends;
use crate::torch::backend;

fn cpu() -> CpuBackend {
    CpuBackend::new(CpuOptions { threads: 2, precision: Precision::Exact, ..CpuOptions::default() })
}

#[test]
fn small_networks() {
    let Some(backend) = backend(Arithmetic::F32) else { return };
    backends::small_networks(&backend, 2e-5);
    backends::dropouts_in_prediction(&backend, 2e-5);
}

#[test]
fn models_of_the_reference() {
    let Some(backend) = backend(Arithmetic::F32) else { return };
    backends::reference_models(&backend, 1e-4);
}

#[test]
fn training_steps_of_the_reference() {
    let Some(backend) = backend(Arithmetic::F32) else { return };
    backends::reference_training_steps(&backend, &backends::LABEL_STEPS);
    backends::reference_training_steps(&backend, &backends::OTHER_STEPS);
}

#[test]
fn states_go_over_to_the_cpu_and_back() {
    let Some(backend) = backend(Arithmetic::F32) else { return };
    backends::states_go_over(&backend, &backend, 1e-6);
    backends::states_go_over(&backend, &cpu(), 1e-4);
    backends::states_go_over(&cpu(), &backend, 1e-4);
}

#[test]
fn trainings_begin_on_the_cpu_go_on_through_libtorch_and_end_on_the_cpu() {
    let Some(backend) = backend(Arithmetic::F32) else { return };
    backends::trainings_travel(&cpu(), &backend, 1e-4);
}

#[test]
fn sessions_honour_masks_rates_and_adjustments() {
    let Some(backend) = backend(Arithmetic::F32) else { return };
    backends::samples_without_annotations(&backend);
    backends::rates_and_adjustments(&backend, &cpu(), 1e-4);
    backends::misfits_change_nothing(&backend);
}
