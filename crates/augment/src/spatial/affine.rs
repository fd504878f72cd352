//! The linear maps of rotation and scaling. Axis order (z, y, x), angles in radians.

/// Whether patches are rotated in space or slice by slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpatialMode {
    /// All three axes.
    Volume,
    /// The last two axes, the same for every slice of a patch.
    Slices,
}

/// The linear map from patch coordinates to crop coordinates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Affine {
    /// Of (z, y, x).
    Volume([[f64; 3]; 3]),
    /// Of (y, x), the same in every slice.
    Slices([[f64; 2]; 2]),
}

/// Rz Ry Rx S for `angles` about the axes (first, second, third) in radians and `factors` per axis.
pub fn volume_matrix(angles: [f64; 3], factors: [f64; 3]) -> [[f64; 3]; 3] {
    let [(sa, ca), (sb, cb), (sc, cc)] = angles.map(f64::sin_cos);
    let first = [[1.0, 0.0, 0.0], [0.0, ca, -sa], [0.0, sa, ca]];
    let second = [[cb, 0.0, sb], [0.0, 1.0, 0.0], [-sb, 0.0, cb]];
    let third = [[cc, -sc, 0.0], [sc, cc, 0.0], [0.0, 0.0, 1.0]];
    let rotation = product(product(third, second), first);
    rotation.map(|row| std::array::from_fn(|d| row[d] * factors[d]))
}

/// R S for `angle` in radians and `factors` per axis.
pub fn slice_matrix(angle: f64, factors: [f64; 2]) -> [[f64; 2]; 2] {
    let (sine, cosine) = angle.sin_cos();
    [[cosine * factors[0], -sine * factors[1]], [sine * factors[0], cosine * factors[1]]]
}

fn product(a: [[f64; 3]; 3], b: [[f64; 3]; 3]) -> [[f64; 3]; 3] {
    std::array::from_fn(|i| std::array::from_fn(|j| (0..3).map(|k| a[i][k] * b[k][j]).sum()))
}
