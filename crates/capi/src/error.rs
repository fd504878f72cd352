//! Errors as a status and a text per thread.

use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use nnunet::predict::PredictError;

pub(crate) const OK: i32 = 0;
pub(crate) const FAILED: i32 = 1;
pub(crate) const STOPPED: i32 = 2;

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

/// Why a call did not do what it was to do.
pub(crate) enum Failure {
    /// The callback asked to stop.
    Stopped,
    /// What went wrong.
    Failed(String),
}

impl Failure {
    pub(crate) fn text(text: &str) -> Self {
        Self::Failed(text.to_owned())
    }

    pub(crate) fn of(error: PredictError) -> Self {
        match error {
            PredictError::Interrupted(_) => Self::Stopped,
            error => Self::Failed(error.to_string()),
        }
    }
}

/// Runs `call` and turns what comes of it into a status; a panic becomes an error.
pub(crate) fn guarded(call: impl FnOnce() -> Result<(), Failure>) -> i32 {
    let outcome = catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("of unknown cause");
        Err(Failure::Failed(format!("a fault of the library: {text}")))
    });
    let (status, text) = match outcome {
        Ok(()) => return OK,
        Err(Failure::Stopped) => (STOPPED, "stopped by the progress callback".to_owned()),
        Err(Failure::Failed(text)) => (FAILED, text),
    };
    // A zero would end the text.
    let text = CString::new(text.replace('\0', " ")).unwrap_or_default();
    LAST.with(|last| last.replace(text));
    status
}

/// What the last call in this thread that failed says.
#[unsafe(no_mangle)]
pub extern "C" fn nnunet_last_error() -> *const c_char {
    LAST.with(|last| last.borrow().as_ptr())
}
