//! The dense batch that crosses the border of a backend.

/// A batch of feature maps in plain layout, axis order (n, c, z, y, x), C order, f32.
///
/// Two-dimensional networks use a z axis of length one.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Shape (n, c, z, y, x).
    pub shape: [usize; 5],
    /// Elements in C order; `data.len()` is the product of `shape`.
    pub data: Vec<f32>,
}

impl Tensor {
    /// A tensor of zeros of `shape` (n, c, z, y, x).
    pub fn zeros(shape: [usize; 5]) -> Self {
        Self { shape, data: vec![0.0; shape.iter().product()] }
    }

    /// Gives it another shape, keeping the memory. The content is undefined where the shape changes.
    pub fn reshape(&mut self, shape: [usize; 5]) {
        self.shape = shape;
        self.data.resize(shape.iter().product(), 0.0);
    }

    /// Voxels of one channel of one sample.
    pub fn voxels(&self) -> usize {
        self.shape[2] * self.shape[3] * self.shape[4]
    }

    /// Elements of channel `c` of sample `n`, (z, y, x) in C order.
    pub fn channel(&self, n: usize, c: usize) -> &[f32] {
        let v = self.voxels();
        let start = (n * self.shape[1] + c) * v;
        &self.data[start..start + v]
    }
}
