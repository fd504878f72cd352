//! What is said where libtorch cannot be used, with libraries that the test builds.

use std::path::Path;
use std::process::Command;

use nnunet_exec_torch::{Arithmetic, OpenError, Places, TorchBackend, TorchDevice, TorchOptions, cards};
use nnunet_testkit::skip::skip;

fn options(folder: &Path, device: TorchDevice) -> TorchOptions {
    let places = Places { asked_for: Some(folder.to_owned()), ..Places::default() };
    TorchOptions { device, places, arithmetic: Arithmetic::F32, threads: 1 }
}

fn refusal(folder: &Path) -> OpenError {
    TorchBackend::open(&options(folder, TorchDevice::Cpu)).unwrap_err()
}

/// A folder with a library made of `source`; `None` where there is no C compiler.
fn library(source: &str) -> Option<tempfile::TempDir> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fake.c");
    std::fs::write(&file, source).unwrap();
    let name = if cfg!(target_os = "macos") { "libtorch_cpu.dylib" } else { "libtorch_cpu.so" };
    let built =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(folder.path().join(name)).arg(&file).status();
    if cfg!(windows) || !built.is_ok_and(|status| status.success()) {
        skip("a C compiler (cc) is needed to build a library that is not libtorch");
        return None;
    }
    Some(folder)
}

/// A version as `aoti_torch_abi_version` says it.
fn version(minor: u64) -> String {
    let number = (2u64 << 56) | (minor << 48);
    format!("unsigned long long aoti_torch_abi_version(void) {{ return {number}ULL; }}\n")
}

#[test]
fn a_folder_without_libtorch_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = refusal(folder.path());
    assert!(matches!(error, OpenError::NotFound { .. }), "{error}");
    assert!(error.to_string().contains(&folder.path().display().to_string()), "{error}");
}

#[test]
fn a_file_that_is_no_library_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["libtorch_cpu.so", "libtorch_cpu.dylib", "torch_cpu.dll"] {
        std::fs::write(folder.path().join(name), "not a library").unwrap();
    }
    let error = refusal(folder.path());
    assert!(matches!(error, OpenError::Load { .. }), "{error}");
    assert!(error.to_string().contains("cannot be opened"), "{error}");
}

#[test]
fn other_libraries_and_old_versions_are_refused() {
    let Some(other) = library("int something_else(void) { return 0; }\n") else { return };
    let text = refusal(other.path()).to_string();
    assert!(text.contains("no libtorch of 2.10 or newer: lacks aoti_torch_abi_version"), "{text}");

    let Some(old) = library(&version(9)) else { return };
    let text = refusal(old.path()).to_string();
    assert!(text.contains("libtorch 2.9.0, expected 2.10 or newer"), "{text}");
}

#[test]
fn every_missing_function_is_named() {
    let source = version(10) + "int torch_call_dispatcher(void) { return 1; }\n";
    let Some(incomplete) = library(&source) else { return };
    let OpenError::Functions { version, missing, .. } = refusal(incomplete.path()) else { panic!() };
    assert_eq!(version.as_deref(), Some("2.10.0"));
    assert!(missing.len() > 20 && !missing.contains(&"torch_call_dispatcher".to_owned()), "{missing:?}");
    assert!(missing.contains(&"aoti_torch_dtype_float32".to_owned()), "{missing:?}");
}

/// A libtorch with every function and no operation.
#[test]
fn every_missing_operation_is_named() {
    const NAMES: [&str; 11] = [
        "dtype_bool",
        "dtype_int16",
        "dtype_int64",
        "dtype_float16",
        "dtype_bfloat16",
        "dtype_float32",
        "dtype_float64",
        "device_type_cpu",
        "device_type_cuda",
        "device_type_mps",
        "layout_strided",
    ];
    let mut source =
        String::from("#include <stdlib.h>\n#include <string.h>\n#include <stdbool.h>\n") + &version(13);
    for (i, name) in NAMES.iter().enumerate() {
        source += &format!("int aoti_torch_{name}(void) {{ return {i}; }}\n");
    }
    source += r#"
typedef void *H;
static int make(H *out) { *out = malloc(8); return 0; }
void aoti_torch_grad_mode_set_enabled(bool on) { (void)on; }
int aoti_torch_delete_tensor_object(H h) { free(h); return 0; }
int aoti_torch_new_tensor_handle(H h, H *out) { (void)h; return make(out); }
int aoti_torch_is_defined(H h, bool *out) { (void)h; *out = true; return 0; }
int aoti_torch_get_dim(H h, long *out) { (void)h; *out = 0; return 0; }
int aoti_torch_get_size(H h, long axis, long *out) { (void)h; (void)axis; *out = 1; return 0; }
int aoti_torch_get_dtype(H h, int *out) { (void)h; *out = 5; return 0; }
int aoti_torch_empty_strided(long n, const long *s, const long *t, int d, int k, int i, H *out) {
    (void)n; (void)s; (void)t; (void)d; (void)k; (void)i; strcpy(malloc(1), ""); (void)out; return 1; }
int aoti_torch_create_tensor_from_blob(void *p, long n, const long *s, const long *t, long o, int d, int k, int i, H *out) {
    (void)p; (void)n; (void)s; (void)t; (void)o; (void)d; (void)k; (void)i; return make(out); }
int aoti_torch_copy_(H a, H b, int n) { (void)a; (void)b; (void)n; return 0; }
int aoti_torch_scalar_to_tensor_float64(double v, H *out) { (void)v; return make(out); }
int aoti_torch_aten_full(const long *s, long n, double v, const int *d, const int *l, const int *k, int i, const int *p, H *out) {
    (void)s; (void)n; (void)v; (void)d; (void)l; (void)k; (void)i; (void)p; return make(out); }
int aoti_torch_aten_subtract_Tensor(H a, H b, double f, H *out) { (void)a; (void)b; (void)f; return make(out); }
int torch_call_dispatcher(const char *name, const char *overload, unsigned long *stack, unsigned long version) {
    (void)name; (void)overload; (void)stack; (void)version; return 1; }
int torch_new_list_reserve_size(size_t n, H *out) { (void)n; return make(out); }
int torch_list_push_back(H list, unsigned long value) { (void)list; (void)value; return 0; }
int torch_new_string_handle(const char *text, size_t n, H *out) { (void)text; (void)n; return make(out); }
int torch_new_stable_ivalue(unsigned long **out) { *out = malloc(8); return 0; }
const char *torch_exception_get_what_without_backtrace(void) { return "no such operation\nand more"; }
"#;
    let Some(empty) = library(&source) else { return };
    let error = refusal(empty.path());
    let OpenError::Operations { faults, version, .. } = &error else { panic!("{error}") };
    assert_eq!(version, "2.13.0");
    assert!(
        faults.len() > 10 && faults.iter().all(|fault| fault.contains("no such operation")),
        "{faults:?}"
    );
    assert!(!error.to_string().contains("and more"), "{error}");
}

#[test]
fn a_card_that_is_not_there_is_named() {
    let nowhere = tempfile::tempdir().unwrap();
    match cards() {
        Err(error) => {
            let found = TorchBackend::open(&options(nowhere.path(), TorchDevice::Cuda(0))).unwrap_err();
            assert_eq!(found, error);
        }
        Ok(cards) => {
            let index = cards.cards.len();
            let error = TorchBackend::open(&options(nowhere.path(), TorchDevice::Cuda(index))).unwrap_err();
            assert!(error.to_string().contains(&cards.cards[0].0), "{error}");
        }
    }
}
