//! The opened library.

use std::ffi::{CStr, c_char, c_void};
use std::fmt;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::Arc;

use libloading::Library;

use super::TorchError;
use super::functions::{Codes, Functions, Status, Versioned};
use super::tensor::{Device, Dtype};
use crate::error::OpenError;

/// A version of libtorch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    /// First number.
    pub(crate) major: u8,
    /// Second number.
    pub(crate) minor: u8,
    /// Third number.
    pub(crate) patch: u8,
}

impl Version {
    /// The oldest one with all functions.
    pub(crate) const OLDEST: Self = Self { major: 2, minor: 10, patch: 0 };
    /// The one whose schemas the operations are written for. Newer ones adapt to it.
    const WRITTEN_FOR: Self = Self { major: 2, minor: 15, patch: 0 };

    /// From the eight bytes that `aoti_torch_abi_version` returns.
    fn of_abi(abi: u64) -> Self {
        let [major, minor, patch, ..] = abi.to_be_bytes();
        Self { major, minor, patch }
    }

    fn to_abi(self) -> u64 {
        u64::from_be_bytes([self.major, self.minor, self.patch, 0, 0, 0, 0, 0])
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// How a value for an optional argument is allocated: libtorch frees it.
enum OptionalValues {
    /// From 2.13 on.
    Function(unsafe extern "C" fn(*mut *mut u64) -> Status),
    /// C++'s `operator new`, as the C++ headers before 2.13 do.
    OperatorNew(unsafe extern "C" fn(usize) -> *mut c_void),
}

/// libtorch with the functions that are used. It stays open until the program ends: its threads and its device may still be
/// at work.
pub(crate) struct Interface {
    pub(super) functions: Functions,
    optional_values: OptionalValues,
    message: Option<unsafe extern "C" fn() -> *const c_char>,
    set_threads: Option<unsafe extern "C" fn(i32)>,
    cuda_memory: Option<unsafe extern "C" fn(*mut usize, *mut usize) -> i32>,
    codes: [i32; 11],
    version: Version,
    _libraries: ManuallyDrop<Vec<Library>>,
}

impl fmt::Debug for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interface").field("version", &self.version).finish_non_exhaustive()
    }
}

impl Interface {
    /// Opens `core`, which is libtorch's `libtorch_cpu`, and after it `more` with the operations of a device.
    ///
    /// # Errors
    /// A file that cannot be opened; a version that is too old; functions that are missing.
    pub(crate) fn open(core: &Path, more: &[&Path]) -> Result<Arc<Self>, OpenError> {
        let library = load(core)?;
        let path = || core.to_owned();
        // SAFETY: the function takes nothing and returns a number in every version that has it. The library is never closed.
        let versioned = unsafe { Versioned::load(&library) }.map_err(|missing| OpenError::Functions {
            path: path(),
            version: None,
            missing: names(&missing),
        })?;
        // SAFETY: as above.
        let version = Version::of_abi(unsafe { (versioned.aoti_torch_abi_version)() });
        if version < Version::OLDEST {
            return Err(OpenError::Version { path: path(), found: version.to_string() });
        }
        let incomplete = |missing: Vec<&str>| OpenError::Functions {
            path: path(),
            version: Some(version.to_string()),
            missing: names(&missing),
        };
        // SAFETY: libtorch of at least the oldest version, whose header has these signatures; newer ones keep them. The
        // library is never closed.
        let tables = unsafe { (Codes::load(&library), Functions::load(&library)) };
        let (codes, functions) = match tables {
            (Ok(codes), Ok(functions)) => (codes, functions),
            (codes, functions) => {
                let missing = [codes.err(), functions.err()].into_iter().flatten().flatten();
                return Err(incomplete(missing.collect()));
            }
        };
        // SAFETY: the signature of libtorch's header since 2.13.
        let allocate =
            unsafe { library.get(b"torch_new_stable_ivalue\0") }.map(|f| OptionalValues::Function(*f));
        // SAFETY: the mangled name of `operator new(unsigned long)` in the C++ library that libtorch is linked with.
        let operator_new = || unsafe { library.get(b"_Znwm\0") }.map(|f| OptionalValues::OperatorNew(*f));
        let optional_values =
            allocate.or_else(|_| operator_new()).map_err(|_| incomplete(vec!["torch_new_stable_ivalue"]))?;
        // SAFETY: the signature of libtorch's header since 2.13.
        let message =
            unsafe { library.get(b"torch_exception_get_what_without_backtrace\0") }.ok().map(|f| *f);
        // SAFETY: the signature of the OpenMP standard.
        let set_threads = unsafe { library.get(b"omp_set_num_threads\0") }.ok().map(|f| *f);
        // SAFETY: each function takes nothing and returns a number.
        let codes = unsafe {
            [
                (codes.aoti_torch_dtype_bool)(),
                (codes.aoti_torch_dtype_int16)(),
                (codes.aoti_torch_dtype_int64)(),
                (codes.aoti_torch_dtype_float16)(),
                (codes.aoti_torch_dtype_bfloat16)(),
                (codes.aoti_torch_dtype_float32)(),
                (codes.aoti_torch_dtype_float64)(),
                (codes.aoti_torch_device_type_cpu)(),
                (codes.aoti_torch_device_type_cuda)(),
                (codes.aoti_torch_device_type_mps)(),
                (codes.aoti_torch_layout_strided)(),
            ]
        };
        let more: Vec<Library> = more.iter().map(|path| load(path)).collect::<Result<_, _>>()?;
        let cuda_memory = more.iter().find_map(|library| {
            // SAFETY: the signature of CUDA's runtime, which the device's library brings.
            unsafe { library.get(b"cudaMemGetInfo\0") }.ok().map(|f| *f)
        });
        let _libraries = ManuallyDrop::new(std::iter::once(library).chain(more).collect());
        Ok(Arc::new(Self {
            functions,
            optional_values,
            message,
            set_threads,
            cuda_memory,
            codes,
            version,
            _libraries,
        }))
    }

    /// The version of the library.
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// The version that the dispatcher is told, so that it can adapt stacks to newer schemas.
    pub(super) fn written_for(&self) -> u64 {
        Version::WRITTEN_FOR.to_abi()
    }

    /// Takes threads of the calling thread's operations on the CPU, and records nothing for gradients of libtorch's own.
    pub(crate) fn enter(&self, threads: usize) {
        // SAFETY: sets a flag of this thread.
        unsafe { (self.functions.aoti_torch_grad_mode_set_enabled)(false) };
        if let Some(set) = self.set_threads {
            // SAFETY: takes any number of at least 1; for this thread alone.
            unsafe { set(i32::try_from(threads.max(1)).unwrap_or(i32::MAX)) };
        }
    }

    /// Free and total bytes of the current CUDA device.
    pub(crate) fn cuda_memory(&self) -> Option<(usize, usize)> {
        let function = self.cuda_memory?;
        let (mut free, mut total) = (0, 0);
        // SAFETY: both point to numbers that are written.
        let status = unsafe { function(&raw mut free, &raw mut total) };
        (status == 0).then_some((free, total))
    }

    /// libtorch's number for an element type.
    pub(super) fn dtype_code(&self, dtype: Dtype) -> i32 {
        self.codes[dtype as usize]
    }

    /// The element type with this number.
    pub(super) fn dtype_of(&self, code: i32) -> Option<Dtype> {
        Dtype::ALL.into_iter().find(|dtype| self.dtype_code(*dtype) == code)
    }

    /// libtorch's numbers for a device: its type and its index.
    pub(super) fn device_codes(&self, device: Device) -> (i32, i32) {
        match device {
            Device::Cpu => (self.codes[7], 0),
            Device::Cuda(index) => (self.codes[8], index),
            Device::Mps => (self.codes[9], 0),
        }
    }

    /// libtorch's number for plain tensors.
    pub(super) fn strided(&self) -> i32 {
        self.codes[10]
    }

    /// A value on libtorch's heap, which a call of the dispatcher frees.
    pub(super) fn optional(&self, value: u64) -> Result<u64, TorchError> {
        let mut place: *mut u64 = std::ptr::null_mut();
        match self.optional_values {
            // SAFETY: writes the address of a new value.
            OptionalValues::Function(new) => self.check("optional", unsafe { new(&raw mut place) })?,
            // SAFETY: allocates eight bytes; throws only where those are not to be had.
            OptionalValues::OperatorNew(new) => place = unsafe { new(size_of::<u64>()) }.cast(),
        }
        // SAFETY: both ways give eight writable bytes aligned for a number.
        unsafe { place.write(value) };
        Ok(place as u64)
    }

    /// An error with libtorch's message, unless `status` is 0.
    pub(super) fn check(&self, operation: &str, status: Status) -> Result<(), TorchError> {
        if status == 0 {
            return Ok(());
        }
        let text = self.message.and_then(|message| {
            // SAFETY: libtorch's text of the last exception of this thread, valid until the next one; copied at once.
            let text = unsafe { message() };
            // SAFETY: a string of C where it is not null.
            (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
        });
        let memory = text.as_deref().is_none_or(|text| {
            ["out of memory", "can't allocate memory", "not enough memory"]
                .iter()
                .any(|part| text.contains(part))
        });
        let message = match text {
            Some(text) => text.lines().next().unwrap_or_default().trim().to_owned(),
            None => format!("failed; libtorch {} has written why to standard error", self.version),
        };
        Err(TorchError { operation: operation.to_owned(), message, memory })
    }
}

fn names(missing: &[&str]) -> Vec<String> {
    missing.iter().map(|&name| name.to_owned()).collect()
}

/// Opens one file.
fn load(path: &Path) -> Result<Library, OpenError> {
    #[cfg(windows)]
    // SAFETY: libtorch's initialisers may run; its neighbours are found beside it.
    let library = unsafe {
        libloading::os::windows::Library::load_with_flags(
            path,
            libloading::os::windows::LOAD_WITH_ALTERED_SEARCH_PATH,
        )
    }
    .map(Library::from);
    #[cfg(not(windows))]
    // SAFETY: libtorch's initialisers register its operations and have no other effect on this program.
    let library = unsafe { Library::new(path) };
    library.map_err(|error| OpenError::Load { path: path.to_owned(), message: error.to_string() })
}
