//! Reading of natural weights `[co][ci][taps]`, in which the taps of a pair of channels are neighbours, into an order in which
//! result channels are.

use crate::simd::transpose4;

/// Taps of some result channels and one summed channel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taps<'a> {
    /// Natural weights from the first tap of the first result channel on.
    pub(super) natural: &'a [f32],
    /// From one result channel to the next, and their number.
    pub(super) results: (usize, usize),
    /// Taps of a pair of channels.
    pub(super) taps: usize,
    /// Take the taps in reverse order.
    pub(super) reversed: bool,
}

impl Taps<'_> {
    /// Writes the weights of tap `t` of all result channels from `output[t * stride]` on.
    ///
    /// # Panics
    /// If either slice is shorter than that.
    pub(super) fn write(&self, output: &mut [f32], stride: usize) {
        let Self { natural, results: (result_stride, results), taps, reversed } = *self;
        let place = |tap: usize| if reversed { taps - 1 - tap } else { tap } * stride;
        // Squares of four taps and four results at a time; the last square of a row begins early enough to be whole.
        let squares = if taps < 4 { 0 } else { results - results % 4 };
        for result in (0..squares).step_by(4) {
            for tap in (0..taps).step_by(4) {
                let tap = tap.min(taps - 4);
                let columns = transpose4(std::array::from_fn(|row| {
                    let row = &natural[(result + row) * result_stride + tap..][..4];
                    [row[0], row[1], row[2], row[3]]
                }));
                for (column, values) in columns.iter().enumerate() {
                    output[place(tap + column) + result..][..4].copy_from_slice(values);
                }
            }
        }
        for result in squares..results {
            for (tap, weight) in natural[result * result_stride..][..taps].iter().enumerate() {
                output[place(tap) + result] = *weight;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Taps;

    #[test]
    fn every_weight_comes_to_its_place_and_nothing_else_is_written() {
        for taps in [1, 2, 3, 4, 5, 8, 9, 27, 28] {
            for results in [1, 3, 4, 6, 16, 32] {
                for reversed in [false, true] {
                    let (result_stride, stride) = (taps + 3, results + 2);
                    let natural: Vec<f32> = (0..results * result_stride).map(|i| i as f32).collect();
                    let mut output = vec![-1.0; taps * stride];
                    Taps { natural: &natural, results: (result_stride, results), taps, reversed }
                        .write(&mut output, stride);
                    for (index, value) in output.iter().enumerate() {
                        let (tap, result) = (index / stride, index % stride);
                        let tap = if reversed { taps - 1 - tap } else { tap };
                        let expected =
                            if result < results { (result * result_stride + tap) as f32 } else { -1.0 };
                        assert_eq!(*value, expected, "{taps} taps, {results} results, {index}");
                    }
                }
            }
        }
    }
}
