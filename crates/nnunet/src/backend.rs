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

use nnunet_base::hint::Hint;
use nnunet_base::parts::{Named, UnknownName};
use nnunet_exec_cpu::{CpuBackend, CpuOptions};
pub use nnunet_exec_cpu::{CpuLevel, Precision};
pub use nnunet_exec_torch::Places as TorchPlaces;
use nnunet_exec_torch::{Arithmetic, OpenError, TorchBackend, TorchDevice, TorchOptions, cards};
pub use nnunet_graph::backend::Backend;

use crate::registry::Registry;

/// The name that stands for the best device that this machine can use.
pub const AUTO: &str = "auto";

/// How networks are computed. A backend ignores what is not about it.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Number of the device among those of its kind, as in `cuda:1`.
    pub index: usize,
    /// Where libtorch is looked for.
    pub torch: TorchPlaces,
}

impl Default for BackendOptions {
    /// All cores, the default precision, the machine's best instruction set, no recomputation, the first device of its kind, no
    /// libtorch.
    fn default() -> Self {
        let CpuOptions { threads, precision, level, recompute } = CpuOptions::default();
        let torch = TorchPlaces::default();
        Self { threads, precision, cpu_level: level, recompute, index: 0, torch }
    }
}

/// A device that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// A name that no device of this build has.
    #[error(
        "this build has no {}{}; it has: {}",
        .0.name,
        .0.closest.as_ref().map_or_else(String::new, |name| format!(" (did you mean {name}?)")),
        .0.known.join(", ")
    )]
    Unknown(UnknownName),
    /// Something else than a number after the colon.
    #[error("found {0:?}, expected a name, or a name and a number as in cuda:1")]
    Number(String),
    /// A device that this machine does not have or cannot use.
    #[error("{device} cannot be used: {reason}")]
    Unusable {
        /// Its name.
        device: String,
        /// Why not.
        reason: String,
        /// What to do.
        #[source]
        hint: Hint,
    },
}

impl DeviceError {
    fn unusable(device: impl ToString, error: &OpenError) -> Self {
        Self::Unusable { device: device.to_string(), reason: error.to_string(), hint: error.hint() }
    }
}

/// Makes the backend of a device, or says why it cannot be used.
pub type DeviceBuilder = Arc<dyn Fn(&BackendOptions) -> Result<Arc<dyn Backend>, DeviceError> + Send + Sync>;

/// The devices of this build, the best first. `torch-cpu` comes last: the CPU's own backend needs nothing and is there for work.
pub fn devices() -> Named<DeviceBuilder> {
    let torch = |device: fn(usize) -> TorchDevice| -> DeviceBuilder {
        Arc::new(move |options: &BackendOptions| libtorch(device(options.index), options))
    };
    Named::<DeviceBuilder>::new("device")
        .with("cuda", "NVIDIA cards, through libtorch", torch(TorchDevice::Cuda))
        .with("mps", "the GPU of a Mac, through libtorch", Arc::new(mps))
        .with("cpu", "the CPU", Arc::new(|options: &BackendOptions| Ok(cpu(options))))
        .with("torch-cpu", "the CPU through libtorch, to compare with PyTorch", torch(|_| TorchDevice::Cpu))
}

/// A device with what was found when it was tried.
#[derive(Debug, Clone)]
pub struct DeviceState {
    /// Its name.
    pub name: String,
    /// What it is.
    pub description: String,
    /// How it computes as (key, value), or why it cannot be used.
    pub found: Result<Vec<(&'static str, String)>, DeviceError>,
}

impl Registry {
    /// The backend for the device `name`: one of the registered ones, with a number behind it as in `cuda:1`, or [`AUTO`] for
    /// the best that can be used.
    ///
    /// # Errors
    /// Any other name; a device that cannot be used.
    pub fn device(&self, name: &str, options: &BackendOptions) -> Result<Arc<dyn Backend>, DeviceError> {
        if name == AUTO {
            let mut usable = self.devices.iter().filter_map(|(_, _, builder)| builder(options).ok());
            return usable.next().ok_or_else(|| DeviceError::Number(AUTO.to_owned()));
        }
        let (kind, number) = name.split_once(':').map_or((name, None), |(kind, number)| (kind, Some(number)));
        let index = match number {
            Some(number) => number.parse().map_err(|_| DeviceError::Number(name.to_owned()))?,
            None => options.index,
        };
        let builder = self.devices.get(kind).map_err(DeviceError::Unknown)?;
        builder(&BackendOptions { index, ..options.clone() })
    }

    /// Tries every device.
    pub fn device_states(&self, options: &BackendOptions) -> Vec<DeviceState> {
        let state = |(name, description, builder): (&str, &str, &DeviceBuilder)| DeviceState {
            name: name.to_owned(),
            description: description.to_owned(),
            found: builder(options).map(|backend| backend.describe()),
        };
        self.devices.iter().map(state).collect()
    }
}

/// The CPU.
pub fn cpu(options: &BackendOptions) -> Arc<dyn Backend> {
    let BackendOptions { threads, precision, cpu_level: level, recompute, .. } = *options;
    Arc::new(CpuBackend::new(CpuOptions { threads, precision, level, recompute }))
}

/// The GPU of a Mac. Elsewhere nothing is looked for.
fn mps(options: &BackendOptions) -> Result<Arc<dyn Backend>, DeviceError> {
    if cfg!(not(target_os = "macos")) {
        let (device, reason) = ("mps".to_owned(), "this is no Mac".to_owned());
        return Err(DeviceError::Unusable { device, reason, hint: Hint::AnotherDevice });
    }
    libtorch(TorchDevice::Mps, options)
}

/// A device of libtorch.
fn libtorch(device: TorchDevice, options: &BackendOptions) -> Result<Arc<dyn Backend>, DeviceError> {
    // The driver answers at once; libtorch is looked for only where there is a card.
    if let TorchDevice::Cuda(_) = device {
        cards().map_err(|error| DeviceError::unusable(device, &error))?;
    }
    let arithmetic = match (options.precision, device) {
        (Precision::Bf16, _) => Arithmetic::Bf16,
        // What the reference does on cards.
        (Precision::Fast | Precision::Relaxed, TorchDevice::Cuda(_)) => Arithmetic::F16,
        _ => Arithmetic::F32,
    };
    let options =
        TorchOptions { device, places: options.torch.clone(), arithmetic, threads: options.threads };
    let backend = TorchBackend::open(&options).map_err(|error| DeviceError::unusable(device, &error))?;
    Ok(Arc::new(backend))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usable_devices_have_their_names_and_others_say_why_not() {
        let options = BackendOptions { threads: 3, ..BackendOptions::default() };
        let registry = Registry::default();
        for state in registry.device_states(&options) {
            match registry.device(&state.name, &options) {
                Ok(device) => assert_eq!(device.name(), state.name),
                Err(error) => assert_eq!(Err(error), state.found),
            }
        }
        let best = registry.device(AUTO, &options).unwrap();
        assert_eq!((best.name(), best.host_threads()), ("cpu", 3));
        let error = registry.device("cudo", &options).unwrap_err();
        let expected = "this build has no cudo (did you mean cuda?); it has: cuda, cpu, mps, torch-cpu";
        assert_eq!(error.to_string(), expected);
        let error = registry.device("cuda:one", &options).unwrap_err();
        assert!(error.to_string().contains("as in cuda:1"), "{error}");
        let error = registry.device("torch-cpu", &options).unwrap_err();
        assert!(error.to_string().contains("no libtorch found"), "{error}");
        assert_eq!(Hint::of(&error), Some(&Hint::InstallTorch));
    }

    #[test]
    fn a_backend_says_how_it_computes() {
        let options = BackendOptions {
            threads: 3,
            precision: Precision::Exact,
            cpu_level: CpuLevel::ALL[0],
            ..BackendOptions::default()
        };
        let level = format!("{:?}", CpuLevel::ALL[0].min(CpuLevel::detect()));
        let expected = [("threads", "3".to_owned()), ("cpu_level", level), ("precision", "Exact".to_owned())];
        assert_eq!(cpu(&options).describe(), expected);
    }
}
