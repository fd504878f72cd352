//! From values to places in a drawing.

/// A straight or logarithmic scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    logarithmic: bool,
    /// Between ticks, where it is straight.
    step: f64,
}

impl Scale {
    /// A straight scale that holds all `values`, drawn from `from` to `to`. Values that are not finite do not count.
    pub(super) fn linear(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let mut whole = true;
        let (low, high) = limits(values.inspect(|value| whole &= !value.is_finite() || value.fract() == 0.0));
        // There is nothing between one component and two.
        let step = if whole { step(high - low).max(1.0) } else { step(high - low) };
        let (low, high) = ((low / step).floor() * step, (high / step).ceil() * step);
        Self { low, high, from, to, logarithmic: false, step }
    }

    /// A logarithmic scale where the values are positive and differ by more than a factor of 50; else a straight one.
    pub(super) fn for_magnitudes(values: impl Iterator<Item = f64> + Clone, from: f64, to: f64) -> Self {
        let (low, high) = limits(values.clone());
        let positive = values.clone().filter(|v| v.is_finite()).all(|v| v > 0.0);
        if !(positive && high / low > 50.0) {
            return Self::linear(values, from, to);
        }
        Self { low: low.log10().floor(), high: high.log10().ceil(), from, to, logarithmic: true, step: 1.0 }
    }

    /// Where `value` is.
    pub(super) fn at(&self, value: f64) -> f64 {
        let value = if self.logarithmic { value.log10() } else { value };
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    /// Values to be written at the axis.
    pub(super) fn ticks(&self) -> Vec<f64> {
        if self.logarithmic {
            let (low, high) = (self.low as i32, self.high as i32);
            let every = ((high - low) / 6).max(1) as usize;
            return (low..=high).step_by(every).map(|exponent| 10f64.powi(exponent)).collect();
        }
        let step = self.step;
        let count = ((self.high - self.low) / step).round() as usize;
        (0..=count)
            .map(|i| {
                let tick = self.low + i as f64 * step;
                // 0.1 + 0.2 is not to be written as such.
                (tick / step).round() * step
            })
            .collect()
    }
}

/// Smallest and largest finite value, apart from each other.
fn limits(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let finite = values.filter(|v| v.is_finite());
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    if low > high {
        return (0.0, 1.0);
    }
    if low == high {
        let room = if low == 0.0 { 1.0 } else { low.abs() * 0.1 };
        return (low - room, high + room);
    }
    (low, high)
}

/// A round step that divides `range` into four to ten.
fn step(range: f64) -> f64 {
    let rough = range / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().rev().find(|f| f * power <= rough).unwrap_or(1.0);
    factor * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_hold_the_values() {
        let scale = Scale::linear([0.13, 0.94, f64::NAN].into_iter(), 0.0, 100.0);
        let ticks: Vec<String> = scale.ticks().iter().map(|t| format!("{t:.3}")).collect();
        assert_eq!(
            ticks,
            ["0.100", "0.200", "0.300", "0.400", "0.500", "0.600", "0.700", "0.800", "0.900", "1.000"]
        );
        assert_eq!((scale.at(0.1).round(), scale.at(1.0).round()), (0.0, 100.0));
        let counts = Scale::linear([1.0, 2.0].into_iter(), 0.0, 10.0);
        assert_eq!(counts.ticks(), [1.0, 2.0], "counts have no fractions");
        let one = Scale::linear(std::iter::once(5.0), 0.0, 10.0);
        assert!((one.at(5.0) - 5.0).abs() < 1e-9, "a single value is in the middle");
        assert!(Scale::linear(std::iter::empty(), 0.0, 1.0).at(0.5).is_finite());
    }

    #[test]
    fn magnitudes_far_apart_are_logarithmic() {
        let scale = Scale::for_magnitudes([0.02, 700.0].into_iter(), 0.0, 5.0);
        assert_eq!(scale.ticks(), [0.01, 0.1, 1.0, 10.0, 100.0, 1000.0]);
        assert_eq!(scale.at(10.0), 3.0);
        assert!(!Scale::for_magnitudes([0.0, 700.0].into_iter(), 0.0, 5.0).logarithmic, "no logarithm of 0");
    }
}
