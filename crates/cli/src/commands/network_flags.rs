//! Flags that decide how a network is computed.

use std::sync::Arc;

use anyhow::Context;
use nnunet::backend::{AUTO, Backend, BackendOptions, CpuLevel, Precision};

use crate::environment::variable;
use crate::flags::{Flag, Matches};
use crate::messages::UsageError;
use crate::session::Session;

pub(super) const NETWORK_FLAGS: &[Flag] = &[
    Flag::one(&["-device"], "DEVICE", "cpu or auto; both mean the processor in this build"),
    Flag::one(
        &["--precision"],
        "PRECISION",
        "fast (default: 32-bit with transforms whose error is close to that of direct sums), exact (direct sums), \
         relaxed (transforms with some four times that error where they are faster) \
         or bf16 (fast, with what layers hand on rounded to 16 bits: a quarter to a third less memory, \
         a little faster where the processor multiplies such values)",
    ),
];

/// The device that is asked for, or the best one. `recompute`: whether a training is to take less memory and more time.
pub(super) fn backend(
    matches: &Matches,
    session: &Session,
    recompute: bool,
) -> anyhow::Result<Arc<dyn Backend>> {
    let precision = match matches.text("--precision").unwrap_or("fast") {
        "fast" => Precision::Fast,
        "exact" => Precision::Exact,
        "relaxed" => Precision::Relaxed,
        "bf16" => Precision::Bf16,
        other => {
            let text =
                format!("argument --precision: found {other:?}, expected fast, exact, relaxed or bf16");
            return Err(UsageError(text).into());
        }
    };
    let options = BackendOptions { threads: session.threads, precision, cpu_level: cpu_level()?, recompute };
    let device = matches.text("-device").unwrap_or(AUTO);
    let registry = session.project.registry();
    let device = registry.device(device, &options);
    device.map_err(|error| UsageError(format!("argument -device: {error}")).into())
}

/// The machine's instruction set, lowered by `NNUNET_CPU_LEVEL`.
pub(crate) fn cpu_level() -> anyhow::Result<CpuLevel> {
    let detected = CpuLevel::detect();
    match variable("NNUNET_CPU_LEVEL") {
        None => Ok(detected),
        Some(name) => {
            let limit = CpuLevel::parse(&name).with_context(|| {
                let known = CpuLevel::ALL.map(CpuLevel::name).join(", ");
                format!("environment variable NNUNET_CPU_LEVEL: found {name:?}, expected one of {known}")
            })?;
            Ok(detected.min(limit))
        }
    }
}
