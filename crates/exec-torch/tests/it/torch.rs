//! The libtorch of this machine, on its CPU.

use std::path::PathBuf;

use nnunet_exec_torch::{Arithmetic, Places, TorchBackend, TorchDevice, TorchOptions};
use nnunet_testkit::skip::skip;

/// Where tests look for libtorch: `NNUNET_LIBTORCH`, the environment that is active, `python3`.
pub(crate) fn places() -> Places {
    let folder = |name: &str| std::env::var_os(name).map(|folder| (name.to_owned(), PathBuf::from(folder)));
    Places {
        asked_for: std::env::var_os("NNUNET_LIBTORCH").map(PathBuf::from),
        environments: ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(folder).collect(),
        python: Some("python3".into()),
    }
}

/// The device that tests run on: `NNUNET_TEST_DEVICE` (cuda, mps), else libtorch's CPU.
pub(crate) fn device() -> TorchDevice {
    match std::env::var("NNUNET_TEST_DEVICE").as_deref() {
        Ok("cuda") => TorchDevice::Cuda(0),
        Ok("mps") => TorchDevice::Mps,
        _ => TorchDevice::Cpu,
    }
}

/// libtorch with this arithmetic. `None` where there is none; the check is then recorded as skipped.
pub(crate) fn backend(arithmetic: Arithmetic) -> Option<TorchBackend> {
    if let Err(error) = places().find() {
        skip(&format!("{error} (NNUNET_LIBTORCH, or `pip install torch`)"));
        return None;
    }
    let options = TorchOptions { device: device(), places: places(), arithmetic, threads: 2 };
    Some(TorchBackend::open(&options).unwrap())
}
