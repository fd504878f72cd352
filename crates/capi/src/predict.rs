//! Segmenting files and arrays.

use std::ffi::{c_char, c_void};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use nnunet::Ctx;
use nnunet::predict::Predictor;
use nnunet::preprocess::RawCase;
use nnunet::progress::{self, Cancel, Event};
use nnunet::volume::{ChannelVolume, Geometry};

use crate::error::{Failure, guarded};
use crate::{LoadedModel, path};

/// Called with the network passes done so far and their total; anything but 0 stops.
pub type Progress = Option<unsafe extern "C" fn(*mut c_void, u64, u64) -> i32>;

/// Hands events on to the callback, one at a time: stages may send them from several threads, and programs in C do
/// not expect that.
struct Callback {
    state: Mutex<CallbackState>,
    cancel: Cancel,
}

struct CallbackState {
    function: Progress,
    user: *mut c_void,
    total: u64,
}

// SAFETY: the pointer is never followed here, only handed to the callback, whose calls the mutex around this makes one
// after the other; nnunet.h says that they may come from other threads than the caller's.
unsafe impl Send for CallbackState {}

impl Callback {
    fn new(function: Progress, user: *mut c_void) -> Self {
        Self { state: Mutex::new(CallbackState { function, user, total: 0 }), cancel: Cancel::new() }
    }

    fn ctx(&self) -> Ctx<'_> {
        Ctx::new(self, &self.cancel)
    }
}

impl progress::Progress for Callback {
    fn event(&self, event: Event<'_>) {
        // A call that panicked left nothing half done.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let done = match event {
            Event::Started { total, .. } => {
                state.total = total;
                0
            }
            Event::Advanced { done, .. } => done,
            _ => return,
        };
        if let Some(function) = state.function {
            // SAFETY: the caller of the library gave this function with this pointer for such calls.
            if unsafe { function(state.user, done, state.total) } != 0 {
                self.cancel.cancel();
            }
        }
    }
}

/// Runs `call` with the predictor of `model`.
///
/// # Safety
/// `model` is null or came from `nnunet_model_load` and was not freed.
unsafe fn with_predictor(
    model: *mut LoadedModel,
    progress: Progress,
    user: *mut c_void,
    call: impl FnOnce(&mut Predictor<'static>, &Callback) -> Result<(), Failure>,
) -> i32 {
    guarded(|| {
        // SAFETY: null or valid, as the caller vouches.
        let model = unsafe { model.as_ref() }
            .ok_or_else(|| Failure::text("model is NULL: expected one from nnunet_model_load"))?;
        // A prediction that failed in the middle leaves nothing that the next would build on.
        let mut predictor = model.predictor.lock().unwrap_or_else(PoisonError::into_inner);
        let callback = Callback::new(progress, user);
        call(&mut predictor, &callback)
    })
}

/// Segments the files of one case.
///
/// # Safety
/// `model` is null or came from `nnunet_model_load` and was not freed; `inputs` is null or points to
/// `input_count` texts; `output` is null or a text; texts end with a zero; `progress` may be called with
/// `user`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nnunet_predict_file(
    model: *mut LoadedModel,
    inputs: *const *const c_char,
    input_count: usize,
    output: *const c_char,
    progress: Progress,
    user: *mut c_void,
) -> i32 {
    let call = |predictor: &mut Predictor<'static>, callback: &Callback| {
        if inputs.is_null() || input_count == 0 {
            return Err(Failure::text("inputs are empty: expected one path for each channel"));
        }
        // SAFETY: not null, and the caller vouches for the number.
        let inputs = unsafe { std::slice::from_raw_parts(inputs, input_count) };
        let files: Vec<PathBuf> = inputs
            .iter()
            // SAFETY: the caller vouches for the texts.
            .map(|&text| unsafe { path(text, "a path in inputs") }.map(PathBuf::from))
            .collect::<Result<_, _>>()?;
        // SAFETY: the caller vouches for the text.
        let output = unsafe { path(output, "output") }?;
        predictor.predict_files(&files, output, callback.ctx()).map_err(Failure::of)
    };
    // SAFETY: the caller vouches for the model.
    unsafe { with_predictor(model, progress, user, call) }
}

/// Segments an array.
///
/// # Safety
/// `model` is null or came from `nnunet_model_load` and was not freed; `shape` and `spacing` are null or point
/// to three numbers; `voxels` and `labels` are null or point to as many values as these say; `progress` may be
/// called with `user`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nnunet_predict_array(
    model: *mut LoadedModel,
    voxels: *const f32,
    channels: usize,
    shape: *const usize,
    spacing: *const f64,
    labels: *mut u16,
    progress: Progress,
    user: *mut c_void,
) -> i32 {
    let call = |predictor: &mut Predictor<'static>, callback: &Callback| {
        if voxels.is_null() || shape.is_null() || spacing.is_null() || labels.is_null() {
            return Err(Failure::text("voxels, shape, spacing and labels must not be NULL"));
        }
        // SAFETY: not null, and the caller vouches for three numbers each.
        let (shape, spacing) = unsafe { (*shape.cast::<[usize; 3]>(), *spacing.cast::<[f64; 3]>()) };
        let count = shape.iter().try_fold(1usize, |all, &edge| all.checked_mul(edge));
        let values = count.and_then(|count| count.checked_mul(channels));
        let limit = isize::MAX as usize / size_of::<f32>();
        let (Some(count), Some(values)) = (count, values.filter(|n| (1..=limit).contains(n))) else {
            let text = format!("{channels} channels of shape {shape:?} are no image");
            return Err(Failure::Failed(text));
        };
        // SAFETY: not null, and the caller vouches for as many values as channels and shape say.
        let voxels = unsafe { std::slice::from_raw_parts(voxels, values) }.to_vec();
        let images = ChannelVolume::new(channels, shape, voxels)
            .ok_or_else(|| Failure::text("voxels, channels and shape contradict each other"))?;
        let [z, y, x] = spacing;
        let case = RawCase {
            identifier: "array".to_owned(),
            images,
            geometry: Geometry::with_spacing([x, y, z]).into(),
            segmentation: None,
            absent: Vec::new(),
        };
        let found = predictor.predict_image(case, callback.ctx()).map_err(Failure::of)?;
        // SAFETY: not null, and the caller vouches for as many labels as the shape says.
        let labels = unsafe { std::slice::from_raw_parts_mut(labels, count) };
        labels.copy_from_slice(found.data());
        Ok(())
    };
    // SAFETY: the caller vouches for the model.
    unsafe { with_predictor(model, progress, user, call) }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::time::Duration;

    use nnunet::progress::Progress as _;

    use super::*;

    #[derive(Default)]
    struct Seen {
        busy: AtomicBool,
        overlapped: AtomicBool,
        calls: AtomicU64,
    }

    /// Notes whether another call runs at the same time; asks to stop at the tenth.
    unsafe extern "C" fn note(user: *mut c_void, _done: u64, total: u64) -> i32 {
        // SAFETY: the test below passes a `Seen` that outlives the calls.
        let seen = unsafe { &*user.cast::<Seen>() };
        if seen.busy.swap(true, Ordering::SeqCst) {
            seen.overlapped.store(true, Ordering::SeqCst);
        }
        std::thread::sleep(Duration::from_millis(2));
        seen.busy.store(false, Ordering::SeqCst);
        assert_eq!(total, 40);
        i32::from(seen.calls.fetch_add(1, Ordering::SeqCst) + 1 == 10)
    }

    #[test]
    fn calls_from_several_threads_come_one_after_the_other() {
        let mut seen = Seen::default();
        let callback = Callback::new(Some(note), (&raw mut seen).cast());
        callback.event(Event::Started { stage: "predict", total: 40 });
        assert!(!callback.cancel.is_cancelled());
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let callback = &callback;
                scope.spawn(move || {
                    (0..10)
                        .for_each(|i| callback.event(Event::Advanced { done: thread * 10 + i, detail: "" }));
                });
            }
        });
        assert!(!seen.overlapped.into_inner());
        assert_eq!(seen.calls.into_inner(), 41);
        assert!(callback.cancel.is_cancelled());
    }
}
