//! A value that is made when it is first looked at.

use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;

/// A value that is made when it is first looked at: parts whose making takes time that most verbs need not spend.
///
/// ```
/// use nnunet_base::parts::{Lazy, Named};
///
/// let mut trainers = Lazy::new(|| Named::new("trainer").with("slow", "takes its time", 1));
/// trainers.register("mine", "my own", 2)?; // makes it
/// assert_eq!(trainers.names().collect::<Vec<_>>(), ["slow", "mine"]);
/// # Ok::<(), nnunet_base::parts::AlreadyRegistered>(())
/// ```
#[derive(Debug, Clone)]
pub struct Lazy<T> {
    make: fn() -> T,
    made: OnceLock<T>,
}

impl<T> Lazy<T> {
    /// The value that `make` makes, once.
    pub fn new(make: fn() -> T) -> Self {
        Self { make, made: OnceLock::new() }
    }

    /// The value, if it was looked at already.
    pub fn made(&self) -> Option<&T> {
        self.made.get()
    }
}

impl<T> Deref for Lazy<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.made.get_or_init(self.make)
    }
}

impl<T> DerefMut for Lazy<T> {
    fn deref_mut(&mut self) -> &mut T {
        let value = self.made.take().unwrap_or_else(self.make);
        self.made = OnceLock::from(value);
        self.made.get_mut().expect("the value was just put in")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_made_once_and_changes_stay() {
        let mut list = Lazy::new(|| vec![1]);
        assert_eq!((list.made(), list.clone().made()), (None, None));
        assert_eq!(list.len(), 1);
        list.push(2);
        assert_eq!(list.made(), Some(&vec![1, 2]));
        assert_eq!(list.clone().made(), Some(&vec![1, 2]));
        let mut other = Lazy::new(|| vec![1]);
        other.push(3);
        assert_eq!(*other, [1, 3]);
    }
}
