//! Work on one case of many. A panic is a bug, but of all cases only the one at hand is lost to it.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The work on a case has panicked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "internal error: {message}. This is a bug in nnunet, please report it with the text above and, if possible, the \
     files of the case"
)]
pub struct Panicked {
    /// What the panic said.
    message: String,
}

impl Panicked {
    fn new(payload: &(dyn Any + Send)) -> Self {
        let message = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned());
        Self { message: message.unwrap_or_else(|| "a panic without a message".to_owned()) }
    }
}

impl From<Panicked> for String {
    fn from(panicked: Panicked) -> Self {
        panicked.to_string()
    }
}

/// Does the work on one case; a panic becomes its error.
///
/// What `work` changes outside of itself has to be usable, or be made anew, after a panic.
pub fn one_case<T, E: From<Panicked>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| Err(Panicked::new(&*payload).into()))
}

/// The same for work whose errors are lines that name a file: the line of a panic begins with `name`.
pub fn named_case<T>(name: impl fmt::Display, work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let caught = one_case(|| Ok::<_, Panicked>(work()));
    caught.unwrap_or_else(|panicked| Err(format!("{name}: {panicked}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::panic)]
    fn a_panic_is_an_error_with_its_message() {
        let number = 7;
        for work in
            [|_| panic!("plain"), |number| panic!("formatted {number}")] as [fn(i32) -> Result<(), String>; 2]
        {
            let result: Result<(), String> = one_case(|| work(number));
            let text = result.unwrap_err();
            assert!(text.contains("plain") || text.contains("formatted 7"), "{text}");
            assert!(text.contains("report it"), "{text}");
        }
        let line = named_case("a.nii.gz", || -> Result<(), String> { panic!("plain") });
        assert!(line.unwrap_err().starts_with("a.nii.gz: internal error: plain"));
        let result: Result<(), String> = one_case(|| std::panic::panic_any(3));
        assert!(result.unwrap_err().contains("without a message"));
        assert_eq!(one_case(|| Ok::<_, String>(5)), Ok(5));
        assert_eq!(one_case(|| Err::<(), _>("fault".to_owned())), Err("fault".to_owned()));
    }
}
