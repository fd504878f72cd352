//! Test-time mirroring: the axes over whose combinations a tile's logits are averaged.

use nnunet_graph::Tensor;

/// Every combination of the `allowed` spatial axes (0 = z), the empty one first.
pub fn combinations(allowed: &[usize]) -> Vec<Vec<usize>> {
    let mut all: Vec<Vec<usize>> = (0..1usize << allowed.len())
        .map(|bits| {
            allowed.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1).map(|(_, &axis)| axis).collect()
        })
        .collect();
    all.sort_by_key(Vec::len);
    all
}

/// `source` (n, c, z, y, x) mirrored along `axes` into `target` of the same shape.
pub fn mirror_into(source: &Tensor, axes: &[usize], target: &mut Tensor) {
    debug_assert_eq!(source.shape, target.shape);
    visit_rows(source.shape, axes, |from, to, len, reversed| {
        let (from, to) = (&source.data[from..from + len], &mut target.data[to..to + len]);
        if reversed {
            to.iter_mut().zip(from.iter().rev()).for_each(|(t, s)| *t = *s);
        } else {
            to.copy_from_slice(from);
        }
    });
}

/// Adds `source` (n, c, z, y, x) mirrored along `axes` to `target` of the same shape.
pub fn add_mirrored(source: &Tensor, axes: &[usize], target: &mut Tensor) {
    debug_assert_eq!(source.shape, target.shape);
    visit_rows(source.shape, axes, |from, to, len, reversed| {
        let (from, to) = (&source.data[from..from + len], &mut target.data[to..to + len]);
        if reversed {
            to.iter_mut().zip(from.iter().rev()).for_each(|(t, s)| *t += *s);
        } else {
            to.iter_mut().zip(from).for_each(|(t, s)| *t += *s);
        }
    });
}

/// Calls `row(from, to, length, reversed)` for each row along x and its place in the mirrored tensor.
fn visit_rows(shape: [usize; 5], axes: &[usize], mut row: impl FnMut(usize, usize, usize, bool)) {
    let [n, c, depth, height, width] = shape;
    let flip = |axis: usize, index: usize, size: usize| {
        if axes.contains(&axis) { size - 1 - index } else { index }
    };
    for volume in 0..n * c {
        for z in 0..depth {
            for y in 0..height {
                let from = (volume * depth + z) * height + y;
                let to = (volume * depth + flip(0, z, depth)) * height + flip(1, y, height);
                row(from * width, to * width, width, axes.contains(&2));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_each_axis_and_is_its_own_inverse() {
        let mut tensor = Tensor::zeros([2, 1, 2, 3, 4]);
        tensor.data.iter_mut().enumerate().for_each(|(i, v)| *v = i as f32);
        let mut out = Tensor::zeros(tensor.shape);
        mirror_into(&tensor, &[2], &mut out);
        assert_eq!(out.data[..4], [3., 2., 1., 0.]);
        mirror_into(&tensor, &[0, 1], &mut out);
        assert_eq!(out.data[..4], [20., 21., 22., 23.]);
        let mut back = Tensor::zeros(tensor.shape);
        add_mirrored(&out, &[0, 1], &mut back);
        add_mirrored(&out, &[0, 1], &mut back);
        assert!(back.data.iter().zip(&tensor.data).all(|(b, t)| *b == 2.0 * t));
    }

    #[test]
    fn three_axes_have_eight_combinations() {
        let all = combinations(&[0, 1, 2]);
        assert_eq!(all.len(), 8);
        assert!(all[0].is_empty() && all[7] == [0, 1, 2]);
        assert_eq!(combinations(&[]), [Vec::<usize>::new()]);
    }
}
