//! Cropping to the nonzero part of a case: the box around every voxel that is not zero in all channels.
//!
//! Axis order (z, y, x), boxes half-open. The reference takes the box of the mask after filling its
//! holes; holes lie inside the box anyway, so the box is found without filling.

use nnunet_volume::{ChannelVolume, Volume};

/// A box of voxels, half-open: `lower <= index < upper`, axis order (z, y, x).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CropBox {
    /// First index per axis.
    pub lower: [usize; 3],
    /// One past the last index per axis.
    pub upper: [usize; 3],
}

impl CropBox {
    /// The whole of `shape` (z, y, x).
    pub fn whole(shape: [usize; 3]) -> Self {
        Self { lower: [0; 3], upper: shape }
    }

    /// Shape (z, y, x).
    pub fn shape(&self) -> [usize; 3] {
        [0, 1, 2].map(|i| self.upper[i] - self.lower[i])
    }

    /// The box's rows along x as ranges of linear indices into an array of `shape` (z, y, x), in C order.
    pub fn rows(&self, shape: [usize; 3]) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let Self { lower, upper } = *self;
        (lower[0]..upper[0]).flat_map(move |z| {
            (lower[1]..upper[1]).map(move |y| {
                let row = (z * shape[1] + y) * shape[2];
                row + lower[2]..row + upper[2]
            })
        })
    }

    /// Copies the box out of a volume.
    pub fn cut<T: Copy>(&self, volume: &Volume<T>) -> Volume<T> {
        let mut data = Vec::with_capacity(self.shape().iter().product());
        self.rows(volume.shape()).for_each(|row| data.extend_from_slice(&volume.data()[row]));
        rebuilt(Volume::new(self.shape(), data))
    }

    /// Copies the box out of every channel.
    pub fn cut_channels<T: Copy>(&self, volume: &ChannelVolume<T>) -> ChannelVolume<T> {
        let mut data = Vec::with_capacity(volume.channels() * self.shape().iter().product::<usize>());
        for c in 0..volume.channels() {
            let channel = volume.channel(c);
            self.rows(volume.shape()).for_each(|row| data.extend_from_slice(&channel[row]));
        }
        rebuilt(ChannelVolume::new(volume.channels(), self.shape(), data))
    }
}

/// The rows of a box have as many voxels as its shape says.
fn rebuilt<T>(volume: Option<T>) -> T {
    match volume {
        Some(volume) => volume,
        None => unreachable!("a box has as many voxels as its shape"),
    }
}

/// The box around all voxels that are not zero in some channel; the whole image if all are zero, as the
/// reference does.
pub fn nonzero_box(images: &ChannelVolume<f32>) -> CropBox {
    let shape = images.shape();
    let mut lower = shape;
    let mut upper = [0; 3];
    for c in 0..images.channels() {
        let channel = images.channel(c);
        for (row, values) in channel.chunks_exact(shape[2].max(1)).enumerate() {
            let (z, y) = (row / shape[1], row % shape[1]);
            // Within what is known along x only the row's place matters, so the scans stop early.
            let Some(first) = values.iter().position(|&v| v != 0.0) else { continue };
            lower = [lower[0].min(z), lower[1].min(y), lower[2].min(first)];
            let known = upper[2].max(first);
            let last = values[known..].iter().rposition(|&v| v != 0.0).map_or(first + 1, |i| known + i + 1);
            upper = [upper[0].max(z + 1), upper[1].max(y + 1), upper[2].max(last)];
        }
    }
    if upper[0] == 0 { CropBox::whole(shape) } else { CropBox { lower, upper } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same by definition: over all voxels.
    fn slow(images: &ChannelVolume<f32>) -> CropBox {
        let shape = images.shape();
        let mut found = CropBox { lower: shape, upper: [0; 3] };
        for z in 0..shape[0] {
            for y in 0..shape[1] {
                for x in 0..shape[2] {
                    let index = (z * shape[1] + y) * shape[2] + x;
                    if (0..images.channels()).any(|c| images.channel(c)[index] != 0.0) {
                        for (axis, at) in [z, y, x].into_iter().enumerate() {
                            found.lower[axis] = found.lower[axis].min(at);
                            found.upper[axis] = found.upper[axis].max(at + 1);
                        }
                    }
                }
            }
        }
        if found.upper[0] == 0 { CropBox::whole(shape) } else { found }
    }

    proptest! {
        #[test]
        fn equals_the_definition(shape in proptest::array::uniform3(1usize..7), channels in 1usize..3,
                                 points in proptest::collection::vec(any::<prop::sample::Index>(), 0..5)) {
            let mut images = ChannelVolume::filled(channels, shape, 0.0);
            let length = images.data().len();
            for point in points {
                images.data_mut()[point.index(length)] = -1.0;
            }
            prop_assert_eq!(nonzero_box(&images), slow(&images));
        }
    }

    #[test]
    fn cutting_keeps_the_order() {
        let volume = Volume::new([2, 3, 4], (0..24).collect()).unwrap();
        let part = CropBox { lower: [1, 0, 1], upper: [2, 2, 3] };
        assert_eq!(part.cut(&volume).data(), [13, 14, 17, 18]);
        let channels = ChannelVolume::new(2, [1, 3, 4], (0..24).collect()).unwrap();
        let part = CropBox { lower: [0, 2, 3], upper: [1, 3, 4] };
        assert_eq!(part.cut_channels(&channels).data(), [11, 23]);
    }
}
