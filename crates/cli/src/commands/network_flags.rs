//! Flags that decide how a network is computed.

use std::sync::Arc;

use nnunet::backend::{AUTO, Backend, BackendOptions, Precision};

use crate::environment::cpu_level;
use crate::flags::{Flag, Group, Matches};
use crate::messages::UsageError;
use crate::session::Session;

pub(super) const NETWORK_FLAGS: &[Flag] = &[
    Flag::one(&["-device"], "DEVICE", "cpu or auto (default), which is the CPU in this build")
        .within(Group::Speed),
    Flag::one(
        &["--precision"],
        "PRECISION",
        "fast (default: f32, with transforms whose error is close to that of direct sums), exact (f32, \
         direct sums), relaxed (transforms with about four times that error where they are faster) or bf16 \
         (activations stored as bf16: a quarter to a third less memory, and a little faster on CPUs that \
         multiply bf16)",
    )
    .within(Group::Speed),
];

/// Of trainings.
pub(super) const RECOMPUTE: Flag = Flag::switch(
    &["--recompute"],
    "use less memory and more time: recompute parts of the network in the backward pass; same results",
)
.within(Group::Speed);
/// The memory of a training step.
pub(super) const STEP_MAX_RAM: Flag = Flag::one(
    &["--max-ram"],
    "GB",
    "exit before starting if a training step needs more, in 10^9 bytes (default: the memory that this \
     process can have)",
)
.within(Group::Speed);

/// The names of `--precision`.
pub(crate) const PRECISIONS: [(&str, Precision); 4] = [
    ("fast", Precision::Fast),
    ("exact", Precision::Exact),
    ("relaxed", Precision::Relaxed),
    ("bf16", Precision::Bf16),
];

/// The device that is asked for, or the best one. `recompute`: whether a training is to take less memory and more time.
pub(super) fn backend(
    matches: &Matches,
    session: &Session,
    recompute: bool,
) -> anyhow::Result<Arc<dyn Backend>> {
    let asked = matches.text("--precision").unwrap_or("fast");
    let Some((_, precision)) = PRECISIONS.into_iter().find(|(name, _)| *name == asked) else {
        let text = format!("argument --precision: found {asked:?}, expected fast, exact, relaxed or bf16");
        return Err(UsageError(text).into());
    };
    let options =
        BackendOptions { threads: session.threads.get(), precision, cpu_level: cpu_level()?, recompute };
    let device = matches.text("-device").unwrap_or(AUTO);
    let registry = session.project.registry();
    let device = registry.device(device, &options);
    device.map_err(|error| UsageError(format!("argument -device: {error}")).into())
}
