//! What the pages of a file are together: the array that `tifffile.imread` returns.
//!
//! Pages of one value per pixel are the slices of a volume. Writers that put all slices behind a single directory say so
//! in its description: ImageJ (`images=8`, `slices=8`) beyond 4 GB, `tifffile` (`{"shape": [8, 40, 48]}`) with
//! `truncate`. Such slices are read as if each had a directory.

use std::path::Path;

use super::compression::Compression;
use super::directory::{TiffFile, tag};
use super::page::Page;
use super::{not_tiff, unsupported};
use crate::voxels::NonFinite;
use crate::{ImageWarning, VoxelType};
use nnunet_volume::error::{Result, VolumeError};

/// Shape of the array in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TiffShape {
    /// One page of one value per pixel: (height, width).
    Flat([usize; 2]),
    /// Pages of one value per pixel, (pages, height, width); or one page of several samples per pixel: planes first
    /// if it stores planes, (samples, height, width), else samples last, (height, width, samples).
    Stack([usize; 3]),
}

/// The array in a file, C order.
pub(crate) struct TiffArray {
    pub(crate) shape: TiffShape,
    pub(crate) values: Vec<f32>,
    pub(crate) stored_type: VoxelType,
    pub(crate) warnings: Vec<ImageWarning>,
}

/// The pages of a file, alike, and what they are together.
struct Series<'a> {
    file: TiffFile<'a>,
    pages: Vec<Page>,
    shape: TiffShape,
    /// Whether there is room for more pages behind the only one.
    more: bool,
}

/// What a writer notes on the shape of its array.
enum Note {
    None,
    /// `tifffile`: the shape of the array.
    Shape(Vec<u64>),
    /// ImageJ: frames, slices and channels.
    Hyperstack([u64; 3]),
}

impl Note {
    fn of(description: &[u8]) -> Self {
        let text = String::from_utf8_lossy(description);
        let text = text.trim_end_matches('\0').trim();
        if text.starts_with('{') {
            let json: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
            let list =
                json["shape"].as_array().map(|list| list.iter().map(serde_json::Value::as_u64).collect());
            return list.flatten().map_or(Self::None, Self::Shape);
        }
        if text.starts_with("ImageJ=") {
            let value = |key: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
                line.and_then(|value| value.trim().parse().ok()).unwrap_or(1)
            };
            return Self::Hyperstack(["frames", "slices", "channels"].map(value));
        }
        Self::None
    }
}

impl<'a> Series<'a> {
    fn open(path: &'a Path) -> Result<Self> {
        let mut file = TiffFile::open(path)?;
        let directories = file.directories()?;
        let first = directories.first().ok_or_else(|| not_tiff(path, "it has no page"))?;
        let note = Note::of(&file.bytes_of(first, tag::DESCRIPTION)?);
        let mut pages: Vec<Page> = Vec::with_capacity(directories.len());
        for (i, directory) in directories.iter().enumerate() {
            let page = Page::of(&mut file, directory)?;
            if let Some(first) = pages.first().filter(|first| !first.is_like(&page)) {
                let (w, h) = (page.width, page.height);
                let found =
                    format!("page {i} of {w} x {h} after pages of {} x {}", first.width, first.height);
                return Err(unsupported(path, found, "pages of one size and type"));
            }
            pages.push(page);
        }
        check_total(&file, &pages)?;
        let only = pages.len() == 1;
        let pages = match pages.as_slice() {
            [page] => slices_of_only_page(&file, page, &note)?,
            _ => pages,
        };
        let shape = shape(path, &pages, &note)?;
        let used = directories.iter().map(|d| d.end).chain(pages.iter().map(Page::end)).max().unwrap_or(0);
        let more = only
            && pages[0].compression == Compression::None
            && file.len.saturating_sub(used) >= pages[0].bytes();
        Ok(Self { file, pages, shape, more })
    }
}

/// Refuses pages that together promise more than the file can hold, as those do that share their strips.
fn check_total(file: &TiffFile<'_>, pages: &[Page]) -> Result<()> {
    let expected = pages.iter().fold(0u64, |sum, page| sum.saturating_add(page.bytes()));
    let expansion = pages.iter().map(|page| page.compression.largest_expansion()).max().unwrap_or(1);
    let room = file.len.saturating_mul(expansion);
    if expected <= room {
        return Ok(());
    }
    let found = format!("{} stored bytes cannot hold more than {room}", file.len);
    Err(VolumeError::Truncated { path: file.path.to_owned(), expected, found })
}

/// The slices in a file of one directory: as many as the note says if they follow one another. A note on pages that
/// do not lie as in memory says nothing, since `tifffile` and ImageJ write no such files; programs that change pictures
/// keep the notes of others.
fn slices_of_only_page(file: &TiffFile<'_>, page: &Page, note: &Note) -> Result<Vec<Page>> {
    let alone = || Ok(vec![page.clone()]);
    let product = |numbers: &[u64]| numbers.iter().fold(1u64, |n, v| n.saturating_mul(*v));
    let slices = match note {
        Note::None => return alone(),
        Note::Shape(shape) => {
            let (all, own) = (product(shape), page.values());
            if all % own == 0 { all / own } else { 1 }
        }
        // Channels may be the samples of the pixels.
        Note::Hyperstack([frames, slices, _]) if page.samples > 1 => frames.saturating_mul(*slices),
        Note::Hyperstack(numbers) => product(numbers),
    };
    let Some(start) = page.contiguous_from().filter(|_| slices > 1) else { return alone() };
    let expected = page.bytes().saturating_mul(slices);
    let there = file.len.saturating_sub(start);
    if expected > there {
        let found = format!("there are {there}");
        return Err(VolumeError::Truncated { path: file.path.to_owned(), expected, found });
    }
    Ok((0..slices).map(|i| page.moved_by(i * page.bytes())).collect())
}

fn shape(path: &Path, pages: &[Page], note: &Note) -> Result<TiffShape> {
    let Page { width, height, samples, planar, .. } = pages[0];
    let slices = pages.len();
    if slices > 1 && samples > 1 {
        return Err(unsupported(path, "a stack of colour images".into(), "one value per voxel"));
    }
    let several = |axes: &[u64]| axes.iter().filter(|n| **n > 1).count() > 1;
    match note {
        Note::Hyperstack(axes) if slices > 1 && several(axes) => {
            let [frames, slices, channels] = axes;
            let found = format!("a stack of {frames} frames, {slices} slices and {channels} channels");
            return Err(unsupported(path, found, "one stack of slices"));
        }
        Note::Shape(noted) => {
            // Leading axes of length one say nothing, except that one slice of a volume is a volume.
            let mut axes: Vec<usize> = noted.iter().map(|n| *n as usize).collect();
            while axes.len() > 3 && axes[0] == 1 {
                axes.remove(0);
            }
            let values = pages.iter().fold(0u64, |sum, page| sum.saturating_add(page.values()));
            if noted.iter().fold(1u64, |n, v| n.saturating_mul(*v)) == values {
                return match axes[..] {
                    [height, width] => Ok(TiffShape::Flat([height, width])),
                    [a, b, c] => Ok(TiffShape::Stack([a, b, c])),
                    _ => Err(unsupported(path, format!("an array of shape {axes:?}"), "one stack of slices")),
                };
            }
        }
        _ => {}
    }
    Ok(match (samples, planar) {
        (1, _) if slices > 1 => TiffShape::Stack([slices, height, width]),
        (1, _) => TiffShape::Flat([height, width]),
        (n, true) => TiffShape::Stack([n, height, width]),
        (n, false) => TiffShape::Stack([height, width, n]),
    })
}

/// Reads the array in `path`.
pub(crate) fn read(path: &Path) -> Result<TiffArray> {
    let Series { mut file, pages, shape, more } = Series::open(path)?;
    let mut values: Vec<f32> = Vec::new();
    for page in &pages {
        page.append(&mut file, &mut values)?;
    }
    let mut warnings = NonFinite::among(&values).warnings();
    if pages[0].compression == Compression::Jpeg {
        warnings.push(ImageWarning::LossyCompression { method: "JPEG" });
    }
    warnings.extend(more.then_some(ImageWarning::BytesBehindVoxels));
    Ok(TiffArray { shape, values, stored_type: pages[0].sample_type.voxel_type(), warnings })
}

/// The shape of the array in `path`, without decoding it.
pub(crate) fn read_shape(path: &Path) -> Result<TiffShape> {
    Ok(Series::open(path)?.shape)
}
