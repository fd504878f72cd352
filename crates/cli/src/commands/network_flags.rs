//! Flags that decide how a network is computed.

use std::sync::Arc;

use nnunet::backend::{Backend, BackendOptions, DeviceError, Precision};

use super::job_flags::absolute;
use crate::environment::{cpu_level, torch_places};
use crate::flags::{Flag, Group, Matches};
use crate::messages::UsageError;
use crate::session::Session;

/// What networks run on unless another device is asked for. It needs nothing, and no time is spent on looking for others.
const DEFAULT_DEVICE: &str = "cpu";

pub(super) const NETWORK_FLAGS: &[Flag] = &[
    Flag::one(
        &["-device"],
        "DEVICE",
        "cpu (default), cuda or cuda:N (an NVIDIA card), mps (the GPU of a Mac), torch-cpu (to compare), or auto, the best \
         of these that can be used; all but cpu need PyTorch 2.10 or newer (pip install torch)",
    )
    .within(Group::Speed),
    LIBTORCH,
    Flag::one(
        &["--precision"],
        "PRECISION",
        "fast (default: f32, with transforms whose error is close to that of direct sums), exact (f32, \
         direct sums), relaxed (transforms with about four times that error where they are faster) or bf16 \
         (activations stored as bf16: a quarter to a third less memory, and a little faster on CPUs that \
         multiply bf16). On NVIDIA cards fast and relaxed compute as the reference does there, with f16 and scaled \
         gradients; exact is f32, bf16 is PyTorch's autocast with bf16",
    )
    .within(Group::Speed),
];

/// Where libtorch is.
pub(super) const LIBTORCH: Flag = Flag::one(
    &["--libtorch"],
    "DIR",
    "folder of libtorch, or of a Python environment with torch (default: $NNUNET_LIBTORCH, the active environment, or that \
     of python3)",
)
.within(Group::Speed);

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

/// The arguments on device, precision and memory as they were given, for other processes, which may run in other folders.
pub(super) fn network_arguments(matches: &Matches) -> anyhow::Result<Vec<String>> {
    let mut arguments = Vec::new();
    for flag in NETWORK_FLAGS.iter().chain([&RECOMPUTE, &STEP_MAX_RAM]).map(Flag::key) {
        if !matches.has(flag) {
            continue;
        }
        arguments.push(flag.to_owned());
        arguments.extend(match flag {
            "--libtorch" => matches
                .path(flag)
                .map(|path| absolute(&path))
                .transpose()?
                .map(|path| path.display().to_string()),
            _ => matches.text(flag).map(str::to_owned),
        });
    }
    Ok(arguments)
}

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
    let options = BackendOptions {
        threads: session.threads.get(),
        precision,
        cpu_level: cpu_level()?,
        recompute,
        index: 0,
        torch: torch_places(matches),
    };
    let device = matches.text("-device").unwrap_or(DEFAULT_DEVICE);
    let registry = session.project.registry();
    registry.device(device, &options).map_err(|error| match error {
        DeviceError::Unusable { .. } => anyhow::Error::new(error),
        error => UsageError(format!("argument -device: {error}")).into(),
    })
}
