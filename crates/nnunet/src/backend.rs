//! Which device runs the networks: the one place that knows the backends of this build.
//!
//! ```
//! use nnunet::{Registry, backend::BackendOptions};
//!
//! let registry = Registry::default();
//! let options = BackendOptions { threads: 2, ..BackendOptions::default() };
//! assert_eq!(registry.device("cpu", &options)?.host_threads(), 2);
//! assert!(registry.device("abacus", &options).is_err());
//! # Ok::<(), nnunet::Error>(())
//! ```

use std::sync::Arc;

use nnunet_base::parts::{Named, UnknownName};
use nnunet_exec_cpu::{CpuBackend, CpuOptions};
pub use nnunet_exec_cpu::{CpuLevel, Precision};
pub use nnunet_graph::backend::Backend;

use crate::registry::Registry;

/// The name that stands for the best device of this build and machine.
pub const AUTO: &str = "auto";

/// How networks are computed. A backend ignores what is not about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackendOptions {
    /// Threads of the host, the calling one included.
    pub threads: usize,
    /// How convolutions are computed.
    pub precision: Precision,
    /// Instruction set of the CPU, lowered to what the machine has.
    pub cpu_level: CpuLevel,
    /// Whether training computes parts of the forward pass again in the backward pass: less memory, more time, the same
    /// results.
    pub recompute: bool,
}

impl Default for BackendOptions {
    /// All cores, the default precision, the machine's best instruction set, no recomputation.
    fn default() -> Self {
        let CpuOptions { threads, precision, level, recompute } = CpuOptions::default();
        Self { threads, precision, cpu_level: level, recompute }
    }
}

/// A device that this build does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this build has no {}{}; it has: {}",
    .0.name,
    .0.closest.as_ref().map_or_else(String::new, |name| format!(" (did you mean {name}?)")),
    .0.known.join(", ")
)]
pub struct UnknownDevice(pub UnknownName);

/// Makes the backend of a device.
pub type DeviceBuilder = Arc<dyn Fn(&BackendOptions) -> Arc<dyn Backend> + Send + Sync>;

/// The devices of this build, the best first.
pub fn devices() -> Named<DeviceBuilder> {
    Named::new("device").with("cpu", "the CPU", Arc::new(cpu))
}

impl Registry {
    /// The backend for the device `name`: one of the registered ones, or [`AUTO`] for the best.
    ///
    /// # Errors
    /// Any other name.
    pub fn device(&self, name: &str, options: &BackendOptions) -> Result<Arc<dyn Backend>, UnknownDevice> {
        let builder = match self.devices.iter().next() {
            Some((_, _, best)) if name == AUTO => best,
            _ => self.devices.get(name).map_err(UnknownDevice)?,
        };
        Ok(builder(options))
    }
}

/// The CPU.
pub fn cpu(options: &BackendOptions) -> Arc<dyn Backend> {
    let BackendOptions { threads, precision, cpu_level: level, recompute } = *options;
    Arc::new(CpuBackend::new(CpuOptions { threads, precision, level, recompute }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_has_its_name_and_others_are_refused() {
        let options = BackendOptions { threads: 3, ..BackendOptions::default() };
        let registry = Registry::default();
        for name in registry.devices.names() {
            assert_eq!(registry.device(name, &options).unwrap().name(), name);
        }
        let best = registry.device(AUTO, &options).unwrap();
        assert_eq!((Some(best.name()), best.host_threads()), (registry.devices.names().next(), 3));
        let error = registry.device("cuda", &options).unwrap_err();
        assert_eq!(error.to_string(), "this build has no cuda; it has: cpu");
    }

    #[test]
    fn a_backend_says_how_it_computes() {
        let options = BackendOptions {
            threads: 3,
            precision: Precision::Exact,
            cpu_level: CpuLevel::ALL[0],
            recompute: false,
        };
        let level = format!("{:?}", CpuLevel::ALL[0].min(CpuLevel::detect()));
        let expected = [("threads", "3".to_owned()), ("cpu_level", level), ("precision", "Exact".to_owned())];
        assert_eq!(cpu(&options).describe(), expected);
    }
}
