//! A slice of an image as a PNG in a `data:` URL.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Share of the pixels that are left black or white, so that single bright ones do not darken the rest.
const CLIPPED: f64 = 0.005;

/// Grey values, from black for the darkest to white for the brightest. Pixels that are not finite are black.
pub(super) fn grey(values: &[f32]) -> Vec<u8> {
    let mut sorted: Vec<f32> = values.iter().copied().filter(|v| v.is_finite()).collect();
    sorted.sort_by(f32::total_cmp);
    let (Some(first), Some(last)) = (sorted.first(), sorted.last()) else { return vec![0; values.len()] };
    let clipped = (CLIPPED * sorted.len() as f64) as usize;
    let (mut low, mut high) = (sorted[clipped], sorted[sorted.len() - 1 - clipped]);
    if low >= high {
        (low, high) = (*first, *last);
    }
    let range = if high > low { high - low } else { 1.0 };
    // Conversions of numbers outside of 0 to 255 saturate, NaN becomes 0.
    values.iter().map(|v| ((v - low) / range * 255.0) as u8).collect()
}

/// Grey pixels in rows of `width` as `data:image/png;base64,...`; `None` if there are none.
pub(super) fn data_url(pixels: &[u8], width: usize) -> Option<String> {
    let height = pixels.len().checked_div(width)?;
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, u32::try_from(width).ok()?, u32::try_from(height).ok()?);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(pixels).ok()?;
    writer.finish().ok()?;
    Some(format!("data:image/png;base64,{}", STANDARD.encode(&file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bright_pixel_does_not_darken_the_rest() {
        let mut values: Vec<f32> = (0..1000).map(|v| v as f32).collect();
        values[999] = 1e6;
        let pixels = grey(&values);
        assert_eq!((pixels[0], pixels[999]), (0, 255));
        assert!((125..131).contains(&pixels[500]), "{}", pixels[500]);
        assert_eq!(grey(&[7.0, 7.0]), [0, 0]);
        assert_eq!(grey(&[0.0, f32::NAN, 1.0]), [0, 0, 255]);
        assert_eq!(grey(&[f32::NAN]), [0]);
    }

    #[test]
    fn pixels_come_back_from_the_url() {
        let url = data_url(&[0, 50, 100, 150, 200, 250], 3).unwrap();
        let file = STANDARD.decode(url.strip_prefix("data:image/png;base64,").unwrap()).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (3, 2));
        assert_eq!(pixels, [0, 50, 100, 150, 200, 250]);
        assert_eq!(data_url(&[], 0), None);
    }
}
