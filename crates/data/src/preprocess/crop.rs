//! Marking what lies outside the body: segmentations get -1 where they are background and the
//! image is zero in every channel, holes within the nonzero part excepted.

use nnunet_volume::morphology::{fill_holes, nonzero_mask};
use nnunet_volume::{ChannelVolume, Volume};

/// Label of background voxels outside the nonzero mask.
pub const OUTSIDE: i16 = -1;

/// Sets background voxels of `segmentation` outside the filled nonzero mask of `images` to
/// [`OUTSIDE`]. Both are already cropped to the box of the mask; the box does not change which holes
/// are filled, as everything beyond it is zero.
pub fn mark_outside(images: &ChannelVolume<f32>, segmentation: &mut Volume<i16>) {
    let mut mask = nonzero_mask(images);
    if mask.data().iter().all(|&inside| inside) {
        return;
    }
    fill_holes(&mut mask);
    for (label, inside) in segmentation.data_mut().iter_mut().zip(mask.data()) {
        if *label == 0 && !inside {
            *label = OUTSIDE;
        }
    }
}

/// The volume with its axes in another order: axis `i` of the result is axis `order[i]` of `data`.
pub fn transpose<T: Copy>(data: &[T], shape: [usize; 3], order: [usize; 3]) -> Vec<T> {
    let strides = [shape[1] * shape[2], shape[2], 1];
    let [z_stride, y_stride, x_stride] = order.map(|axis| strides[axis]);
    let [depth, height, width] = order.map(|axis| shape[axis]);
    let mut out = Vec::with_capacity(data.len());
    for z in 0..depth {
        for y in 0..height {
            let start = z * z_stride + y * y_stride;
            out.extend((0..width).map(|x| data[start + x * x_stride]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_inside_and_labels_stay() {
        #[rustfmt::skip]
        let ring = [
            0., 0., 0., 0., 0.,
            0., 1., 1., 1., 0.,
            0., 1., 0., 1., 0.,
            0., 1., 1., 1., 0.,
            0., 0., 0., 0., 0.,
        ];
        let mut voxels = vec![0.0; 25];
        voxels[6..9].fill(1.0);
        voxels[11..14].fill(1.0);
        voxels[16..19].fill(1.0);
        let lid = voxels.clone();
        let images = ChannelVolume::new(1, [3, 5, 5], [lid.clone(), ring.to_vec(), lid].concat()).unwrap();
        let mut segmentation = Volume::filled([3, 5, 5], 0i16);
        segmentation.data_mut()[0] = 2;
        mark_outside(&images, &mut segmentation);
        assert_eq!(segmentation.data()[25 + 12], 0, "the hole");
        assert_eq!(segmentation.data()[0], 2, "a label outside");
        assert_eq!(segmentation.data()[1], OUTSIDE);
        assert_eq!(segmentation.data().iter().filter(|v| **v == OUTSIDE).count(), 3 * 16 - 1);
    }

    #[test]
    fn transposing_and_back() {
        let data: Vec<u8> = (0..24).collect();
        let turned = transpose(&data, [2, 3, 4], [2, 0, 1]);
        assert_eq!(turned[..4], [0, 4, 8, 12]);
        assert_eq!(transpose(&turned, [4, 2, 3], [1, 2, 0]), data);
    }
}
