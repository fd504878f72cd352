//! Colours over a grey image.

use std::collections::BTreeSet;

use png::{BitDepth, ColorType, EncodingError};

/// Colours of the labels of a slice, in ascending order; the lowest, the background, has none.
const COLOURS: [[u8; 3]; 15] = [
    [0x00, 0x00, 0x00],
    [0x43, 0x63, 0xd8],
    [0xf5, 0x82, 0x31],
    [0x3c, 0xb4, 0x4b],
    [0xe6, 0x19, 0x4b],
    [0x91, 0x1e, 0xb4],
    [0xff, 0xe1, 0x19],
    [0xbf, 0xef, 0x45],
    [0x42, 0xd4, 0xf4],
    [0xf0, 0x32, 0xe6],
    [0x00, 0x00, 0x75],
    [0x9a, 0x63, 0x24],
    [0x80, 0x80, 0x00],
    [0x80, 0x00, 0x00],
    [0x46, 0x99, 0x90],
];

/// The colour of the label that is the `rank`th of its slice. Beyond the last the colours come again.
fn colour(rank: usize) -> [u8; 3] {
    match rank {
        0 => COLOURS[0],
        _ => COLOURS[1 + (rank - 1) % (COLOURS.len() - 1)],
    }
}

/// Red, green and blue of every pixel: the image spread over 0 to 255, the label's colour times `intensity` added, and
/// all of it spread over 0 to 255 again. An image of one value is black.
pub(super) fn overlay(image: &[f32], labels: &[i16], intensity: f64) -> Vec<[u8; 3]> {
    let (low, high) =
        image.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)));
    let spread = |value: f32, range: f32| if range > 0.0 { value / range * 255.0 } else { 0.0 };
    let present: BTreeSet<i16> = labels.chunk_by(|a, b| a == b).map(|run| run[0]).collect();
    let added: Vec<(i16, [f64; 3])> = present
        .into_iter()
        .enumerate()
        .map(|(rank, label)| (label, colour(rank).map(|v| intensity * f64::from(v))))
        .collect();
    let mut pixels: Vec<[f32; 3]> = Vec::with_capacity(image.len());
    for (value, label) in image.iter().zip(labels) {
        let grey = f64::from(spread(value - low, high - low));
        let at = added.partition_point(|(other, _)| other < label);
        let colour = added.get(at).map_or([0.0; 3], |(_, colour)| *colour);
        pixels.push(colour.map(|v| (grey + v) as f32));
    }
    let highest = pixels.as_flattened().iter().fold(0.0, |highest: f32, v| highest.max(*v));
    pixels.into_iter().map(|pixel| pixel.map(|v| spread(v, highest) as u8)).collect()
}

/// A PNG file of pixels in rows of `width`, opaque.
pub(super) fn to_png(pixels: &[[u8; 3]], width: usize) -> Result<Vec<u8>, EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, (pixels.len() / width.max(1)) as u32);
    encoder.set_color(ColorType::Rgba);
    encoder.set_depth(BitDepth::Eight);
    let data: Vec<u8> = pixels.iter().flat_map(|[r, g, b]| [*r, *g, *b, 255]).collect();
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&data)?;
    writer.finish()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_show_on_an_image_of_one_value() {
        assert_eq!(
            overlay(&[7.0; 3], &[0, 2, 0], 0.5),
            [[0; 3], [0x43, 0x63, 0xd8].map(|v| (v as f32 / 216.0 * 255.0) as u8), [0; 3]]
        );
        assert_eq!(overlay(&[7.0; 2], &[0, 0], 0.5), [[0; 3]; 2]);
        assert!(overlay(&[], &[], 0.5).is_empty());
    }

    #[test]
    fn more_labels_than_colours() {
        assert_eq!((colour(14), colour(15), colour(29)), (COLOURS[14], COLOURS[1], COLOURS[1]));
    }
}
