//! What resampling does along one axis, and to which range its results are clipped.

use super::axis::{CubicTap, Interpolation, LinearTap, Taps};
use super::cubic::GAIN;

/// What happens along one axis.
pub(super) enum AxisPlan {
    Keep,
    Nearest(Vec<usize>),
    Linear(Vec<LinearTap>),
    Cubic(Vec<CubicTap>),
}

impl AxisPlan {
    pub(super) fn new(from: usize, to: usize, order: Interpolation) -> Self {
        // Equal lengths: the spline meets its samples.
        if from == to {
            return Self::Keep;
        }
        match order.taps(from, to) {
            Taps::Nearest(taps) => Self::Nearest(taps),
            Taps::Linear(taps) => Self::Linear(taps),
            Taps::Cubic(taps) => Self::Cubic(taps),
        }
    }

    pub(super) fn keeps(&self) -> bool {
        matches!(self, Self::Keep)
    }

    /// Factor that samples get when they are loaded.
    pub(super) fn gain(&self) -> f64 {
        if matches!(self, Self::Cubic(_)) { GAIN } else { 1.0 }
    }
}

/// Smallest and largest value, NaN left out.
pub(super) fn range(values: &[f32]) -> (f32, f32) {
    values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &v| (low.min(v), high.max(v)))
}

/// Whether and how results are clipped.
#[derive(Clone, Copy)]
pub(super) enum Clip {
    No,
    To(f32, f32),
    /// To the range of each input slice.
    Slice,
}

/// Smallest and largest value that results may have.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    low: f32,
    high: f32,
}

impl Bounds {
    /// No value is out of bounds.
    pub(super) const NONE: Self = Self { low: f32::NEG_INFINITY, high: f32::INFINITY };

    /// The bounds of a [`range`]; one without any number in it is turned around and bounds nothing.
    pub(super) fn of((low, high): (f32, f32)) -> Self {
        if low <= high { Self { low, high } } else { Self::NONE }
    }

    /// `value` within the bounds.
    pub(super) fn apply(self, value: f64) -> f32 {
        (value as f32).clamp(self.low, self.high)
    }
}
