//! Checking the files of one case.

use std::collections::BTreeSet;
use std::path::Path;

use nnunet_image_io::ImageWarning;
use nnunet_volume::VolumeError;

use super::DatasetJson;
use super::cases::{Case, channel_of};
use super::fault::{Fault, Problem};
use super::image_geometry::ImageGeometry;
use super::json::LabelValue;
use super::non_finite::NonFinite;
use super::placement::{Displacement, displacements};
use super::reader::{ImageReader, ReadImage};

/// The check of one case.
pub(super) struct CaseCheck<'a> {
    pub(super) case: &'a Case,
    pub(super) faults: Vec<Fault>,
}

/// The first readable image of a case: all other files are compared to it.
struct Grid<'a> {
    path: &'a Path,
    shape: [usize; 3],
    geometry: ImageGeometry,
}

impl<'a> CaseCheck<'a> {
    pub(super) fn add(&mut self, path: &Path, problem: Problem) {
        self.faults.push(Fault { case: Some(self.case.identifier.clone()), path: path.to_owned(), problem });
    }

    pub(super) fn run(&mut self, json: &DatasetJson, reader: &ImageReader, labels: Option<&[i32]>) {
        let case = self.case;
        // Colours are channels of one file.
        let in_colour = reader.format().channels_are_colours();
        if !in_colour {
            self.check_channels(json);
        }
        let mut channels = 0;
        let mut grid: Option<Grid<'a>> = None;
        for path in &case.images {
            if path.is_symlink() && !path.exists() {
                self.add(path, Problem::BrokenLink);
                continue;
            }
            if !path.is_file() {
                // Only listed files can be absent; the others were found by listing.
                let channel = case.images.iter().position(|p| p == path).unwrap_or(0);
                self.add(path, Problem::MissingChannel { channel });
                continue;
            }
            let image = reader.read_channels(path);
            let warnings = image.as_ref().map(|image| image.warnings.as_slice()).unwrap_or_default();
            self.note(path, warnings);
            let Some(image) = self.readable(path, image) else { continue };
            if reader.may_have_non_finite(&image.warnings) {
                for channel in 0..image.data.channels() {
                    self.check_finite(path, image.data.channel(channel), image.data.shape());
                }
            }
            channels += image.data.channels();
            let (shape, geometry) = (image.data.shape(), image.geometry);
            match &grid {
                Some(grid) => self.compare(path, shape, &geometry, grid),
                None => grid = Some(Grid { path, shape, geometry }),
            }
        }
        let expected = json.num_channels();
        if let Some(grid) = grid.as_ref().filter(|_| in_colour && channels != expected) {
            self.add(grid.path, Problem::Channels { found: channels, expected });
        }
        let Some(label) = &case.label else { return };
        if !label.is_file() {
            let broken = label.is_symlink() && !label.exists();
            self.add(label, if broken { Problem::BrokenLink } else { Problem::ImageWithoutLabel });
            return;
        }
        let image = reader.read(label);
        let warnings = image.as_ref().map(|image| image.warnings.as_slice()).unwrap_or_default();
        self.note(label, warnings);
        let Some(image) = self.readable(label, image) else { return };
        if reader.may_have_non_finite(&image.warnings) {
            self.check_finite(label, image.volume.data(), image.volume.shape());
        }
        if let Some(grid) = &grid {
            self.compare(label, image.volume.shape(), &image.geometry, grid);
        }
        if let Some(expected) = labels {
            self.check_labels(label, &image, expected);
        }
        if let Some(names) = json.annotated_in(&case.identifier) {
            self.check_annotated(label, &image, names, json);
        }
    }

    fn check_channels(&mut self, json: &DatasetJson) {
        let case = self.case;
        let channels = json.num_channels();
        if json.dataset.is_some() {
            let (found, expected) = (case.images.len() + case.absent.len(), channels);
            if found != expected {
                self.add(json.path(), Problem::ListedChannels { found, expected });
            }
            return;
        }
        let present: BTreeSet<usize> =
            case.images.iter().filter_map(|path| channel_of(path, &json.file_ending)).collect();
        let folder = case.images.first().and_then(|path| path.parent()).unwrap_or(Path::new(""));
        for channel in 0..channels {
            if !present.contains(&channel) && !json.optional_channels.contains(&channel) {
                let name = format!("{}_{channel:04}{}", case.identifier, json.file_ending);
                self.add(&folder.join(name), Problem::MissingChannel { channel });
            }
        }
        for path in &case.images {
            if let Some(channel) = channel_of(path, &json.file_ending)
                && channel >= channels
            {
                self.add(path, Problem::ExtraChannel { channel, channels });
            }
        }
    }

    fn readable<T>(&mut self, path: &Path, image: Result<T, VolumeError>) -> Option<T> {
        image.map_err(|error| self.add(path, Problem::Unreadable(error))).ok()
    }

    fn check_finite(&mut self, path: &Path, voxels: &[f32], shape: [usize; 3]) {
        if let Some(found) = NonFinite::in_channel(voxels, shape) {
            self.add(path, Problem::NonFinite { found });
        }
    }

    fn note(&mut self, path: &Path, warnings: &[ImageWarning]) {
        // Voxels that are still not finite are looked for in the image itself.
        let kept =
            |warning: &&ImageWarning| matches!(warning, ImageWarning::NonFiniteVoxels { zeroed: false, .. });
        for warning in warnings.iter().filter(|warning| !kept(warning)) {
            self.add(path, Problem::Unusual(warning.clone()));
        }
    }

    fn compare(&mut self, path: &Path, shape: [usize; 3], geometry: &ImageGeometry, grid: &Grid<'_>) {
        let other = grid.path.to_owned();
        if shape != grid.shape {
            self.add(path, Problem::Shape { found: shape, other: other.clone(), expected: grid.shape });
        }
        for displacement in displacements(geometry, &grid.geometry) {
            let other = other.clone();
            self.add(
                path,
                match displacement {
                    Displacement::Spacing { found, expected } => Problem::Spacing { found, other, expected },
                    Displacement::Origin { found, expected } => Problem::Origin { found, other, expected },
                    Displacement::Direction { found, expected } => {
                        Problem::Direction { found, other, expected }
                    }
                    Displacement::Affine { found, expected } => Problem::Affine { found, other, expected },
                },
            );
        }
    }

    /// Labels of what was not annotated are probably a mistake in `annotated_labels`.
    fn check_annotated(&mut self, path: &Path, image: &ReadImage, names: &[String], json: &DatasetJson) {
        let values = |name: &str| json.labels.get(name).map(LabelValue::values).unwrap_or_default();
        let allowed: Vec<i32> = names
            .iter()
            .map(String::as_str)
            .chain(["background", "ignore"])
            .flat_map(values)
            .copied()
            .collect();
        let declared: Vec<i32> = json.labels.values().flat_map(LabelValue::values).copied().collect();
        let mut found = BTreeSet::new();
        for value in image.volume.data().iter().map(|&value| value as i32) {
            if !allowed.contains(&value) && declared.contains(&value) {
                found.insert(value);
            }
        }
        if !found.is_empty() {
            let found = found.iter().map(i32::to_string).collect::<Vec<_>>().join(", ");
            let annotated = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
            self.add(path, Problem::UnannotatedLabels { found, annotated });
        }
    }

    fn check_labels(&mut self, path: &Path, image: &ReadImage, expected: &[i32]) {
        let mut unexpected = BTreeSet::new();
        let mut fractions = 0;
        let mut fraction = None;
        let mut foreground = false;
        for &value in image.volume.data() {
            foreground |= value > 0.0;
            let whole = value as i32;
            if whole as f32 != value {
                fractions += 1;
                fraction = fraction.or(Some(value));
            } else if !expected.contains(&whole) && unexpected.len() <= Problem::SHOWN_LABELS {
                unexpected.insert(whole);
            }
        }
        if let Some(example) = fraction {
            self.add(path, Problem::NonIntegerLabels { count: fractions, example });
        } else if !image.stored_type.is_integer() {
            self.add(path, Problem::RealLabels { stored: image.stored_type });
        }
        if !unexpected.is_empty() {
            self.add(path, Problem::unexpected_labels(&unexpected, expected));
        }
        if !foreground {
            self.add(path, Problem::OnlyBackground);
        }
    }
}
