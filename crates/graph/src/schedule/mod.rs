//! Learning-rate schedules: the rate is set once per epoch, before it, and follows from the epoch's number alone.
//!
//! Each schedule is nnU-Net's or PyTorch's, stepped once per epoch. A warm-up ([`WarmUp`]) can precede all of them but the
//! one-cycle policy, which has its own.

mod built_in;
mod constant;
mod cosine;
mod one_cycle;
mod polynomial;
mod restarts;
mod warm_up;

pub use built_in::{ScheduleBuilder, schedules};
pub use constant::Constant;
pub use cosine::CosineAnnealing;
pub use one_cycle::{Anneal, OneCycle};
pub use polynomial::PolynomialDecay;
pub use restarts::CosineRestarts;
pub use warm_up::WarmUp;

/// The learning rate of each epoch.
pub trait Schedule: std::fmt::Debug + Send + Sync {
    /// Learning rate of `epoch`, counted from 0.
    fn rate(&self, epoch: usize) -> f64;
}
