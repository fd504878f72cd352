//! The C functions that are used, as a table that is filled when the library is opened.

use std::ffi::{c_char, c_void};

use libloading::Library;

/// An owning or borrowed `AtenTensorHandle`.
pub(super) type Handle = *mut c_void;
/// 0, or another number after an exception.
pub(super) type Status = i32;

macro_rules! table {
    ($(#[$doc:meta])* $table:ident { $($name:ident: $signature:ty,)* }) => {
        $(#[$doc])*
        #[allow(non_snake_case)] // the names of the C interface
        pub(super) struct $table {
            $(pub(super) $name: $signature,)*
        }

        #[allow(non_snake_case)] // the names of the C interface
        impl $table {
            /// Looks all of them up; the error lists those that are missing.
            ///
            /// # Safety
            /// `library` is libtorch, whose functions of these names have these signatures. The table must not be used after
            /// the library was closed.
            pub(super) unsafe fn load(library: &Library) -> Result<Self, Vec<&'static str>> {
                let mut missing = Vec::new();
                $(
                    // SAFETY: by this function's contract.
                    let $name = unsafe { library.get::<$signature>(concat!(stringify!($name), "\0").as_bytes()) }
                        .map(|symbol| *symbol)
                        .map_err(|_| missing.push(stringify!($name)));
                )*
                match ($($name,)*) {
                    ($(Ok($name),)*) => Ok(Self { $($name,)* }),
                    _ => Err(missing),
                }
            }
        }
    };
}

table! {
    /// What decides whether the others are looked up at all.
    Versioned {
        aoti_torch_abi_version: unsafe extern "C" fn() -> u64,
    }
}

table! {
    /// Codes of element types and devices, which are not the same in every version.
    Codes {
        aoti_torch_dtype_bool: unsafe extern "C" fn() -> i32,
        aoti_torch_dtype_int16: unsafe extern "C" fn() -> i32,
        aoti_torch_dtype_int64: unsafe extern "C" fn() -> i32,
        aoti_torch_dtype_float16: unsafe extern "C" fn() -> i32,
        aoti_torch_dtype_bfloat16: unsafe extern "C" fn() -> i32,
        aoti_torch_dtype_float32: unsafe extern "C" fn() -> i32,
        aoti_torch_dtype_float64: unsafe extern "C" fn() -> i32,
        aoti_torch_device_type_cpu: unsafe extern "C" fn() -> i32,
        aoti_torch_device_type_cuda: unsafe extern "C" fn() -> i32,
        aoti_torch_device_type_mps: unsafe extern "C" fn() -> i32,
        aoti_torch_layout_strided: unsafe extern "C" fn() -> i32,
    }
}

table! {
    /// Functions on tensors, and the dispatcher.
    Functions {
        aoti_torch_grad_mode_set_enabled: unsafe extern "C" fn(bool),
        aoti_torch_delete_tensor_object: unsafe extern "C" fn(Handle) -> Status,
        aoti_torch_new_tensor_handle: unsafe extern "C" fn(Handle, *mut Handle) -> Status,
        aoti_torch_is_defined: unsafe extern "C" fn(Handle, *mut bool) -> Status,
        aoti_torch_get_dim: unsafe extern "C" fn(Handle, *mut i64) -> Status,
        aoti_torch_get_size: unsafe extern "C" fn(Handle, i64, *mut i64) -> Status,
        aoti_torch_get_dtype: unsafe extern "C" fn(Handle, *mut i32) -> Status,
        aoti_torch_empty_strided:
            unsafe extern "C" fn(i64, *const i64, *const i64, i32, i32, i32, *mut Handle) -> Status,
        aoti_torch_create_tensor_from_blob:
            unsafe extern "C" fn(*mut c_void, i64, *const i64, *const i64, i64, i32, i32, i32, *mut Handle) -> Status,
        aoti_torch_copy_: unsafe extern "C" fn(Handle, Handle, i32) -> Status,
        aoti_torch_scalar_to_tensor_float64: unsafe extern "C" fn(f64, *mut Handle) -> Status,
        aoti_torch_aten_full: unsafe extern "C" fn(
            *const i64, i64, f64, *const i32, *const i32, *const i32, i32, *const i32, *mut Handle,
        ) -> Status,
        aoti_torch_aten_subtract_Tensor: unsafe extern "C" fn(Handle, Handle, f64, *mut Handle) -> Status,
        torch_call_dispatcher: unsafe extern "C" fn(*const c_char, *const c_char, *mut u64, u64) -> Status,
        torch_new_list_reserve_size: unsafe extern "C" fn(usize, *mut *mut c_void) -> Status,
        torch_list_push_back: unsafe extern "C" fn(*mut c_void, u64) -> Status,
        torch_new_string_handle: unsafe extern "C" fn(*const c_char, usize, *mut *mut c_void) -> Status,
    }
}
