//! A picture of what a network sees, should find and finds: a slice of the input, the target and the prediction side by side.

use nnunet_graph::Tensor;
use nnunet_graph::loss::Target;

use super::batch::Batch;

/// Columns between the parts of the picture.
const GAP: usize = 2;

/// Colours of labels and regions from the first on; the background is black.
const COLOURS: [[u8; 3]; 8] = [
    [230, 25, 75],
    [60, 180, 75],
    [255, 225, 25],
    [0, 130, 200],
    [245, 130, 48],
    [145, 30, 180],
    [70, 240, 240],
    [240, 50, 230],
];

/// An RGB picture as PNG.
#[derive(Debug)]
pub(super) struct Picture {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// The file.
    pub png: Vec<u8>,
}

/// The first sample of `batch` with its `logits` (1, classes, z, y, x): of the slice along z that shows most foreground the first
/// channel of the input, the target at full resolution, and the prediction. `None` where there is nothing to draw.
pub(super) fn sample_picture(batch: &Batch, logits: &Tensor) -> Option<Picture> {
    let [_, _, z, y, x] = batch.image.shape;
    let (plane, size) = (y * x, z * y * x);
    let target = classes_of_target(batch.targets.scales.first()?, size)?;
    let regions = matches!(batch.targets.scales.first()?, Target::Regions(_));
    let predicted = classes_of_logits(logits, size, regions)?;
    let foreground =
        |slice: &usize| target[slice * plane..(slice + 1) * plane].iter().filter(|c| **c > 0).count();
    // The first of equal ones.
    let slice = (0..z).rev().max_by_key(foreground)?;
    let of_slice = slice * plane..(slice + 1) * plane;
    let grey = grey_values(batch.image.data.get(of_slice.clone())?);
    let parts = [
        grey,
        target[of_slice.clone()].iter().map(|&class| colour(class)).collect(),
        predicted[of_slice].iter().map(|&class| colour(class)).collect(),
    ];
    let width = 3 * x + 2 * GAP;
    let mut pixels = Vec::with_capacity(width * y * 3);
    for row in 0..y {
        for (number, part) in parts.iter().enumerate() {
            if number > 0 {
                pixels.extend([255; 3 * GAP]);
            }
            pixels.extend(part[row * x..(row + 1) * x].iter().flatten());
        }
    }
    let (width, height) = (u32::try_from(width).ok()?, u32::try_from(y).ok()?);
    Some(Picture { width, height, png: encode(&pixels, width, height)? })
}

/// 0 for the background, else 1 + the last label or region that each voxel of the first sample belongs to.
fn classes_of_target(target: &Target, size: usize) -> Option<Vec<usize>> {
    match target {
        Target::Labels(labels) => {
            Some(labels.data.get(..size)?.iter().map(|&label| usize::try_from(label).unwrap_or(0)).collect())
        }
        Target::Regions(regions) => {
            let belongs = |region: usize, voxel: usize| regions.data[region * size + voxel];
            let count = regions.shape[1];
            (regions.data.len() >= count * size).then(|| last_regions(count, size, belongs))
        }
    }
}

fn classes_of_logits(logits: &Tensor, size: usize, regions: bool) -> Option<Vec<usize>> {
    let count = logits.shape[1];
    if count == 0 || logits.data.len() < count * size {
        return None;
    }
    let logit = |class: usize, voxel: usize| logits.data[class * size + voxel];
    if regions {
        return Some(last_regions(count, size, |region, voxel| logit(region, voxel) > 0.0));
    }
    let best =
        |voxel| (0..count).rev().max_by(|&a, &b| logit(a, voxel).total_cmp(&logit(b, voxel))).unwrap_or(0);
    Some((0..size).map(best).collect())
}

/// 1 + the last of `count` regions that each of `size` voxels belongs to: inner regions come after those around them.
fn last_regions(count: usize, size: usize, belongs: impl Fn(usize, usize) -> bool) -> Vec<usize> {
    (0..size).map(|voxel| (0..count).rev().find(|&r| belongs(r, voxel)).map_or(0, |r| r + 1)).collect()
}

/// Intensities from the smallest (black) to the largest (white).
fn grey_values(values: &[f32]) -> Vec<[u8; 3]> {
    let low = values.iter().copied().fold(f32::INFINITY, f32::min);
    let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let scale = if high > low { 255.0 / (high - low) } else { 0.0 };
    values.iter().map(|value| [((value - low) * scale) as u8; 3]).collect()
}

fn colour(class: usize) -> [u8; 3] {
    match class {
        0 => [0; 3],
        class => COLOURS[(class - 1) % COLOURS.len()],
    }
}

fn encode(pixels: &[u8], width: u32, height: u32) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(pixels).ok()?;
    writer.finish().ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use nnunet_graph::loss::{LabelBatch, RegionBatch, Targets};

    use super::*;

    fn pixels(picture: &Picture) -> Vec<[u8; 3]> {
        let mut reader = png::Decoder::new(std::io::Cursor::new(&picture.png)).read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut bytes).unwrap();
        assert_eq!((info.width, info.height), (picture.width, picture.height));
        bytes.chunks(3).map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect()
    }

    fn batch(target: Target) -> Batch {
        Batch {
            image: Tensor { shape: [1, 1, 2, 1, 2], data: vec![9.0, 9.0, -1.0, 3.0] },
            targets: Targets::new(vec![target]),
            cases: vec!["a".to_owned()],
            starts: Vec::new(),
        }
    }

    #[test]
    fn the_slice_with_most_foreground_is_shown_with_target_and_prediction() {
        let labels = batch(Target::Labels(LabelBatch { shape: [1, 2, 1, 2], data: vec![0, 0, 0, 2] }));
        // Classes first; the second slice is [class 1, class 0].
        let data = vec![0.0, 0.0, 0.5, 2.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0];
        let logits = Tensor { shape: [1, 3, 2, 1, 2], data };
        let picture = sample_picture(&labels, &logits).unwrap();
        let (white, black) = ([255; 3], [0; 3]);
        let expected = [black, white, white, white, black, COLOURS[1], white, white, COLOURS[0], black];
        assert_eq!(pixels(&picture), expected);
    }

    #[test]
    fn of_regions_the_inner_one_is_shown() {
        let data = vec![false, false, true, true, false, false, false, true];
        let regions = batch(Target::Regions(RegionBatch { shape: [1, 2, 2, 1, 2], data }));
        let logits =
            Tensor { shape: [1, 2, 2, 1, 2], data: vec![-1.0, -1.0, 1.0, -1.0, -1.0, -1.0, 1.0, -1.0] };
        let picture = sample_picture(&regions, &logits).unwrap();
        let found = pixels(&picture);
        assert_eq!(found[4..6], [COLOURS[0], COLOURS[1]]);
        assert_eq!(found[8..], [COLOURS[1], [0; 3]]);
        assert!(sample_picture(&regions, &Tensor { shape: [1, 0, 2, 1, 2], data: Vec::new() }).is_none());
    }
}
