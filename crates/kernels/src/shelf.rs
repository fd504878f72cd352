//! Values that kernels keep from call to call, by type, so that nothing is allocated in the steady state.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

/// One value of each type that was asked for.
#[derive(Debug, Default)]
pub(crate) struct Shelf(Mutex<HashMap<TypeId, Box<dyn Any + Send>>>);

impl Shelf {
    /// Takes the value of type `T`, which comes back when it is dropped; a new one if there is none or somebody has it.
    pub(crate) fn take<T: Default + Send + 'static>(&self) -> Kept<'_, T> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&TypeId::of::<T>());
        let value = kept.and_then(|value| value.downcast::<T>().ok()).unwrap_or_default();
        Kept { shelf: self, value: Some(value) }
    }
}

/// A value taken from a [`Shelf`].
pub(crate) struct Kept<'a, T: Send + 'static> {
    shelf: &'a Shelf,
    /// There until this is dropped.
    value: Option<Box<T>>,
}

impl<T: Send + 'static> Deref for Kept<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.value.as_ref().expect("taken by drop only")
    }
}

impl<T: Send + 'static> DerefMut for Kept<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("taken by drop only")
    }
}

impl<T: Send + 'static> Drop for Kept<'_, T> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            self.shelf.0.lock().unwrap_or_else(PoisonError::into_inner).insert(TypeId::of::<T>(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_with_what_was_put_into_them() {
        let shelf = Shelf::default();
        shelf.take::<Vec<u8>>().push(7);
        let first = shelf.take::<Vec<u8>>();
        let second = shelf.take::<Vec<u8>>();
        assert_eq!((first.as_slice(), second.as_slice()), ([7].as_slice(), [].as_slice()));
        assert!(shelf.take::<Vec<u16>>().is_empty(), "other types are other values");
    }
}
