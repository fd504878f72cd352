//! `halving`: half the learning rate every few epochs.

use std::sync::Arc;

use nnunet::graph::schedule::Schedule;
use nnunet::parts::{OptionError, Options};

#[derive(Debug)]
struct Halving {
    initial: f64,
    every: usize,
}

impl Schedule for Halving {
    fn rate(&self, epoch: usize) -> f64 {
        self.initial * 0.5f64.powi((epoch / self.every) as i32)
    }
}

/// Makes the schedule. Option: `every`, a number of epochs (default: a tenth of all).
pub(crate) fn build(
    options: &mut Options<'_>,
    initial: f64,
    epochs: usize,
) -> Result<Arc<dyn Schedule>, OptionError> {
    let every = options.count("every", epochs.div_ceil(10))?;
    if every == 0 {
        return Err(options.invalid("every", "at least 1 epoch"));
    }
    Ok(Arc::new(Halving { initial, every }))
}
