//! Positions and weights of one axis: which input samples make output sample i, and how much of each.
//!
//! The arithmetic is that of scipy.ndimage (`zoom` with `grid_mode`, mode `nearest`) in f64, operation by operation:
//! label resampling depends on the last bit. For the `Torch` variants it is that of
//! `torch.nn.functional.interpolate` (corners not aligned) in f32.

/// How values between samples come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interpolation {
    /// Spline of order 0.
    Nearest,
    /// Spline of order 1.
    Linear,
    /// Spline of order 3.
    Cubic,
    /// PyTorch's `linear`, `bilinear`, `trilinear`.
    TorchLinear,
    /// PyTorch's `nearest`: the sample below.
    TorchNearest,
    /// PyTorch's `nearest-exact`.
    TorchNearestExact,
}

impl Interpolation {
    /// The spline with this order as plans write it, `None` for one that is not offered.
    pub fn of_order(order: u64) -> Option<Self> {
        match order {
            0 => Some(Self::Nearest),
            1 => Some(Self::Linear),
            3 => Some(Self::Cubic),
            _ => None,
        }
    }

    /// Whether it is PyTorch's, with its arithmetic and its rule for labels.
    pub(super) fn is_torch(self) -> bool {
        matches!(self, Self::TorchLinear | Self::TorchNearest | Self::TorchNearestExact)
    }

    /// Where each of `to` output samples lies among `from` input samples.
    pub(super) fn taps(self, from: usize, to: usize) -> Taps {
        match self {
            Self::Nearest => Taps::Nearest(nearest_taps(from, to)),
            Self::Linear => Taps::Linear(linear_taps(from, to)),
            Self::Cubic => Taps::Cubic(cubic_taps(from, to)),
            Self::TorchLinear => Taps::Linear(torch_linear_taps(from, to)),
            Self::TorchNearest => Taps::Nearest(torch_nearest_taps(from, to)),
            Self::TorchNearestExact => Taps::Nearest(torch_nearest_exact_taps(from, to)),
        }
    }
}

/// What the samples of an axis are made of.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Taps {
    Nearest(Vec<usize>),
    Linear(Vec<LinearTap>),
    Cubic(Vec<CubicTap>),
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

/// Neighbours and weights of PyTorch's linear interpolation: coordinates are f32, and so they are rounded.
pub(super) fn torch_linear_taps(from: usize, to: usize) -> Vec<LinearTap> {
    let scale = from as f32 / to as f32;
    let tap = |i: usize| {
        let at = (scale * (i as f32 + 0.5) - 0.5).max(0.0);
        let low = (at as usize).min(from - 1);
        let share = (at - low as f32).clamp(0.0, 1.0);
        let weights = [f64::from(1.0 - share), f64::from(share)];
        LinearTap { low, high: (low + 1).min(from - 1), weights }
    };
    (0..to).map(tap).collect()
}

/// Input sample of each output sample of PyTorch's `nearest`.
fn torch_nearest_taps(from: usize, to: usize) -> Vec<usize> {
    let scale = from as f32 / to as f32;
    let tap = |i: usize| match to {
        _ if to == from => i,
        _ if to == 2 * from => i / 2,
        _ => ((i as f32 * scale) as usize).min(from - 1),
    };
    (0..to).map(tap).collect()
}

/// Input sample of each output sample of PyTorch's `nearest-exact`.
fn torch_nearest_exact_taps(from: usize, to: usize) -> Vec<usize> {
    let scale = from as f32 / to as f32;
    (0..to).map(|i| (((i as f32 + 0.5) * scale) as usize).min(from - 1)).collect()
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
                for way in [
                    Interpolation::TorchLinear,
                    Interpolation::TorchNearest,
                    Interpolation::TorchNearestExact,
                ] {
                    match way.taps(from, to) {
                        Taps::Nearest(taps) => assert!(taps.iter().all(|&i| i < from)),
                        Taps::Linear(taps) => assert!(taps.iter().all(|t| t.low < from && t.high < from)),
                        Taps::Cubic(_) => unreachable!(),
                    }
                }
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
            [0, 1, 2, 3].map(Interpolation::of_order),
            [Some(Interpolation::Nearest), Some(Interpolation::Linear), None, Some(Interpolation::Cubic)]
        );
    }
}
