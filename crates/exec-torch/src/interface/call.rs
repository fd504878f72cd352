//! Calls of operations through the dispatcher.

use std::ffi::{CStr, c_void};
use std::sync::Arc;

use super::tensor::{Dtype, Tensor};
use super::{Interface, TorchError};

/// Most arguments that an operation has.
const MOST: usize = 16;

/// An operation with its schema.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operation {
    /// Its name, e.g. `aten::mul`.
    name: &'static CStr,
    /// Which of the operations of that name.
    overload: &'static CStr,
    /// Kind of each argument, see [`Argument`].
    arguments: &'static str,
    /// Number of tensors that it returns.
    results: usize,
}

/// An argument. The letters are those of [`Operation`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum Argument<'a> {
    /// `t`: a tensor.
    Tensor(&'a Tensor),
    /// `T`: a tensor or none.
    OptionalTensor(Option<&'a Tensor>),
    /// `l`: a list of tensors.
    Tensors(&'a [&'a Tensor]),
    /// `i`: a whole number.
    Int(i64),
    /// `I`: a whole number or none.
    OptionalInt(Option<i64>),
    /// `v`: a list of whole numbers.
    Ints(&'a [i64]),
    /// `V`: a list of whole numbers or none.
    OptionalInts(Option<&'a [i64]>),
    /// `f`: a number.
    Float(f64),
    /// `b`: yes or no.
    Bool(bool),
    /// `B`: yes, no or neither.
    OptionalBool(Option<bool>),
    /// `m`: a list of yes and no.
    Bools(&'a [bool]),
    /// `s`: a text.
    Text(&'a str),
    /// `d`: a type of elements.
    Dtype(Dtype),
    /// `D`: a type of elements or none.
    OptionalDtype(Option<Dtype>),
    /// `N`: none, where the schema has an optional of any kind.
    None,
}

impl Argument<'_> {
    fn kind(&self) -> u8 {
        match self {
            Self::Tensor(_) => b't',
            Self::OptionalTensor(_) => b'T',
            Self::Tensors(_) => b'l',
            Self::Int(_) => b'i',
            Self::OptionalInt(_) => b'I',
            Self::Ints(_) => b'v',
            Self::OptionalInts(_) => b'V',
            Self::Float(_) => b'f',
            Self::Bool(_) => b'b',
            Self::OptionalBool(_) => b'B',
            Self::Bools(_) => b'm',
            Self::Text(_) => b's',
            Self::Dtype(_) => b'd',
            Self::OptionalDtype(_) => b'D',
            Self::None => b'N',
        }
    }
}

impl Operation {
    /// An operation of libtorch.
    ///
    /// # Safety
    /// `arguments` has one letter for each argument of the operation's schema, in its order (see [`Argument`]), and `results`
    /// is the number of tensors that the schema returns; it returns nothing else.
    pub(crate) const unsafe fn new(
        name: &'static CStr,
        overload: &'static CStr,
        arguments: &'static str,
        results: usize,
    ) -> Self {
        Self { name, overload, arguments, results }
    }

    /// Its name with the overload, as messages show it.
    pub(crate) fn shown(&self) -> String {
        let (name, overload) = (self.name.to_string_lossy(), self.overload.to_string_lossy());
        if overload.is_empty() { name.into_owned() } else { format!("{name}.{overload}") }
    }

    /// Calls it and returns its tensors, as many as it has.
    ///
    /// # Errors
    /// What libtorch refuses.
    ///
    /// # Panics
    /// With arguments of other kinds than the schema has.
    pub(crate) fn call<const N: usize>(
        &self,
        interface: &Arc<Interface>,
        arguments: &[Argument<'_>],
    ) -> Result<[Tensor; N], TorchError> {
        assert!(
            N == self.results
                && arguments.len() <= MOST
                && arguments.iter().map(Argument::kind).eq(self.arguments.bytes()),
            "arguments of {}: {arguments:?}",
            self.shown()
        );
        // Zeros beyond the arguments: what a later version may have appended reads as "none".
        let mut stack = [0u64; 2 * MOST];
        for (place, argument) in stack.iter_mut().zip(arguments) {
            *place = value(interface, argument)?;
        }
        // SAFETY: the stack has a value of the right kind for each argument of the schema, by the contract of `new` and the
        // assertion. Handles in it are owned, and consumed by the call.
        let status = unsafe {
            (interface.functions.torch_call_dispatcher)(
                self.name.as_ptr(),
                self.overload.as_ptr(),
                stack.as_mut_ptr(),
                interface.written_for(),
            )
        };
        if status != 0 {
            interface.check(&self.shown(), status)?;
        }
        // The first values are now the results: owned handles of tensors.
        Ok(std::array::from_fn(|i| Tensor {
            interface: Arc::clone(interface),
            handle: stack[i] as usize as *mut c_void,
        }))
    }
}

/// The argument as a value of the stack, owning what it refers to.
fn value(interface: &Arc<Interface>, argument: &Argument<'_>) -> Result<u64, TorchError> {
    Ok(match *argument {
        Argument::Tensor(tensor) => owned(tensor)?,
        Argument::OptionalTensor(Some(tensor)) => interface.optional(owned(tensor)?)?,
        Argument::Tensors(tensors) => list(interface, tensors.iter().map(|tensor| owned(tensor)))?,
        Argument::Int(value) => value.cast_unsigned(),
        Argument::OptionalInt(Some(value)) => interface.optional(value.cast_unsigned())?,
        Argument::Ints(values) => list(interface, values.iter().map(|value| Ok(value.cast_unsigned())))?,
        Argument::OptionalInts(Some(values)) => {
            let values = list(interface, values.iter().map(|value| Ok(value.cast_unsigned())))?;
            interface.optional(values)?
        }
        Argument::Float(value) => value.to_bits(),
        Argument::Bool(value) => u64::from(value),
        Argument::OptionalBool(Some(value)) => interface.optional(u64::from(value))?,
        Argument::Bools(values) => list(interface, values.iter().map(|value| Ok(u64::from(*value))))?,
        Argument::Text(text) => string(interface, text)?,
        Argument::Dtype(dtype) => code(interface, dtype),
        Argument::OptionalDtype(Some(dtype)) => interface.optional(code(interface, dtype))?,
        Argument::OptionalTensor(None)
        | Argument::OptionalInt(None)
        | Argument::OptionalInts(None)
        | Argument::OptionalBool(None)
        | Argument::OptionalDtype(None)
        | Argument::None => 0,
    })
}

/// The number of an element type in the low bytes of a value.
fn code(interface: &Interface, dtype: Dtype) -> u64 {
    u64::from(interface.dtype_code(dtype).cast_unsigned())
}

/// A new reference, which the callee consumes.
fn owned(tensor: &Tensor) -> Result<u64, TorchError> {
    let tensor = std::mem::ManuallyDrop::new(tensor.share()?);
    Ok(tensor.handle as u64)
}

/// A list, which the callee consumes.
fn list(
    interface: &Interface,
    values: impl ExactSizeIterator<Item = Result<u64, TorchError>>,
) -> Result<u64, TorchError> {
    let mut list = std::ptr::null_mut();
    // SAFETY: writes the address of a new list.
    let status = unsafe { (interface.functions.torch_new_list_reserve_size)(values.len(), &raw mut list) };
    interface.check("new_list", status)?;
    for value in values {
        // SAFETY: the list is new and owned here.
        let status = unsafe { (interface.functions.torch_list_push_back)(list, value?) };
        interface.check("list_push_back", status)?;
    }
    Ok(list as u64)
}

/// A text, which the callee consumes.
fn string(interface: &Interface, text: &str) -> Result<u64, TorchError> {
    let mut handle = std::ptr::null_mut();
    // SAFETY: the text has as many bytes as is said; they are copied.
    let status = unsafe {
        (interface.functions.torch_new_string_handle)(text.as_ptr().cast(), text.len(), &raw mut handle)
    };
    interface.check("new_string", status)?;
    Ok(handle as u64)
}
