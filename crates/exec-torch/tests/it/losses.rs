//! Losses on the device against the goldens of the host's, at the same tolerances.

use nnunet_exec_torch::{Arithmetic, runs_on_device};

use crate::torch::backend;
use crate::{loss_cases, loss_golden_cases};

#[test]
fn nnunets_own_losses() {
    let Some(backend) = backend(Arithmetic::F32) else { return };
    loss_golden_cases::check_values_and_gradients(|spec| backend.loss(spec).unwrap());
}

#[test]
fn losses_by_name() {
    let Some(backend) = backend(Arithmetic::F32) else { return };
    let on_device =
        loss_cases::cases().iter().filter(|case| runs_on_device(&loss_cases::spec(case, 1))).count();
    assert_eq!(loss_cases::check_values_and_gradients(|spec| backend.loss(spec)), on_device);
    assert!(on_device > loss_cases::cases().len() / 2);
}
