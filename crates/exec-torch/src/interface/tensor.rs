//! Tensors of libtorch.

use std::ffi::c_void;
use std::fmt;
use std::sync::Arc;

use super::functions::Handle;
use super::{Interface, TorchError};

/// Type of the elements of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dtype {
    /// One byte, 0 or 1.
    Bool,
    /// Labels.
    I16,
    /// Indices.
    I64,
    /// IEEE half precision.
    F16,
    /// The upper half of an f32.
    Bf16,
    /// Single precision.
    F32,
    /// Double precision.
    F64,
}

impl Dtype {
    /// All of them.
    pub(super) const ALL: [Self; 7] =
        [Self::Bool, Self::I16, Self::I64, Self::F16, Self::Bf16, Self::F32, Self::F64];
}

/// Where a tensor lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Device {
    /// The host.
    Cpu,
    /// The NVIDIA card with this number.
    Cuda(i32),
    /// The GPU of a Mac.
    Mps,
}

/// Elements that cross the border between host and device.
///
/// # Safety
/// `DTYPE` has the size of the type, and every bit pattern that libtorch writes for it is a value of the type.
pub(crate) unsafe trait Element: Copy + Default {
    /// libtorch's type.
    const DTYPE: Dtype;
}

// SAFETY: the same sizes; every pattern is a number.
unsafe impl Element for i16 {
    const DTYPE: Dtype = Dtype::I16;
}
// SAFETY: as above.
unsafe impl Element for i64 {
    const DTYPE: Dtype = Dtype::I64;
}
// SAFETY: as above.
unsafe impl Element for f32 {
    const DTYPE: Dtype = Dtype::F32;
}
// SAFETY: as above.
unsafe impl Element for f64 {
    const DTYPE: Dtype = Dtype::F64;
}
// SAFETY: one byte; libtorch's operations write 0 or 1.
unsafe impl Element for bool {
    const DTYPE: Dtype = Dtype::Bool;
}

/// An owned reference to a tensor, or to none ("undefined").
pub(crate) struct Tensor {
    pub(super) interface: Arc<Interface>,
    pub(super) handle: Handle,
}

// SAFETY: libtorch's tensors count references atomically and may be used from any thread; writes to one tensor are ordered by
// the borrows of its owner, the session.
unsafe impl Send for Tensor {}
// SAFETY: as above; shared references are only read.
unsafe impl Sync for Tensor {}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({:?} {:?})", self.dtype(), self.shape())
    }
}

impl Drop for Tensor {
    fn drop(&mut self) {
        // SAFETY: the handle is owned and not used again.
        unsafe { (self.interface.functions.aoti_torch_delete_tensor_object)(self.handle) };
    }
}

/// Strides of a plain tensor.
fn strides(shape: &[i64]) -> Vec<i64> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis].max(1);
    }
    strides
}

fn elements(shape: &[i64]) -> usize {
    shape.iter().map(|&n| usize::try_from(n).unwrap_or(0)).product()
}

impl Tensor {
    /// Takes what `make` writes.
    pub(super) fn made(
        interface: &Arc<Interface>,
        operation: &str,
        make: impl FnOnce(*mut Handle) -> i32,
    ) -> Result<Self, TorchError> {
        let mut handle = std::ptr::null_mut();
        interface.check(operation, make(&raw mut handle))?;
        Ok(Self { interface: Arc::clone(interface), handle })
    }

    /// Another reference to the same elements.
    pub(crate) fn share(&self) -> Result<Self, TorchError> {
        // SAFETY: both handles are valid.
        Self::made(&self.interface, "new_tensor_handle", |new| unsafe {
            (self.interface.functions.aoti_torch_new_tensor_handle)(self.handle, new)
        })
    }

    /// A tensor of undefined content.
    pub(crate) fn empty(
        interface: &Arc<Interface>,
        shape: &[i64],
        dtype: Dtype,
        device: Device,
    ) -> Result<Self, TorchError> {
        let (device, index) = interface.device_codes(device);
        let (strides, dtype) = (strides(shape), interface.dtype_code(dtype));
        Self::made(interface, "empty_strided", |new| {
            // SAFETY: shape and strides have as many elements as is said, and outlive the call.
            unsafe {
                (interface.functions.aoti_torch_empty_strided)(
                    shape.len() as i64,
                    shape.as_ptr(),
                    strides.as_ptr(),
                    dtype,
                    device,
                    index,
                    new,
                )
            }
        })
    }

    /// A tensor of one value everywhere.
    pub(crate) fn full(
        interface: &Arc<Interface>,
        shape: &[i64],
        value: f64,
        dtype: Dtype,
        device: Device,
    ) -> Result<Self, TorchError> {
        let (device, index) = interface.device_codes(device);
        let (dtype, layout) = (interface.dtype_code(dtype), interface.strided());
        Self::made(interface, "full", |new| {
            // SAFETY: the shape has as many elements as is said; all pointers outlive the call; null is "not given".
            unsafe {
                (interface.functions.aoti_torch_aten_full)(
                    shape.as_ptr(),
                    shape.len() as i64,
                    value,
                    &raw const dtype,
                    &raw const layout,
                    &raw const device,
                    index,
                    std::ptr::null(),
                    new,
                )
            }
        })
    }

    /// One number on the host without axes, which operations take beside tensors of any device.
    pub(crate) fn number(interface: &Arc<Interface>, value: f64) -> Result<Self, TorchError> {
        Self::made(interface, "scalar_to_tensor", |new| {
            // SAFETY: writes a new handle.
            unsafe { (interface.functions.aoti_torch_scalar_to_tensor_float64)(value, new) }
        })
    }

    /// A view of host memory as a tensor, for the time of `with`.
    fn with_host<T: Element, R>(
        interface: &Arc<Interface>,
        data: *mut T,
        shape: &[i64],
        with: impl FnOnce(&Self) -> Result<R, TorchError>,
    ) -> Result<R, TorchError> {
        let (device, index) = interface.device_codes(Device::Cpu);
        let (strides, dtype) = (strides(shape), interface.dtype_code(T::DTYPE));
        let view = Self::made(interface, "create_tensor_from_blob", |new| {
            // SAFETY: shape and strides have as many elements as is said. The callers pass memory of that many elements that
            // outlives the view, which is dropped here.
            unsafe {
                (interface.functions.aoti_torch_create_tensor_from_blob)(
                    data.cast::<c_void>(),
                    shape.len() as i64,
                    shape.as_ptr(),
                    strides.as_ptr(),
                    0,
                    dtype,
                    device,
                    index,
                    new,
                )
            }
        })?;
        with(&view)
    }

    /// A copy of host memory on `device`, of `shape`.
    ///
    /// # Panics
    /// With another number of elements than `shape` has.
    pub(crate) fn upload<T: Element>(
        interface: &Arc<Interface>,
        data: &[T],
        shape: &[i64],
        device: Device,
    ) -> Result<Self, TorchError> {
        let tensor = Self::empty(interface, shape, T::DTYPE, device)?;
        tensor.overwrite(data)?;
        Ok(tensor)
    }

    /// Writes host memory over the elements.
    ///
    /// # Panics
    /// With another number of elements than the tensor has.
    pub(crate) fn overwrite<T: Element>(&self, data: &[T]) -> Result<(), TorchError> {
        let shape = self.shape();
        assert_eq!(data.len(), elements(&shape), "elements of a tensor of shape {shape:?}");
        // The view is only read, so that the cast takes nothing from the slice.
        Self::with_host(&self.interface, data.as_ptr().cast_mut(), &shape, |source| self.copy_from(source))
    }

    /// Copies the elements into host memory, converted to its type.
    ///
    /// # Panics
    /// With another number of elements than the tensor has.
    pub(crate) fn download_into<T: Element>(&self, data: &mut [T]) -> Result<(), TorchError> {
        let shape = self.shape();
        assert_eq!(data.len(), elements(&shape), "elements of a tensor of shape {shape:?}");
        Self::with_host(&self.interface, data.as_mut_ptr(), &shape, |target| target.copy_from(self))
    }

    /// The elements on the host.
    pub(crate) fn download<T: Element>(&self) -> Result<Vec<T>, TorchError> {
        let mut data = vec![T::default(); elements(&self.shape())];
        self.download_into(&mut data)?;
        Ok(data)
    }

    /// Overwrites the elements with those of `source`, converted, and waits for them.
    pub(crate) fn copy_from(&self, source: &Self) -> Result<(), TorchError> {
        // SAFETY: both handles are valid; libtorch checks the shapes.
        let status = unsafe { (self.interface.functions.aoti_torch_copy_)(self.handle, source.handle, 0) };
        self.interface.check("copy_", status)
    }

    /// self + factor * other, with the numbers of both broadcast.
    pub(crate) fn plus(&self, other: &Self, factor: f64) -> Result<Self, TorchError> {
        Self::made(&self.interface, "subtract", |new| {
            // SAFETY: both handles are valid.
            unsafe {
                (self.interface.functions.aoti_torch_aten_subtract_Tensor)(
                    self.handle,
                    other.handle,
                    -factor,
                    new,
                )
            }
        })
    }

    /// Whether there is a tensor behind the reference.
    pub(crate) fn is_defined(&self) -> bool {
        let mut defined = false;
        // SAFETY: the handle is valid.
        let status =
            unsafe { (self.interface.functions.aoti_torch_is_defined)(self.handle, &raw mut defined) };
        status == 0 && defined
    }

    /// Its shape; empty for a number.
    pub(crate) fn shape(&self) -> Vec<i64> {
        let mut axes = 0;
        // SAFETY: the handle is valid.
        unsafe { (self.interface.functions.aoti_torch_get_dim)(self.handle, &raw mut axes) };
        let size = |axis: i64| {
            let mut size = 0;
            // SAFETY: the handle is valid and has this axis.
            unsafe { (self.interface.functions.aoti_torch_get_size)(self.handle, axis, &raw mut size) };
            size
        };
        (0..axes).map(size).collect()
    }

    /// Type of its elements; `None` for one that is not used here.
    pub(crate) fn dtype(&self) -> Option<Dtype> {
        let mut code = -1;
        // SAFETY: the handle is valid.
        unsafe { (self.interface.functions.aoti_torch_get_dtype)(self.handle, &raw mut code) };
        self.interface.dtype_of(code)
    }

    /// The library that it belongs to.
    pub(crate) fn interface(&self) -> &Arc<Interface> {
        &self.interface
    }
}
