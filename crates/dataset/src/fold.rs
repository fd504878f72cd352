//! The name of a fold.

use std::fmt;
use std::str::FromStr;

/// Which fold to train.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fold {
    /// A fold of the splits file, from 0.
    Number(u32),
    /// All cases for training and for validation.
    All,
}

impl FromStr for Fold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            _ => text
                .parse()
                .map(Self::Number)
                .map_err(|_| format!("fold {text:?} is neither a number (0, 1, 2, ...) nor \"all\"")),
        }
    }
}

impl fmt::Display for Fold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::All => f.write_str("all"),
        }
    }
}
