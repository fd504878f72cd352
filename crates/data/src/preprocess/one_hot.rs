//! A label map as additional image channels: the previous stage's segmentation in a cascade.

use nnunet_volume::ChannelVolume;

/// `image` (c, z, y, x) with one more channel for each of `labels`: 1 where `segmentation` (z, y, x) has
/// it, else 0.
pub fn append_one_hot(image: ChannelVolume<f32>, segmentation: &[i16], labels: &[i16]) -> ChannelVolume<f32> {
    let (channels, shape) = (image.channels(), image.shape());
    let voxels = image.voxels();
    let mut data = image.into_data();
    data.reserve_exact(labels.len() * voxels);
    for label in labels {
        data.extend(segmentation.iter().take(voxels).map(|found| f32::from(u8::from(found == label))));
    }
    data.resize((channels + labels.len()) * voxels, 0.0);
    match ChannelVolume::new(channels + labels.len(), shape, data) {
        Some(result) => result,
        None => unreachable!("as many values as channels and voxels"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_label_is_a_channel_behind_the_image() {
        let image = ChannelVolume::new(1, [1, 1, 3], vec![0.5, 0.6, 0.7]).unwrap();
        let result = append_one_hot(image, &[0, 2, 1], &[1, 2]);
        assert_eq!(result.data(), &[0.5, 0.6, 0.7, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
    }
}
