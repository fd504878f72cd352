//! Prediction for programs in C and whatever calls C; `include/nnunet.h` is its documentation.
//!
//! A thin layer over [`nnunet::predict::Predictor`]: pointers become references and texts here, errors
//! become a status and a text per thread, and a panic never leaves this crate.

mod error;
mod predict;

use std::ffi::{CStr, c_char};
use std::path::Path;
use std::sync::Mutex;

use nnunet::backend::{self, BackendOptions};
use nnunet::predict::{Predictor, WindowOptions};
use nnunet::progress::{Cancel, Silent};
use nnunet::{Ctx, Folders, Project, hint};

pub use error::nnunet_last_error;
use error::{Failure, guarded};
pub use predict::{Progress, nnunet_predict_array, nnunet_predict_file};

/// A loaded model behind the pointers that C has.
pub struct LoadedModel {
    channels: usize,
    predictor: Mutex<Predictor<'static>>,
}

/// How a model predicts.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Threads; 0: all cores.
    pub threads: u32,
    /// Distance of neighbouring tiles as a share of the tile.
    pub step_size: f64,
    /// Not 0: average over mirrored inputs.
    pub mirroring: i32,
}

impl Default for Options {
    fn default() -> Self {
        let WindowOptions { step_fraction, mirroring } = WindowOptions::default();
        Self { threads: 0, step_size: step_fraction, mirroring: i32::from(mirroring) }
    }
}

/// Name and version of the library.
#[unsafe(no_mangle)]
pub extern "C" fn nnunet_version() -> *const c_char {
    concat!("nnunet ", env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// The defaults.
///
/// # Safety
/// `options` is null or points to memory for an [`Options`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nnunet_default_options(options: *mut Options) {
    if !options.is_null() {
        // SAFETY: not null, and the caller vouches for the memory.
        unsafe { options.write(Options::default()) };
    }
}

/// Loads a model.
///
/// # Safety
/// `folder` is null or a text that ends with a zero; `options` is null or points to an [`Options`]; `model`
/// is null or points to memory for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nnunet_model_load(
    folder: *const c_char,
    options: *const Options,
    model: *mut *mut LoadedModel,
) -> i32 {
    guarded(|| {
        if model.is_null() {
            return Err(Failure::text("model is NULL: expected the address of a pointer"));
        }
        // SAFETY: not null, and the caller vouches for the memory.
        unsafe { model.write(std::ptr::null_mut()) };
        // SAFETY: the caller vouches for the text.
        let folder = unsafe { path(folder, "folder") }?;
        // SAFETY: null or valid, as the caller vouches.
        let options = unsafe { options.as_ref() }.copied().unwrap_or_default();
        let loaded = Box::new(load(folder, options)?);
        // SAFETY: as above.
        unsafe { model.write(Box::into_raw(loaded)) };
        Ok(())
    })
}

fn load(folder: &Path, options: Options) -> Result<LoadedModel, Failure> {
    let step_fraction = options.step_size;
    if !(step_fraction > 0.0 && step_fraction <= 1.0) {
        let text = format!("step_size is {step_fraction}, expected above 0 and at most 1");
        return Err(Failure::Failed(text));
    }
    let mut backend_options = BackendOptions::default();
    if options.threads > 0 {
        backend_options.threads = options.threads as usize;
    }
    let project = Project::new(Folders::default()).with_backend(backend::cpu(&backend_options));
    let window = WindowOptions { step_fraction, mirroring: options.mirroring != 0 };
    let cancel = Cancel::new();
    let predictor = project
        .open_model(folder, window, Ctx::new(&Silent, &cancel))
        .map_err(|error| Failure::Failed(hint::explain(&error)))?;
    let configuration = &predictor.spec().configuration;
    if let Some(previous) = &configuration.previous_stage {
        let text = format!(
            "{}: this is the second stage of a cascade, which needs the segmentations of {previous}; predict it \
             with the nnunet program",
            folder.display()
        );
        return Err(Failure::Failed(text));
    }
    let channels = configuration.channels();
    Ok(LoadedModel { channels, predictor: Mutex::new(predictor) })
}

/// Frees a model.
///
/// # Safety
/// `model` is null or came from [`nnunet_model_load`], is freed for the first time and not in use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nnunet_model_free(model: *mut LoadedModel) {
    if !model.is_null() {
        let _ = guarded(|| {
            // SAFETY: it came from `Box::into_raw` and nobody uses it any more, as the caller vouches.
            drop(unsafe { Box::from_raw(model) });
            Ok(())
        });
    }
}

/// Image channels that the model expects.
///
/// # Safety
/// `model` is null or came from [`nnunet_model_load`] and was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nnunet_model_channels(model: *const LoadedModel) -> usize {
    // SAFETY: null or valid, as the caller vouches.
    unsafe { model.as_ref() }.map_or(0, |model| model.channels)
}

/// A text from C as a path.
///
/// # Safety
/// `text` is null or a text that ends with a zero and lives as long as the result.
unsafe fn path<'a>(text: *const c_char, name: &str) -> Result<&'a Path, Failure> {
    if text.is_null() {
        return Err(Failure::Failed(format!("{name} is NULL: expected a path")));
    }
    // SAFETY: not null, and the caller vouches for the text.
    let text = unsafe { CStr::from_ptr(text) };
    let text = text.to_str().map_err(|_| Failure::Failed(format!("{name} is not UTF-8: {text:?}")))?;
    Ok(Path::new(text))
}
