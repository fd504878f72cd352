//! Devices of libtorch by name.

use std::fmt;

use crate::error::OpenError;
use crate::interface::{Driver, NoDriver};

/// A device of libtorch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TorchDevice {
    /// libtorch's CPU, to compare with it.
    Cpu,
    /// The NVIDIA card with this number.
    Cuda(usize),
    /// The GPU of a Mac.
    Mps,
}

impl fmt::Display for TorchDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("torch-cpu"),
            Self::Cuda(0) => f.write_str("cuda"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::Mps => f.write_str("mps"),
        }
    }
}

/// NVIDIA's driver and its cards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cards {
    /// Newest CUDA version that the driver runs, e.g. (13, 0).
    pub cuda: (i32, i32),
    /// Name and bytes of memory of each card, in the order of their numbers.
    pub cards: Vec<(String, usize)>,
}

/// Asks NVIDIA's driver for its cards. It takes a few milliseconds where there is no driver, and needs no libtorch.
///
/// # Errors
/// No driver, a driver that refuses, or no card.
pub fn cards() -> Result<Cards, OpenError> {
    match Driver::ask() {
        Ok(Driver { cards, .. }) if cards.is_empty() => {
            Err(OpenError::NoCard("the driver knows none".to_owned()))
        }
        Ok(Driver { cuda, cards }) => Ok(Cards { cuda, cards }),
        Err(NoDriver::Missing) => Err(OpenError::NoCard("no NVIDIA driver is installed".to_owned())),
        Err(NoDriver::Refuses(100)) => Err(OpenError::NoCard("the driver finds no card".to_owned())),
        Err(NoDriver::Refuses(code)) => {
            Err(OpenError::NoCard(format!("the driver refuses with CUDA's error {code}")))
        }
    }
}

impl TorchDevice {
    /// The name of the card, if the device is one.
    pub(crate) fn card(self) -> Result<Option<String>, OpenError> {
        let Self::Cuda(index) = self else { return Ok(None) };
        let cards = cards()?.cards;
        match cards.get(index) {
            Some((name, _)) => Ok(Some(name.clone())),
            None => {
                Err(OpenError::NoSuchCard { index, found: cards.into_iter().map(|(name, _)| name).collect() })
            }
        }
    }
}
