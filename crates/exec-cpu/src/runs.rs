//! The order of a forward pass.

use std::ops::Range;

use super::program::{Program, Step};

/// A step or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    /// Index of the step.
    pub(super) step: usize,
    /// Which of the step's sources are read.
    pub(super) sources: Range<usize>,
    /// Whether nothing of the step has run before.
    pub(super) first: bool,
    /// Whether the step is done after it.
    pub(super) last: bool,
}

impl Run {
    /// All of a step.
    pub(super) fn whole(index: usize, step: &Step) -> Self {
        Self { step: index, sources: 0..step.sources.len(), first: true, last: true }
    }
}

/// All steps, for training.
pub(super) fn training(program: &Program) -> Vec<Run> {
    program.steps.iter().enumerate().map(|(index, step)| Run::whole(index, step)).collect()
}
