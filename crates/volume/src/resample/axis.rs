//! Positions and weights of one axis: which input samples make output sample i, and how much of each.
//!
//! The arithmetic is that of scipy.ndimage (`zoom` with `grid_mode`, mode `nearest`) in f64, operation by operation:
//! label resampling depends on the last bit.

/// Spline order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Order 0.
    Nearest,
    /// Order 1.
    Linear,
    /// Order 3.
    Cubic,
}

impl Order {
    /// The order with this number as plans write it, `None` for one that is not offered.
    pub fn from_number(order: u64) -> Option<Self> {
        match order {
            0 => Some(Self::Nearest),
            1 => Some(Self::Linear),
            3 => Some(Self::Cubic),
            _ => None,
        }
    }
}

/// Two neighbours and their weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct LinearTap {
    pub(super) low: usize,
    pub(super) high: usize,
    pub(super) weights: [f64; 2],
}

/// Four B-spline coefficients from `first` on, counted in the coefficient row that starts two before sample 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct CubicTap {
    pub(super) first: usize,
    pub(super) weights: [f64; 4],
}

/// Input coordinate of output sample `i`.
fn coordinate(i: usize, from: usize, to: usize) -> f64 {
    (i as f64 + 0.5) * (from as f64 / to as f64) - 0.5
}

/// The same, held within the samples.
fn clamped(i: usize, from: usize, to: usize) -> f64 {
    coordinate(i, from, to).clamp(0.0, (from - 1) as f64)
}

/// Nearest input sample of each output sample (halves go up).
pub(super) fn nearest_taps(from: usize, to: usize) -> Vec<usize> {
    (0..to).map(|i| (clamped(i, from, to) + 0.5).floor() as usize).collect()
}

/// Neighbours and weights of linear interpolation.
pub(super) fn linear_taps(from: usize, to: usize) -> Vec<LinearTap> {
    let tap = |i| {
        let at = clamped(i, from, to);
        let low = at.floor();
        let share = at - low;
        LinearTap { low: low as usize, high: (low as usize + 1).min(from - 1), weights: [1.0 - share, share] }
    };
    (0..to).map(tap).collect()
}

/// Coefficients and weights of cubic B-spline interpolation. The coordinate is not held within the samples: the
/// coefficients continue beyond them (see `cubic`).
pub(super) fn cubic_taps(from: usize, to: usize) -> Vec<CubicTap> {
    let tap = |i| {
        let at = coordinate(i, from, to);
        let base = at.floor();
        let y = at - base;
        let z = 1.0 - y;
        let w1 = (y * y * (y - 2.0) * 3.0 + 4.0) / 6.0;
        let w2 = (z * z * (z - 2.0) * 3.0 + 4.0) / 6.0;
        let w0 = z * z * z / 6.0;
        // One before the base, and the row starts two before sample 0.
        CubicTap { first: (base + 1.0) as usize, weights: [w0, w1, w2, 1.0 - w0 - w1 - w2] }
    };
    (0..to).map(tap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_stay_within_the_samples() {
        for from in 1..20 {
            for to in 1..60 {
                assert!(nearest_taps(from, to).iter().all(|&i| i < from));
                assert!(linear_taps(from, to).iter().all(|t| t.low < from && t.high < from));
                for tap in cubic_taps(from, to) {
                    assert!(tap.first + 4 <= from + 4);
                    assert!((tap.weights.iter().sum::<f64>() - 1.0).abs() < 1e-15);
                }
            }
        }
    }

    #[test]
    fn orders_have_their_numbers() {
        assert_eq!(
            [0, 1, 2, 3].map(Order::from_number),
            [Some(Order::Nearest), Some(Order::Linear), None, Some(Order::Cubic)]
        );
    }
}
