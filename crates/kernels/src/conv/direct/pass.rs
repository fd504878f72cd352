//! Which source positions a result position sums over, per axis.

use std::ops::Range;

use super::ConvShape;

/// One tap along an axis: result `j` reads source `j * step + offset`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct AxisTap {
    pub(super) offset: isize,
    /// Index along this axis of the kernel.
    pub(super) tap: usize,
}

/// One axis of a pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Axis {
    /// Results `first + spacing * j` for `j < count`.
    pub(super) first: usize,
    pub(super) spacing: usize,
    pub(super) count: usize,
    /// Source positions per result.
    pub(super) step: usize,
    /// Taps in the order of their weights.
    pub(super) taps: Vec<AxisTap>,
}

impl Axis {
    fn forward(outputs: usize, kernel: usize, stride: usize, padding: usize) -> Self {
        let taps = (0..kernel).map(|tap| AxisTap { offset: tap as isize - padding as isize, tap }).collect();
        Self { first: 0, spacing: 1, count: outputs, step: stride, taps }
    }

    fn backward(inputs: usize, kernel: usize, stride: usize, padding: usize, residue: usize) -> Self {
        let taps = (0..kernel)
            .filter(|tap| (residue + padding + stride * kernel - tap).is_multiple_of(stride))
            .map(|tap| {
                let distance = (residue + padding) as isize - tap as isize;
                AxisTap { offset: distance.div_euclid(stride as isize), tap }
            })
            .collect();
        let count = inputs.saturating_sub(residue).div_ceil(stride);
        Self { first: residue, spacing: stride, count, step: 1, taps }
    }

    /// Whether the source of result `j` at `tap` lies within `size`.
    pub(super) fn is_inside(&self, j: usize, tap: &AxisTap, size: usize) -> bool {
        (0..size as isize).contains(&((j * self.step) as isize + tap.offset))
    }

    /// Indices of the taps whose source for result `j` lies within `size`: offsets rise or fall from tap to tap, so they are
    /// consecutive.
    pub(super) fn indices_inside(&self, j: usize, size: usize) -> Range<usize> {
        let is_inside = |tap: &AxisTap| self.is_inside(j, tap, size);
        let start = self.taps.iter().take_while(|tap| !is_inside(tap)).count();
        let count = self.taps[start..].iter().take_while(|tap| is_inside(tap)).count();
        start..start + count
    }
}

/// One sum over taps for a regular grid of results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pass {
    /// (z, y, x).
    pub(super) axes: [Axis; 3],
    pub(super) kernel: [usize; 3],
}

impl Pass {
    /// The forward direction.
    pub(super) fn forward(shape: &ConvShape, padding: [usize; 3]) -> Self {
        let out = shape.output().spatial;
        let axes = std::array::from_fn(|axis| {
            Axis::forward(out[axis], shape.kernel[axis], shape.stride[axis], padding[axis])
        });
        Self { axes, kernel: shape.kernel }
    }

    /// The data gradient: one pass per combination of residues.
    pub(super) fn backward(shape: &ConvShape, padding: [usize; 3]) -> Vec<Self> {
        let [sz, sy, sx] = shape.stride;
        (0..sz * sy * sx)
            .map(|index| {
                let residue = [index / (sy * sx), index / sx % sy, index % sx];
                let axes = std::array::from_fn(|axis| {
                    Axis::backward(
                        shape.input[axis],
                        shape.kernel[axis],
                        shape.stride[axis],
                        padding[axis],
                        residue[axis],
                    )
                });
                Self { axes, kernel: shape.kernel }
            })
            .filter(|pass: &Self| pass.axes.iter().all(|axis| axis.count > 0))
            .collect()
    }
}

/// Lowest and highest offset over all passes, along one axis; (0, 0) if there is no tap at all.
pub(super) fn offsets(passes: &[Pass], axis: usize) -> (isize, isize) {
    let all = || passes.iter().flat_map(|pass| pass.axes[axis].taps.iter().map(|tap| tap.offset));
    (all().min().unwrap_or(0), all().max().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backward_passes_are_the_transpose_of_the_forward_pass() {
        for (size, kernel, stride) in
            [(7, 3, 2), (5, 3, 1), (9, 7, 4), (6, 2, 3), (4, 1, 2), (3, 5, 2), (1, 3, 2)]
        {
            let shape = ConvShape::new(1, [size, 1, 1], &[1], 1, [kernel, 1, 1], [stride, 1, 1]).unwrap();
            let mut pairs = Vec::new();
            let forward = Pass::forward(&shape, shape.padding());
            for output in 0..shape.output().spatial[0] {
                let axis = &forward.axes[0];
                for tap in &axis.taps[axis.indices_inside(output, size)] {
                    pairs.push((output, (output * stride) as isize + tap.offset, tap.tap));
                }
            }
            let mut transposed = Vec::new();
            for pass in Pass::backward(&shape, shape.padding()) {
                let axis = &pass.axes[0];
                for j in 0..axis.count {
                    for tap in &axis.taps[axis.indices_inside(j, shape.output().spatial[0])] {
                        let output = (j as isize + tap.offset) as usize;
                        transposed.push((output, (axis.first + axis.spacing * j) as isize, tap.tap));
                    }
                }
            }
            pairs.sort_unstable();
            transposed.sort_unstable();
            assert_eq!(pairs, transposed, "size {size} kernel {kernel} stride {stride}");
        }
    }
}
