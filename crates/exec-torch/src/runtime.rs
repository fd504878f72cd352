//! libtorch with a device of it: what sessions share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use nnunet_graph::NetworkError;

use crate::error::during;
use crate::interface::{Device, Dtype, Element, Interface, Tensor, TorchError};

/// Numbers that networks are computed with. Parameters, statistics, sums and losses are f32 or wider in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    /// f32 throughout.
    F32,
    /// What PyTorch's autocast does with f16: convolutions and what follows them in f16. Training scales the loss so that small
    /// gradients do not vanish.
    F16,
    /// What PyTorch's autocast does with bf16.
    Bf16,
}

/// The device with its library.
#[derive(Debug)]
pub(crate) struct Runtime {
    pub(crate) interface: Arc<Interface>,
    pub(crate) device: Device,
    pub(crate) arithmetic: Arithmetic,
    /// Threads of operations on the host.
    pub(crate) threads: usize,
    /// Slopes of activations on the device, by their bits, type and number of axes.
    slopes: Mutex<HashMap<(u64, u8, usize), Arc<Tensor>>>,
}

impl Runtime {
    pub(crate) fn new(
        interface: Arc<Interface>,
        device: Device,
        arithmetic: Arithmetic,
        threads: usize,
    ) -> Self {
        Self { interface, device, arithmetic, threads, slopes: Mutex::default() }
    }

    /// Makes the calling thread ready for operations.
    pub(crate) fn enter(&self) {
        self.interface.enter(self.threads);
    }

    /// The type that convolutions compute with.
    pub(crate) fn narrow_type(&self) -> Dtype {
        match self.arithmetic {
            Arithmetic::F32 => Dtype::F32,
            Arithmetic::F16 => Dtype::F16,
            Arithmetic::Bf16 => Dtype::Bf16,
        }
    }

    /// The type that sums end in: f64, where the device has it.
    pub(crate) fn wide_type(&self) -> Dtype {
        if self.device == Device::Mps { Dtype::F32 } else { Dtype::F64 }
    }

    /// Whether tensors lie in the host's memory.
    pub(crate) fn on_host(&self) -> bool {
        self.device == Device::Cpu
    }

    /// A copy of host memory on the device.
    pub(crate) fn upload<T: Element>(&self, data: &[T], shape: &[i64]) -> Result<Tensor, TorchError> {
        Tensor::upload(&self.interface, data, shape, self.device)
    }

    /// A tensor on the device with one value everywhere.
    pub(crate) fn full(&self, shape: &[i64], value: f64, dtype: Dtype) -> Result<Tensor, TorchError> {
        Tensor::full(&self.interface, shape, value, dtype, self.device)
    }

    /// The slope of an activation as a tensor of `axes` axes for values of `dtype`.
    pub(crate) fn slope(&self, slope: f64, dtype: Dtype, axes: usize) -> Result<Arc<Tensor>, TorchError> {
        let mut slopes = self.slopes.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (slope.to_bits(), dtype as u8, axes);
        if let Some(tensor) = slopes.get(&key) {
            return Ok(Arc::clone(tensor));
        }
        let tensor = Arc::new(self.full(&vec![1; axes], slope, dtype)?);
        slopes.insert(key, Arc::clone(&tensor));
        Ok(tensor)
    }

    /// Sums of (n, c, spatial axes) over the spatial axes: (n, c). Rows are summed in f32, which libtorch does pairwise, and the
    /// sums of rows in f64.
    pub(crate) fn sums(&self, values: &Tensor) -> Result<Tensor, TorchError> {
        let axes = values.shape().len() as i64;
        match axes {
            4 => values.sum(&[3], false, None)?.sum(&[2], false, Some(self.wide_type())),
            _ => values.sum(&[3, 4], false, None)?.sum(&[2], false, Some(self.wide_type())),
        }
    }

    /// The numbers of `tensors`, one after the other, in one copy to the host.
    pub(crate) fn download_all(&self, tensors: &[&Tensor]) -> Result<Vec<f64>, TorchError> {
        if tensors.is_empty() {
            return Ok(Vec::new());
        }
        let flat = |tensor: &&Tensor| tensor.reshape(&[-1])?.to(self.wide_type());
        let flat: Vec<Tensor> = tensors.iter().map(flat).collect::<Result<_, _>>()?;
        let all = Tensor::cat(&self.interface, &flat.iter().collect::<Vec<_>>(), 0)?;
        match self.wide_type() {
            Dtype::F64 => all.download(),
            _ => Ok(all.download::<f32>()?.into_iter().map(f64::from).collect()),
        }
    }

    /// Bytes of the device's memory: free and total, where it has its own and says so.
    pub(crate) fn free_memory(&self) -> Option<(usize, usize)> {
        match self.device {
            Device::Cuda(_) => self.interface.cuda_memory(),
            Device::Cpu | Device::Mps => None,
        }
    }

    /// A first operation on the device, which fails if it cannot be used.
    pub(crate) fn try_device(&self) -> Result<(), NetworkError> {
        self.enter();
        let tried =
            || -> Result<Vec<f32>, TorchError> { self.upload(&[1.0f32, 2.0], &[2])?.scaled(2.0)?.download() };
        let numbers = tried().map_err(during("first operation"))?;
        match numbers == [2.0, 4.0] {
            true => Ok(()),
            false => Err(NetworkError::Device {
                node: "first operation".into(),
                message: format!("2 * (1, 2) came out as {numbers:?}"),
                memory: false,
            }),
        }
    }
}
