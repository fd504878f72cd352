//! Dense arrays in C order: one scalar volume, or several channels on one grid.

use std::ops::Range;

/// A dense 3-D array, axis order (z, y, x), C order (x runs fastest).
///
/// 2-D images are volumes whose first axis has length one.
#[derive(Debug, Clone, PartialEq)]
pub struct Volume<T> {
    shape: [usize; 3],
    data: Vec<T>,
}

impl<T> Volume<T> {
    /// Wraps `data` of `shape` (z, y, x). `None` if the number of elements does not fit the shape.
    pub fn new(shape: [usize; 3], data: Vec<T>) -> Option<Self> {
        let len = shape.iter().try_fold(1usize, |a, &b| a.checked_mul(b))?;
        (len == data.len()).then_some(Self { shape, data })
    }

    /// Shape (z, y, x).
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Elements in C order.
    pub fn data(&self) -> &[T] {
        &self.data
    }

    /// Elements in C order, writable.
    pub fn data_mut(&mut self) -> &mut [T] {
        &mut self.data
    }

    /// Gives the elements away.
    pub fn into_data(self) -> Vec<T> {
        self.data
    }

    /// Linear index of voxel (z, y, x).
    #[inline]
    pub fn index(&self, z: usize, y: usize, x: usize) -> usize {
        (z * self.shape[1] + y) * self.shape[2] + x
    }
}

impl<T: Clone> Volume<T> {
    /// A volume filled with one value.
    pub fn filled(shape: [usize; 3], value: T) -> Self {
        Self { shape, data: vec![value; shape.iter().product()] }
    }
}

impl<T: Copy> Volume<T> {
    /// The part within `bounds` (z, y, x), which lie inside.
    #[must_use]
    pub fn crop(&self, bounds: &[Range<usize>; 3]) -> Self {
        let [depth, height, width] = bounds.each_ref().map(ExactSizeIterator::len);
        let mut data = Vec::with_capacity(depth * height * width);
        for z in bounds[0].clone() {
            for y in bounds[1].clone() {
                let start = self.index(z, y, bounds[2].start);
                data.extend_from_slice(&self.data[start..start + width]);
            }
        }
        Self { shape: [depth, height, width], data }
    }
}

impl Volume<f32> {
    /// The first voxel (index in C order and value) that is not a whole number within `limits`, if there is
    /// one. A label image has none.
    pub fn first_non_label(&self, limits: std::ops::RangeInclusive<f32>) -> Option<(usize, f32)> {
        self.data().iter().copied().enumerate().find(|(_, v)| v.fract() != 0.0 || !limits.contains(v))
    }
}

/// Several channels on one grid, axis order (c, z, y, x), C order.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelVolume<T> {
    channels: usize,
    shape: [usize; 3],
    data: Vec<T>,
}

impl<T> ChannelVolume<T> {
    /// Wraps `data` of `channels` x `shape` (z, y, x). `None` if the number of elements does not fit.
    pub fn new(channels: usize, shape: [usize; 3], data: Vec<T>) -> Option<Self> {
        let len = shape.iter().try_fold(channels, |a, &b| a.checked_mul(b))?;
        (len == data.len()).then_some(Self { channels, shape, data })
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Spatial shape (z, y, x).
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Voxels of one channel.
    pub fn voxels(&self) -> usize {
        self.shape.iter().product()
    }

    /// All elements in C order.
    pub fn data(&self) -> &[T] {
        &self.data
    }

    /// All elements in C order, writable.
    pub fn data_mut(&mut self) -> &mut [T] {
        &mut self.data
    }

    /// Elements of channel `c` in C order.
    pub fn channel(&self, c: usize) -> &[T] {
        let n = self.voxels();
        &self.data[c * n..(c + 1) * n]
    }

    /// Elements of channel `c` in C order, writable.
    pub fn channel_mut(&mut self, c: usize) -> &mut [T] {
        let n = self.voxels();
        &mut self.data[c * n..(c + 1) * n]
    }

    /// Gives the elements away.
    pub fn into_data(self) -> Vec<T> {
        self.data
    }
}

impl<T: Clone> ChannelVolume<T> {
    /// All channels filled with one value.
    pub fn filled(channels: usize, shape: [usize; 3], value: T) -> Self {
        Self { channels, shape, data: vec![value; channels * shape.iter().product::<usize>()] }
    }
}
