//! libtorch as a [`Backend`].

use std::path::PathBuf;
use std::sync::Arc;

use nnunet_graph::backend::{Backend, InferenceSession, StepSpec, TrainingSession};
use nnunet_graph::loss::{Loss, LossSpec};
use nnunet_graph::{Graph, NetworkError, Parameters};

use crate::check;
use crate::device::TorchDevice;
use crate::error::OpenError;
use crate::find::{FILES, Found, Places};
use crate::inference::TorchInference;
use crate::interface::{Device, Interface};
use crate::loss::{BatchLoss, ComparedLoss, runs_on_device};
use crate::runtime::{Arithmetic, Runtime};
use crate::training::TorchTraining;

/// Settings of a [`TorchBackend`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TorchOptions {
    /// Where networks run.
    pub device: TorchDevice,
    /// Where libtorch is.
    pub places: Places,
    /// The numbers that networks are computed with.
    pub arithmetic: Arithmetic,
    /// Threads of the host.
    pub threads: usize,
}

/// Runs networks through libtorch.
#[derive(Debug)]
pub struct TorchBackend {
    name: String,
    device: TorchDevice,
    found: Found,
    card: Option<String>,
    runtime: Arc<Runtime>,
}

impl TorchBackend {
    /// Finds and opens libtorch, checks every operation that is used, and tries the device.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(options: &TorchOptions) -> Result<Self, OpenError> {
        let card = options.device.card()?;
        let found = options.places.find()?;
        let core = found.folder.join(FILES.core);
        let cuda = found.folder.join(FILES.cuda);
        let more: Vec<PathBuf> = match options.device {
            TorchDevice::Cuda(_) if cuda.is_file() => vec![cuda],
            TorchDevice::Cuda(_) => {
                let version = Interface::open(&core, &[])?.version().to_string();
                return Err(OpenError::NotBuiltFor { path: core, version, device: "CUDA", file: FILES.cuda });
            }
            TorchDevice::Cpu | TorchDevice::Mps => Vec::new(),
        };
        let more: Vec<&std::path::Path> = more.iter().map(PathBuf::as_path).collect();
        let interface = Interface::open(&core, &more)?;
        interface.enter(options.threads);
        let faults = check::faults(&interface);
        if !faults.is_empty() {
            return Err(OpenError::Operations {
                path: core,
                version: interface.version().to_string(),
                faults,
            });
        }
        let device = match options.device {
            TorchDevice::Cpu => Device::Cpu,
            TorchDevice::Cuda(index) => Device::Cuda(i32::try_from(index).unwrap_or(i32::MAX)),
            TorchDevice::Mps => Device::Mps,
        };
        let runtime = Arc::new(Runtime::new(interface, device, options.arithmetic, options.threads));
        let name = options.device.to_string();
        runtime
            .try_device()
            .map_err(|error| OpenError::Device { device: name.clone(), message: error.to_string() })?;
        Ok(Self { name, device: options.device, found, card, runtime })
    }

    /// Where libtorch was found.
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// Version of libtorch.
    pub fn version(&self) -> String {
        self.runtime.interface.version().to_string()
    }

    /// The card's name, if the device is one.
    pub fn card(&self) -> Option<&str> {
        self.card.as_deref()
    }

    /// Bytes of the device's memory: free and total, where it has its own and says so.
    pub fn free_memory(&self) -> Option<(usize, usize)> {
        self.runtime.free_memory()
    }

    /// The loss that `spec` describes as this backend computes it, for logits of the host; `None` if it runs on the host anyway.
    /// Trainings do not need it; it serves comparisons.
    pub fn loss(&self, spec: &LossSpec) -> Option<Arc<dyn Loss>> {
        runs_on_device(spec)
            .then(|| Arc::new(ComparedLoss { loss: BatchLoss::new(spec, &self.runtime) }) as Arc<dyn Loss>)
    }
}

impl Backend for TorchBackend {
    fn name(&self) -> &str {
        &self.name
    }

    fn host_threads(&self) -> usize {
        match self.device {
            TorchDevice::Cpu => self.runtime.threads.max(1),
            TorchDevice::Cuda(_) | TorchDevice::Mps => 1,
        }
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        let mut described = vec![
            ("threads", self.runtime.threads.to_string()),
            ("libtorch", self.version()),
            ("libtorch_folder", self.found.folder.display().to_string()),
            ("arithmetic", format!("{:?}", self.runtime.arithmetic)),
        ];
        if let Some(card) = &self.card {
            described.push(("card", card.clone()));
        }
        described
    }

    fn loader_threads(&self) -> usize {
        match self.device {
            TorchDevice::Cpu => self.host_threads() / 2,
            // One thread feeds the device.
            TorchDevice::Cuda(_) | TorchDevice::Mps => self.runtime.threads.saturating_sub(1).max(1),
        }
    }

    fn inference(
        &self,
        graph: &Graph,
        parameters: Parameters,
    ) -> Result<Box<dyn InferenceSession>, NetworkError> {
        Ok(Box::new(TorchInference::new(graph, &parameters, Arc::clone(&self.runtime))?))
    }

    fn training(
        &self,
        graph: &Graph,
        parameters: Parameters,
        step: &StepSpec,
    ) -> Result<Box<dyn TrainingSession>, NetworkError> {
        Ok(Box::new(TorchTraining::new(graph, &parameters, step, Arc::clone(&self.runtime))?))
    }
}
