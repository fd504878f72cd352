//! A share of the cases, for work that several machines divide among themselves.

use super::DatasetError;

/// Part `number` (from 0) of `of` parts: every `of`-th case, beginning with `number`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    number: usize,
    of: usize,
}

impl Default for Part {
    /// All cases.
    fn default() -> Self {
        Self { number: 0, of: 1 }
    }
}

impl Part {
    /// Part `number` of `of`.
    ///
    /// # Errors
    /// There are no parts, or fewer than that.
    pub fn new(number: usize, of: usize) -> Result<Self, DatasetError> {
        if number < of { Ok(Self { number, of }) } else { Err(DatasetError::Part { number, of }) }
    }

    /// Its number, from 0.
    pub fn number(self) -> usize {
        self.number
    }

    /// How many parts there are.
    pub fn of(self) -> usize {
        self.of
    }

    /// The part's share of `all`.
    pub fn share<T>(self, all: &[T]) -> impl Iterator<Item = &T> {
        all.iter().skip(self.number).step_by(self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_in_one_part() {
        let all: Vec<usize> = (0..7).collect();
        let mut seen: Vec<usize> =
            (0..3).flat_map(|n| Part::new(n, 3).unwrap().share(&all).copied().collect::<Vec<_>>()).collect();
        assert_eq!(seen, [0, 3, 6, 1, 4, 2, 5]);
        seen.sort_unstable();
        assert_eq!(seen, all);
        assert!(Part::new(3, 3).is_err() && Part::new(0, 0).is_err());
    }
}
