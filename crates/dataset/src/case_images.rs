//! Reading the files of a case: all channels of an image as one array.

use std::fmt;
use std::path::{Path, PathBuf};

use nnunet_image_io::ImageWarning;
use nnunet_volume::{ChannelVolume, SpacingMm, VolumeError};

use super::cases::Case;
use super::image_geometry::ImageGeometry;
use super::non_finite::NonFinite;
use super::placement::{Displacement, close, displacements};
use super::reader::{ImageReader, ReadChannels, ReadImage};

/// All channels of a case.
#[derive(Debug, Clone)]
pub struct CaseImages {
    /// Voxels (c, z, y, x).
    pub data: ChannelVolume<f32>,
    /// Geometry of the first file.
    pub geometry: ImageGeometry,
    /// What is unusual about the files.
    pub warnings: Vec<CaseWarning>,
}

/// Something unusual about the files of a case that does not keep it from being used.
#[derive(Debug, Clone, PartialEq)]
pub enum CaseWarning {
    /// About one file.
    File {
        /// The file.
        path: PathBuf,
        /// What is unusual about it.
        warning: ImageWarning,
    },
    /// Channels that lie elsewhere than the first.
    Displaced {
        /// The first channel.
        first: PathBuf,
        /// The first file that lies elsewhere.
        path: PathBuf,
        /// How it does.
        displacements: Vec<Displacement>,
        /// Further files that lie elsewhere than the first channel.
        others: usize,
    },
    /// A segmentation that lies elsewhere than its image.
    DisplacedLabels {
        /// The image.
        image: PathBuf,
        /// The segmentation.
        path: PathBuf,
        /// How it lies elsewhere.
        displacements: Vec<Displacement>,
    },
}

impl CaseImages {
    /// The warnings but for those of [`warn_of_missing_spacing_files`](super::warn_of_missing_spacing_files), which speaks of
    /// all cases at once.
    pub fn warnings_of_their_own(&self) -> impl Iterator<Item = &CaseWarning> {
        let is_shared = |warning: &CaseWarning| {
            matches!(warning, CaseWarning::File { warning: ImageWarning::NoSpacingFile { .. }, .. })
        };
        self.warnings.iter().filter(move |warning| !is_shared(warning))
    }
}

impl fmt::Display for CaseWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, warning } => write!(f, "{}: {warning}", path.display()),
            Self::DisplacedLabels { image, path, displacements } => {
                let how: Vec<String> = displacements.iter().map(Displacement::to_string).collect();
                write!(
                    f,
                    "{}: {}, that of {}; labels and image are combined voxel by voxel all the same: check that they \
                     overlap",
                    path.display(),
                    how.join(" and "),
                    image.display()
                )
            }
            Self::Displaced { first, path, displacements, others } => {
                let how: Vec<String> = displacements.iter().map(Displacement::to_string).collect();
                write!(f, "{}: {}, that of {}", path.display(), how.join(" and "), first.display())?;
                if *others > 0 {
                    write!(f, " ({others} more channels of the case differ from it too)")?;
                }
                write!(f, "; the channels are combined voxel by voxel all the same: check that they overlap")
            }
        }
    }
}

/// The image to whose voxels a segmentation gives labels.
#[derive(Debug, Clone, Copy)]
pub struct LabelledImage<'a> {
    /// Its file.
    pub path: &'a Path,
    /// Its shape (z, y, x).
    pub shape: [usize; 3],
    /// Where it lies.
    pub geometry: &'a ImageGeometry,
}

impl LabelledImage<'_> {
    /// What is unusual about `labels`, read from `path`, as a segmentation of this image. Its place counts only where
    /// it differs from the image's; a differing shape is for the caller to refuse.
    pub fn warnings(&self, path: &Path, labels: &ReadImage) -> Vec<CaseWarning> {
        let voxels = labels.voxel_warnings().cloned();
        let mut all: Vec<_> =
            voxels.map(|warning| CaseWarning::File { path: path.to_owned(), warning }).collect();
        let displacements = displacements(&labels.geometry, self.geometry);
        if labels.volume.shape() == self.shape && labels.is_placed() && !displacements.is_empty() {
            let (image, path) = (self.path.to_owned(), path.to_owned());
            all.push(CaseWarning::DisplacedLabels { image, path, displacements });
        }
        all
    }
}

/// Why the files of a case cannot be used together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A file cannot be read.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// The case has no files.
    #[error("case {case}: no image files")]
    NoImages {
        /// The case.
        case: String,
    },
    /// Two files have different shapes.
    #[error(
        "{path}: shape {found:?} (z, y, x), but {first} has {expected:?}; all channels of a case must be on one \
         grid: resample them to the first one's",
        path = path.display(), first = first.display()
    )]
    ChannelShape {
        /// The other channel.
        path: PathBuf,
        /// Its shape (z, y, x).
        found: [usize; 3],
        /// The first channel.
        first: PathBuf,
        /// Its shape (z, y, x).
        expected: [usize; 3],
    },
    /// Two files have different numbers of colours.
    #[error(
        "{path}: {found} colours, but {first} has {expected}; all pictures of a case must have as many",
        path = path.display(), first = first.display()
    )]
    Colours {
        /// The other file.
        path: PathBuf,
        /// Its channels.
        found: usize,
        /// The first file.
        first: PathBuf,
        /// Its channels.
        expected: usize,
    },
    /// A channel is missing where channels are the colours of one file.
    #[error(
        "case {case}: channels cannot be missing where a file has {colours} of them; take them out of optional_channels in \
         dataset.json, or leave none out"
    )]
    AbsentColours {
        /// The case.
        case: String,
        /// Channels of its first file.
        colours: usize,
    },
    /// A file has voxels that are no numbers.
    #[error(
        "{path}: {place}{found}. Replace them by a value that makes sense for the image, such as that of its background",
        path = path.display(), place = colour.map_or_else(String::new, |colour| format!("colour {colour}: "))
    )]
    NonFinite {
        /// The file.
        path: PathBuf,
        /// The channel within the file, if it has several.
        colour: Option<usize>,
        /// The voxels.
        found: NonFinite,
    },
    /// A spacing that is no length.
    #[error("{path}: spacing {found:?} mm (z, y, x); expected numbers above 0: correct the header", path = path.display())]
    Spacing {
        /// The file.
        path: PathBuf,
        /// Its spacing (z, y, x) in mm.
        found: SpacingMm,
    },
    /// Two files have different spacings.
    #[error(
        "{path}: spacing {found:?} mm (z, y, x), but {first} has {expected:?}; all channels of a case must be on \
         one grid: resample them to the first one's",
        path = path.display(), first = first.display()
    )]
    ChannelSpacing {
        /// The other channel.
        path: PathBuf,
        /// Its spacing (z, y, x) in mm.
        found: SpacingMm,
        /// The first channel.
        first: PathBuf,
        /// Its spacing (z, y, x) in mm.
        expected: SpacingMm,
    },
}

/// What to say of a case with `found` channels where `expected` are needed; `files` are those of its images, if it was
/// read from some.
pub fn channels_fault(files: &[PathBuf], found: usize, expected: usize) -> String {
    let names: Vec<String> = files.iter().take(5).map(|path| path.display().to_string()).collect();
    let more = if files.len() > names.len() { ", ..." } else { "" };
    let place = if names.is_empty() { String::new() } else { format!(" ({}{more})", names.join(", ")) };
    let per_file = found / files.len().max(1);
    // Pictures of grey or colours with transparency.
    let advice = if matches!(per_file, 2 | 4) && found == (expected / files.len().max(1) + 1) * files.len() {
        ": the picture has transparency; save it without its alpha channel"
    } else {
        ""
    };
    format!("{found} image channels, the plans expect {expected}{place}{advice}")
}

/// The grid of the first file of a case, with which all others are compared.
struct First<'a> {
    path: &'a Path,
    channels: usize,
    shape: [usize; 3],
    geometry: ImageGeometry,
}

impl First<'_> {
    fn check(
        &self,
        path: &Path,
        channels: usize,
        shape: [usize; 3],
        spacing: SpacingMm,
    ) -> Result<(), ReadError> {
        let (path, first) = (path.to_owned(), self.path.to_owned());
        if shape != self.shape {
            return Err(ReadError::ChannelShape { path, found: shape, first, expected: self.shape });
        }
        if channels != self.channels {
            return Err(ReadError::Colours { path, found: channels, first, expected: self.channels });
        }
        let expected = self.geometry.spacing_zyx();
        if !close(&spacing.along_axes(), &expected.along_axes()) {
            return Err(ReadError::ChannelSpacing { path, found: spacing, first, expected });
        }
        Ok(())
    }
}

/// Refuses what nothing can be computed with: voxels that are no numbers, and spacings that are no lengths.
fn check_values(reader: &ImageReader, path: &Path, image: &ReadChannels) -> Result<(), ReadError> {
    let found = image.geometry.spacing_zyx();
    if !found.is_valid() {
        return Err(ReadError::Spacing { path: path.to_owned(), found });
    }
    if !reader.may_have_non_finite(&image.warnings) {
        return Ok(());
    }
    let (data, shape) = (&image.data, image.data.shape());
    for channel in 0..data.channels() {
        if let Some(found) = NonFinite::in_channel(data.channel(channel), shape) {
            let colour = (data.channels() > 1).then_some(channel);
            return Err(ReadError::NonFinite { path: path.to_owned(), colour, found });
        }
    }
    Ok(())
}

impl ImageReader {
    /// Reads a case. Channels that it lacks are voxels of 0 in their places.
    ///
    /// # Errors
    /// As [`ImageReader::read_images`]; a case without some of the colours of a picture.
    pub fn read_case_images(&self, case: &Case) -> Result<CaseImages, ReadError> {
        let images = self.read_images(&case.identifier, &case.images)?;
        let found = images.data.channels();
        if case.absent.is_empty() {
            return Ok(images);
        }
        if found != case.images.len() {
            let (case, colours) = (case.identifier.clone(), found / case.images.len().max(1));
            return Err(ReadError::AbsentColours { case, colours });
        }
        let channels = found + case.absent.len();
        let mut data = ChannelVolume::filled(channels, images.data.shape(), 0.0);
        for (from, to) in case.present().enumerate() {
            data.channel_mut(to).copy_from_slice(images.data.channel(from));
        }
        Ok(CaseImages { data, ..images })
    }

    /// Reads all channels of a case. Shapes must be equal and spacings close (1e-5 relative), as in the
    /// reference; the place is the first file's.
    ///
    /// # Errors
    /// Files that cannot be read or do not fit together; voxels that are NaN or infinite.
    pub fn read_images(&self, case: &str, paths: &[PathBuf]) -> Result<CaseImages, ReadError> {
        let no_images = || ReadError::NoImages { case: case.to_owned() };
        let (first_path, others) = paths.split_first().ok_or_else(no_images)?;
        let mut warnings = Vec::new();
        let mut read = |path: &Path| -> Result<ReadChannels, ReadError> {
            let mut image = self.read_channels(path)?;
            check_values(self, path, &image)?;
            let noted = std::mem::take(&mut image.warnings).into_iter();
            warnings.extend(noted.map(|warning| CaseWarning::File { path: path.to_owned(), warning }));
            Ok(image)
        };
        let image = read(first_path)?;
        let first = First {
            path: first_path,
            channels: image.data.channels(),
            shape: image.data.shape(),
            geometry: image.geometry,
        };
        let mut data = image.data.into_data();
        data.reserve_exact(data.len() * others.len());
        let mut displaced = Vec::new();
        for path in others {
            let image = read(path)?;
            let (channels, shape) = (image.data.channels(), image.data.shape());
            first.check(path, channels, shape, image.geometry.spacing_zyx())?;
            let found = displacements(&image.geometry, &first.geometry);
            if !found.is_empty() {
                displaced.push((path, found));
            }
            data.extend_from_slice(image.data.data());
        }
        let others = displaced.len().saturating_sub(1);
        if let Some((path, displacements)) = displaced.into_iter().next() {
            let (first, path) = (first_path.clone(), path.clone());
            warnings.push(CaseWarning::Displaced { first, path, displacements, others });
        }
        let data =
            ChannelVolume::new(first.channels * paths.len(), first.shape, data).ok_or_else(no_images)?;
        Ok(CaseImages { data, geometry: first.geometry, warnings })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_with_transparency_are_told_how_to_lose_it() {
        let files = |count: usize| -> Vec<PathBuf> {
            (0..count).map(|i| PathBuf::from(format!("d/a_{i:04}.png"))).collect()
        };
        let text = channels_fault(&files(1), 4, 3);
        assert_eq!(
            text,
            "4 image channels, the plans expect 3 (d/a_0000.png): the picture has transparency; save it without its \
             alpha channel"
        );
        assert!(channels_fault(&files(2), 4, 2).contains("a_0000.png, d/a_0001.png): the picture has"));
        for (count, found, expected) in [(1, 1, 3), (1, 4, 1), (4, 4, 3), (2, 2, 1), (0, 4, 3), (1, 3, 2)] {
            let text = channels_fault(&files(count), found, expected);
            assert!(!text.contains("alpha"), "{text}");
        }
        assert_eq!(channels_fault(&[], 2, 1), "2 image channels, the plans expect 1");
        assert!(channels_fault(&files(6), 6, 1).contains("a_0004.png, ...)"));
    }
}
