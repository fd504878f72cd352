//! Mirroring along axes, in place. Axis order (z, y, x). Exact.

use super::random::happens;
use rand::Rng;

/// Which axes may be mirrored, each independently.
#[derive(Debug, Clone, PartialEq)]
pub struct MirrorPolicy {
    /// Axes (z, y, x) that may be mirrored.
    pub axes: [bool; 3],
    /// Probability of each allowed axis.
    pub probability: f64,
}

impl MirrorPolicy {
    /// Axes to mirror for one sample.
    pub fn draw(&self, rng: &mut impl Rng) -> [bool; 3] {
        self.axes.map(|allowed| allowed && happens(self.probability, rng))
    }
}

/// Mirrors one channel of `shape` along each axis that is set in `axes`.
pub fn mirror<T>(channel: &mut [T], shape: [usize; 3], axes: [bool; 3]) {
    if channel.is_empty() {
        return;
    }
    let plane = shape[1] * shape[2];
    if axes[0] {
        swap_blocks(channel, plane);
    }
    if axes[1] {
        channel.chunks_exact_mut(plane).for_each(|slice| swap_blocks(slice, shape[2]));
    }
    if axes[2] {
        channel.chunks_exact_mut(shape[2]).for_each(|row| row.reverse());
    }
}

/// Reverses the order of blocks of `length` elements.
fn swap_blocks<T>(values: &mut [T], length: usize) {
    let blocks = values.len() / length;
    let (front, back) = values.split_at_mut(blocks.div_ceil(2) * length);
    for (a, b) in front.chunks_exact_mut(length).zip(back.chunks_exact_mut(length).rev()) {
        a.swap_with_slice(b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_axis_is_reversed_alone_and_twice_is_nothing() {
        let shape = [3, 4, 5];
        let before: Vec<usize> = (0..60).collect();
        for axes in [[true, false, false], [false, true, false], [false, false, true], [true, true, true]] {
            let mut after = before.clone();
            mirror(&mut after, shape, axes);
            for z in 0..3 {
                for y in 0..4 {
                    for x in 0..5 {
                        let flip = |d: usize, i: usize| if axes[d] { shape[d] - 1 - i } else { i };
                        let from = (flip(0, z) * 4 + flip(1, y)) * 5 + flip(2, x);
                        assert_eq!(after[(z * 4 + y) * 5 + x], from, "{axes:?}");
                    }
                }
            }
            mirror(&mut after, shape, axes);
            assert_eq!(after, before);
        }
    }
}
