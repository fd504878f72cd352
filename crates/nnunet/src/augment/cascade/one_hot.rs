//! A label map as additional image channels.

use nnunet_volume::ChannelVolume;

/// `image` with one more channel for each of `labels`: 1 where `segmentation` has it, else 0.
pub fn append_one_hot(
    image: &ChannelVolume<f32>,
    segmentation: &[i16],
    labels: &[i16],
) -> ChannelVolume<f32> {
    let channels = image.channels();
    let mut result = ChannelVolume::filled(channels + labels.len(), image.shape(), 0.0f32);
    result.data_mut()[..image.data().len()].copy_from_slice(image.data());
    for (k, label) in labels.iter().enumerate() {
        for (value, found) in result.channel_mut(channels + k).iter_mut().zip(segmentation) {
            *value = f32::from(u8::from(found == label));
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_label_is_a_channel_behind_the_image() {
        let image = ChannelVolume::new(1, [1, 1, 3], vec![0.5, 0.6, 0.7]).unwrap();
        let result = append_one_hot(&image, &[0, 2, 1], &[1, 2]);
        assert_eq!(result.data(), &[0.5, 0.6, 0.7, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
    }
}
