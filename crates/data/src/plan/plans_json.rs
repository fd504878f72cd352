//! nnUNetPlans.json: reading, inheritance between configurations, writing back without loss.
//!
//! The file's content is kept as it is, with keys and configurations this program does not know;
//! [`Plans`] adds typed access to what it does know, and [`Plans::configuration`] the resolved view.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use super::configuration::Configuration;
use super::values::{Document, shown, whole};
use crate::fingerprint::IntensityStatistics;
use crate::parts::Parts;
use crate::planner::PlanError;
use nnunet_base::hint::Hint;
use nnunet_base::spelling::closest;
use nnunet_dataset::{DatasetError, DatasetJson, ImageReader, LabelManager};
use nnunet_pyformats::json::{Json, KeyOrder};

/// Configurations that planners make, each where it makes sense: not having one of them is no mistake.
const STANDARD: [&str; 4] = ["2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres"];

/// The plans of a dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct Plans {
    place: String,
    dataset_name: String,
    plans_name: String,
    image_reader_writer: String,
    transpose_forward: [usize; 3],
    transpose_backward: [usize; 3],
    intensities: IndexMap<String, IntensityStatistics>,
    document: Document,
}

impl Plans {
    /// Reads a plans file.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, PlanError> {
        let path = path.as_ref();
        Self::from_json(Json::load(path)?, &path.display().to_string())
    }

    /// Reads the plans `name` of the dataset whose folder of preprocessed data is given.
    ///
    /// # Errors
    /// As [`Plans::read`]; where there are none, the error says what is there and what to run.
    pub fn of_dataset(preprocessed: &Path, name: &str) -> Result<Self, PlanError> {
        let path = preprocessed.join(format!("{name}.json"));
        if path.exists() { Self::read(&path) } else { Err(no_plans(preprocessed, name, path)) }
    }

    /// Reads plans from JSON, e.g. those inside a checkpoint. `place` names them in errors.
    pub fn from_json(document: Json, place: &str) -> Result<Self, PlanError> {
        let Json::Object(document) = document else {
            return Err(PlanError::value(place, "plans", "are not a JSON object"));
        };
        let text = |key: &str| {
            document
                .get(key)
                .and_then(Json::as_str)
                .map(str::to_owned)
                .ok_or_else(|| PlanError::value(place, key, "is missing or not a text"))
        };
        let configurations = document.get("configurations").and_then(Json::as_object);
        if !configurations.is_some_and(|map| map.values().all(|v| v.as_object().is_some())) {
            return Err(PlanError::value(
                place,
                "configurations",
                "is missing or not an object of configurations; is this an nnU-Net v2 plans file?",
            ));
        }
        let transpose_forward = permutation(&document, "transpose_forward", place)?;
        let transpose_backward = permutation(&document, "transpose_backward", place)?;
        if (0..3).any(|i| transpose_forward[transpose_backward[i]] != i) {
            return Err(PlanError::value(
                place,
                "transpose_backward",
                format!("{transpose_backward:?} does not undo transpose_forward {transpose_forward:?}"),
            ));
        }
        // The second name is that of older plans.
        let (key, intensities) =
            ["foreground_intensity_properties_per_channel", "foreground_intensity_properties_by_modality"]
                .into_iter()
                .find_map(|key| document.get(key).map(|value| (key, value)))
                .ok_or_else(|| {
                    PlanError::value(place, "foreground_intensity_properties_per_channel", "is missing")
                })?;
        let intensities = intensities
            .as_object()
            .and_then(|channels| {
                channels.iter().map(|(channel, value)| Some((channel.clone(), statistics(value)?))).collect()
            })
            .ok_or_else(|| {
                let expected = "mean, median, std, min, max, percentile_00_5 and percentile_99_5 per channel";
                PlanError::value(place, key, format!("is {}; expected {expected}", shown(intensities)))
            })?;
        Ok(Self {
            place: place.to_owned(),
            dataset_name: text("dataset_name")?,
            plans_name: text("plans_name")?,
            image_reader_writer: text("image_reader_writer")?,
            transpose_forward,
            transpose_backward,
            intensities,
            document,
        })
    }

    /// Writes the plans as the reference does (temporary file, flush, rename).
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), PlanError> {
        let path = path.as_ref();
        Ok(self.to_json().save(path, KeyOrder::Kept)?)
    }

    /// The content of the file, with everything this program does not know.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// The content of the file as one value, e.g. for a checkpoint.
    pub fn to_json(&self) -> Json {
        Json::Object(self.document.clone())
    }

    /// Name of the dataset the plans were made for, e.g. `Dataset004_Hippocampus`.
    pub fn dataset_name(&self) -> &str {
        &self.dataset_name
    }

    /// Name of the plans, e.g. `nnUNetPlans`: stem of the file and part of the results folder.
    pub fn plans_name(&self) -> &str {
        &self.plans_name
    }

    /// The reader of the images by its name in the reference, e.g. `SimpleITKIO`.
    pub fn image_reader_writer(&self) -> &str {
        &self.image_reader_writer
    }

    /// Axis `i` of the transposed data is axis `transpose_forward[i]` of the image (z, y, x).
    pub fn transpose_forward(&self) -> [usize; 3] {
        self.transpose_forward
    }

    /// The inverse of [`Plans::transpose_forward`].
    pub fn transpose_backward(&self) -> [usize; 3] {
        self.transpose_backward
    }

    /// Planner by its name in the reference, if stated.
    pub fn experiment_planner_used(&self) -> Option<&str> {
        self.document.get("experiment_planner_used").and_then(Json::as_str)
    }

    /// Foreground intensities per channel; the key is the channel's number as text.
    pub fn intensities(&self) -> &IndexMap<String, IntensityStatistics> {
        &self.intensities
    }

    /// Foreground intensities of channel `channel`.
    pub fn intensity(&self, channel: usize) -> Option<&IntensityStatistics> {
        self.intensities.get(channel.to_string().as_str())
    }

    /// Names of all configurations, in the order of the file.
    pub fn configuration_names(&self) -> Vec<&str> {
        self.configurations().keys().map(String::as_str).collect()
    }

    /// Whether there is a configuration of this name.
    pub fn has_configuration(&self, name: &str) -> bool {
        self.configurations().contains_key(name)
    }

    /// The configuration `name` with everything it inherits.
    ///
    /// # Errors
    /// No such configuration, or values of the wrong kind.
    pub fn configuration(&self, name: &str) -> Result<Configuration, PlanError> {
        let mut visited = Vec::new();
        let document = self.resolve(name, &mut visited)?;
        Configuration::from_document(name, document, &format!("{}, configuration {name}", self.place))
    }

    /// The labels of `dataset`, sorted out by the label manager that the plans name.
    ///
    /// # Errors
    /// A label manager that is not among `parts`; labels that contradict each other.
    pub fn label_manager(&self, dataset: &DatasetJson, parts: &Parts) -> Result<LabelManager, DatasetError> {
        let name = self.document.get("label_manager");
        LabelManager::named(&parts.label_managers, name, Path::new(&self.place), dataset)
    }

    /// The reader that the plans name, for the files of `dataset`.
    ///
    /// # Errors
    /// A reader that is not among `parts` or does not read such files.
    pub fn reader(&self, dataset: &DatasetJson, parts: &Parts) -> Result<ImageReader, DatasetError> {
        let name = Some(self.image_reader_writer());
        ImageReader::new(&parts.formats, name, &dataset.file_ending, Path::new(&self.place))
    }

    /// Adds or replaces a configuration, e.g. one that inherits from another and changes the batch size.
    pub fn set_configuration(&mut self, name: &str, configuration: Document) {
        if let Some(Json::Object(map)) = self.document.get_mut("configurations") {
            map.insert(name.to_owned(), Json::Object(configuration));
        }
    }

    /// Appends the configurations of `older` that these plans do not have: planning again keeps
    /// what the user added.
    pub fn keep_configurations_of(&mut self, older: &Plans) {
        for (name, configuration) in older.configurations() {
            if let (false, Json::Object(map)) = (self.has_configuration(name), configuration) {
                self.set_configuration(name, map.clone());
            }
        }
    }

    fn configurations(&self) -> &Document {
        static EMPTY: std::sync::OnceLock<Document> = std::sync::OnceLock::new();
        // Checked to be an object on reading.
        let map = self.document.get("configurations").and_then(Json::as_object);
        map.unwrap_or_else(|| EMPTY.get_or_init(Document::new))
    }

    fn resolve(&self, name: &str, visited: &mut Vec<String>) -> Result<Document, PlanError> {
        let Some(own) = self.configurations().get(name).and_then(Json::as_object) else {
            return Err(self.unknown(name));
        };
        visited.push(name.to_owned());
        let Some(parent) = own.get("inherits_from") else {
            return Ok(own.clone());
        };
        let Some(parent) = parent.as_str() else {
            let place = format!("{}, configuration {name}", self.place);
            return Err(PlanError::value(
                place,
                "inherits_from",
                format!("is {}; expected a name", shown(parent)),
            ));
        };
        if visited.iter().any(|v| v == parent) {
            visited.push(parent.to_owned());
            return Err(PlanError::CircularInheritance {
                name: visited[0].clone(),
                chain: visited.join(" -> "),
            });
        }
        let mut resolved = self.resolve(parent, visited)?;
        for (key, value) in own {
            resolved.insert(key.clone(), value.clone());
        }
        Ok(resolved)
    }

    fn unknown(&self, name: &str) -> PlanError {
        let names = self.configuration_names();
        let meant = self.resembling(name).or_else(|| closest(name, STANDARD).filter(|meant| *meant != name));
        let hint = meant.map(|meant| format!(" (did you mean `{meant}`?)"));
        PlanError::UnknownConfiguration {
            name: name.to_owned(),
            plans: self.plans_name.clone(),
            available: if names.is_empty() { "none".to_owned() } else { names.join(", ") },
            hint: hint.unwrap_or_default(),
        }
    }

    /// The configuration that was probably meant by `name`, which is none.
    fn resembling(&self, name: &str) -> Option<&str> {
        let simplified = |s: &str| s.to_lowercase().replace(['_', '-', ' '], "");
        let wanted = simplified(name);
        let names = self.configuration_names();
        let contains = names.iter().find(|known| {
            let known = simplified(known);
            known == wanted || (!wanted.is_empty() && known.contains(&wanted))
        });
        contains.copied().or_else(|| closest(name, names))
    }

    /// Those of the configurations `asked` for that the plans have, and the others, which a dataset may well be without:
    /// 3d_lowres where a patch sees enough already.
    ///
    /// # Errors
    /// A name that is probably misspelt; none of those asked for.
    pub fn choose<'a>(&self, asked: &[&'a str]) -> Result<(Vec<&'a str>, Vec<&'a str>), PlanError> {
        let (there, missing): (Vec<&str>, Vec<&str>) =
            asked.iter().partition(|name| self.has_configuration(name));
        let resembles = |name: &str| self.resembling(name).is_some() || closest(name, STANDARD).is_some();
        let misspelt = missing.iter().find(|name| !STANDARD.contains(name) && resembles(name));
        match misspelt.or(missing.first().filter(|_| there.is_empty())) {
            Some(name) => Err(self.unknown(name)),
            None => Ok((there, missing)),
        }
    }
}

/// Why the plans `name` are not in `preprocessed`.
fn no_plans(preprocessed: &Path, name: &str, path: PathBuf) -> PlanError {
    let dataset = preprocessed.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut there: Vec<String> = std::fs::read_dir(preprocessed)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".json").map(str::to_owned))
        .filter(|stem| is_plans(&preprocessed.join(format!("{stem}.json"))))
        .collect();
    there.sort();
    let hint = closest(name, there.iter().map(String::as_str));
    let hint = hint.map_or_else(String::new, |known| format!(" (did you mean {known}?)"));
    let there = match there.as_slice() {
        [] if preprocessed.is_dir() => "the dataset has no plans yet".to_owned(),
        [] => format!("{} does not exist: the dataset has not been planned yet", preprocessed.display()),
        names => format!("the dataset has the plans {}{hint}", names.join(", ")),
    };
    PlanError::NoPlans { path, there, hint: Hint::MakePlans { dataset } }
}

/// Whether a JSON file has the key that all plans have. They are read only for an error's message.
fn is_plans(path: &Path) -> bool {
    Json::load(path).is_ok_and(|json| json.get("configurations").is_some())
}

/// The entry of one channel; values may be NaN.
fn statistics(value: &Json) -> Option<IntensityStatistics> {
    let number = |key: &str| value.get(key).and_then(Json::as_f64);
    Some(IntensityStatistics {
        max: number("max")?,
        mean: number("mean")?,
        median: number("median")?,
        min: number("min")?,
        percentile_00_5: number("percentile_00_5")?,
        percentile_99_5: number("percentile_99_5")?,
        std: number("std")?,
    })
}

fn permutation(document: &Document, key: &str, place: &str) -> Result<[usize; 3], PlanError> {
    let value = document
        .get(key)
        .ok_or_else(|| PlanError::value(place, key, "is missing; plan the dataset again"))?;
    let list: Option<Vec<usize>> =
        value.as_array().and_then(|list| list.iter().map(|v| whole(v, 2)).collect());
    match list.as_deref() {
        Some(&[a, b, c]) if a != b && b != c && a != c => Ok([a, b, c]),
        _ => Err(PlanError::value(
            place,
            key,
            format!("is {}; expected an order of the axes 0, 1, 2", shown(value)),
        )),
    }
}
