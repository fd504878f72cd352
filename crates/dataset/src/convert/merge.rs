//! Several raw datasets with labels of their own as one, in which each case says what was annotated in it.
//!
//! Labels of the sources become labels of the merged dataset by a table of names: one that several sources have, or several
//! of one source, become one class; what is mapped to `background` is not learnt. A class counts as annotated in a case if
//! every label that makes it was annotated there. Channels go by their names: those that a source does not have are optional
//! in the merged dataset. Images are copied, label files written anew; case `x` of a source called `a` becomes `a_x`.

use std::path::PathBuf;

use indexmap::IndexMap;

use super::error::ConvertError;
use super::{make_folder, run_steps};
use crate::annotated::AnnotatedLabels;
use crate::cases::training_cases_with_warnings;
use crate::json::LabelValue;
use crate::labels::stored_label;
use crate::{Case, DatasetError, DatasetJson, DatasetName, Folders, ImageFormats, ImageReader};
use nnunet_base::Ctx;
use nnunet_base::files::TemporaryFolder;
use nnunet_base::hint::Hint;
use nnunet_base::spelling::closest;
use nnunet_pyformats::json::{Json, KeyOrder};
use nnunet_volume::Volume;

/// Name of the label that everything else is.
const BACKGROUND: &str = "background";
/// Name of the label of voxels that do not count.
const IGNORE: &str = "ignore";

/// A dataset that becomes part of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeSource {
    /// The dataset.
    pub dataset: DatasetName,
    /// What its cases are called after, `NAME_CASE`; unique among the sources.
    pub name: String,
    /// Its labels by name, each with its name in the merged dataset; `None`: all as they are called.
    pub labels: Option<IndexMap<String, String>>,
}

/// Merges `sources` into the raw dataset `name` and returns its folder. It appears when it is complete, or not at all.
///
/// # Errors
/// A name or id that is taken; a label that a source does not have, or that is not mapped; regions; other file endings; label
/// files with values that are not declared; files that cannot be read or written, all of them named; interrupted.
pub fn merge_datasets(
    sources: &[MergeSource],
    name: &str,
    folders: &Folders,
    formats: &ImageFormats,
    ctx: Ctx<'_>,
) -> Result<PathBuf, ConvertError> {
    let name = DatasetName::new(name)?;
    let target = folders.raw()?.join(name.as_str());
    if target.exists() {
        return Err(ConvertError::Exists { target });
    }
    let others = folders.datasets_of_id(name.id());
    if !others.is_empty() && folders.find(name.as_str()).is_err() {
        let hint = Hint::AnotherId { converting_task: false };
        return Err(ConvertError::IdTaken { id: name.id(), names: others.join("; "), hint });
    }
    let sources: Vec<Source<'_>> =
        sources.iter().map(|source| Source::read(source, folders, formats, ctx)).collect::<Result<_, _>>()?;
    let merged = Merged::new(&sources)?;
    let unfinished =
        TemporaryFolder::beside(&target).map_err(|e| ConvertError::io(&target, "create it", e))?;
    let (images, labels) = (unfinished.path().join("imagesTr"), unfinished.path().join("labelsTr"));
    make_folder(&images)?;
    make_folder(&labels)?;
    let mut steps = Vec::new();
    for source in &sources {
        let values = merged.values_of(source)?;
        for case in &source.cases {
            let identifier = source.identifier(case);
            for (channel, path) in case.present().zip(&case.images) {
                let number = merged.channel_of(source, channel);
                let to = images.join(format!("{identifier}_{number:04}{}", merged.file_ending));
                steps.push(Step { from: path.clone(), to, labels: None });
            }
            if let Some(label) = &case.label {
                let to = labels.join(format!("{identifier}{}", merged.file_ending));
                steps.push(Step { from: label.clone(), to, labels: Some((source, values.clone())) });
            }
        }
    }
    run_steps(&steps, |step| step.from.as_path(), Step::run, ctx)?;
    merged.json(&sources).save(&unfinished.path().join("dataset.json"), KeyOrder::Kept)?;
    unfinished.replace(&target).map_err(|e| ConvertError::io(&target, "put it in place", e))?;
    Ok(target)
}

/// A source as it is on disk.
struct Source<'a> {
    asked: &'a MergeSource,
    json: DatasetJson,
    cases: Vec<Case>,
    reader: ImageReader,
    /// Labels of the source and what they become, `ignore` included.
    labels: IndexMap<String, String>,
}

impl<'a> Source<'a> {
    fn read(
        asked: &'a MergeSource,
        folders: &Folders,
        formats: &ImageFormats,
        ctx: Ctx<'_>,
    ) -> Result<Self, ConvertError> {
        let folder = folders.raw()?.join(asked.dataset.as_str());
        let json = DatasetJson::load(&folder.join("dataset.json"))?;
        let cases = training_cases_with_warnings(&folder, &json, ctx.progress)?;
        let example = cases.first().and_then(|case| case.images.first());
        let reader = ImageReader::for_example(formats, &json, example.map(PathBuf::as_path))?;
        let fault = |problem| ConvertError::Merge { path: json.path().to_owned(), problem };
        if let Some((name, _)) = json.labels.iter().find(|(_, value)| matches!(value, LabelValue::Region(_)))
        {
            return Err(fault(format!("{name} is a region; only datasets of plain labels can be merged")));
        }
        let own: Vec<&str> =
            json.labels.keys().map(String::as_str).filter(|name| *name != BACKGROUND).collect();
        let labels = match &asked.labels {
            None => own.iter().map(|&name| (name.to_owned(), name.to_owned())).collect(),
            Some(table) => {
                if let Some(unknown) = table.keys().find(|name| !own.contains(&name.as_str())) {
                    let meant = closest(unknown, own.iter().copied());
                    let meant = meant.map_or_else(String::new, |meant| format!(" (did you mean {meant}?)"));
                    let known = own.join(", ");
                    return Err(fault(format!("has no label {unknown:?}{meant}; its labels: {known}")));
                }
                let is_left = |name: &&&str| !table.contains_key(**name) && **name != IGNORE;
                let left: Vec<&str> = own.iter().filter(is_left).copied().collect();
                if !left.is_empty() {
                    return Err(fault(format!(
                        "no name in the merged dataset is given for {}; give each label one, or {BACKGROUND:?} where it is not \
                         to be learnt",
                        left.join(", ")
                    )));
                }
                let becomes = |name: &&str| match table.get(*name) {
                    Some(to) => ((*name).to_owned(), to.clone()),
                    None => (IGNORE.to_owned(), IGNORE.to_owned()),
                };
                own.iter().map(becomes).collect()
            }
        };
        Ok(Self { asked, cases, reader, labels, json })
    }

    fn identifier(&self, case: &Case) -> String {
        format!("{}_{}", self.asked.name, case.identifier)
    }

    /// The labels of the merged dataset that are annotated in `case`.
    fn annotated_in(&self, case: &Case) -> Vec<String> {
        let own = self.json.annotated_in(&case.identifier);
        let is_annotated = |name: &String| own.is_none_or(|names| names.contains(name));
        let mut found: IndexMap<&String, bool> = IndexMap::new();
        for (from, to) in self.labels.iter().filter(|(_, to)| ![BACKGROUND, IGNORE].contains(&to.as_str())) {
            *found.entry(to).or_insert(true) &= is_annotated(from);
        }
        found.into_iter().filter(|(_, whole)| *whole).map(|(name, _)| name.clone()).collect()
    }
}

/// The merged dataset.
struct Merged {
    /// Names of the labels with their values, `ignore` last.
    labels: IndexMap<String, i32>,
    channels: Vec<String>,
    optional: Vec<String>,
    file_ending: String,
}

impl Merged {
    fn new(sources: &[Source<'_>]) -> Result<Self, ConvertError> {
        let Some(first) = sources.first() else { return Err(ConvertError::NothingToMerge) };
        let file_ending = first.json.file_ending.clone();
        let (mut names, mut channels) = (Vec::new(), Vec::new());
        for (place, source) in sources.iter().enumerate() {
            let fault = |problem| Err(ConvertError::Merge { path: source.json.path().to_owned(), problem });
            if source.json.file_ending != file_ending {
                let found = &source.json.file_ending;
                return fault(format!("files end in {found}, those of the first dataset in {file_ending}"));
            }
            if !is_plain(&source.asked.name) {
                return fault(format!(
                    "the source's name is {:?}; expected letters, digits, _ and -, since cases are called by it",
                    source.asked.name
                ));
            }
            if sources[..place].iter().any(|other| other.asked.name == source.asked.name) {
                return fault(format!("two sources are called {:?}; names must differ", source.asked.name));
            }
            for name in source.labels.values().filter(|name| ![BACKGROUND, IGNORE].contains(&name.as_str())) {
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
            for name in source.json.channel_names.values() {
                if !channels.contains(name) {
                    channels.push(name.clone());
                }
            }
        }
        if names.is_empty() {
            return Err(ConvertError::NothingToMerge);
        }
        if sources.iter().any(|source| source.labels.contains_key(IGNORE)) {
            names.push(IGNORE.to_owned());
        }
        let is_optional = |name: &&String| {
            sources.iter().any(|source| {
                match source.json.channel_names.values().position(|own| own == *name) {
                    None => true,
                    Some(channel) => source.json.optional_channels.contains(&channel),
                }
            })
        };
        Ok(Self {
            labels: [BACKGROUND.to_owned()].into_iter().chain(names).zip(0..).collect(),
            optional: channels.iter().filter(is_optional).cloned().collect(),
            channels,
            file_ending,
        })
    }

    /// The channel that channel `channel` of a source becomes.
    fn channel_of(&self, source: &Source<'_>, channel: usize) -> usize {
        let name = source.json.channel_name(channel);
        self.channels.iter().position(|known| *known == name).unwrap_or(channel)
    }

    /// The value that each label of a source becomes.
    fn values_of(&self, source: &Source<'_>) -> Result<IndexMap<i16, i16>, ConvertError> {
        let mut values = IndexMap::from([(0, 0)]);
        for (from, to) in &source.labels {
            if let (Some(LabelValue::Label(from)), Some(&to)) =
                (source.json.labels.get(from), self.labels.get(to))
            {
                values.insert(stored_label(*from)?, stored_label(to)?);
            }
        }
        Ok(values)
    }

    fn json(&self, sources: &[Source<'_>]) -> Json {
        let all: Vec<&String> =
            self.labels.keys().filter(|name| ![BACKGROUND, IGNORE].contains(&name.as_str())).collect();
        let mut cases = IndexMap::new();
        for source in sources {
            for case in &source.cases {
                let names = source.annotated_in(case);
                if names.len() < all.len() {
                    cases.insert(source.identifier(case), names);
                }
            }
        }
        let channels =
            self.channels.iter().enumerate().map(|(i, name)| (i.to_string(), name.as_str().into()));
        let labels = self.labels.iter().map(|(name, value)| (name.clone(), (*value).into()));
        let count: usize = sources.iter().map(|source| source.cases.len()).sum();
        let mut entries = vec![
            ("channel_names", Json::object(channels)),
            ("labels", Json::object(labels)),
            ("numTraining", count.into()),
            ("file_ending", self.file_ending.as_str().into()),
        ];
        if let Some(reader) =
            sources.first().and_then(|source| source.json.overwrite_image_reader_writer.clone())
        {
            entries.push(("overwrite_image_reader_writer", reader.as_str().into()));
        }
        if !self.optional.is_empty() {
            entries.push(("optional_channels", self.optional.clone().into()));
        }
        if !cases.is_empty() {
            entries.push(("annotated_labels", AnnotatedLabels { default: None, cases }.to_json()));
        }
        Json::object(entries)
    }
}

/// One file of the merged dataset.
struct Step<'a> {
    from: PathBuf,
    to: PathBuf,
    /// For a segmentation, its source and the value that each of its labels becomes.
    labels: Option<(&'a Source<'a>, IndexMap<i16, i16>)>,
}

impl Step<'_> {
    fn run(&self) -> Result<(), ConvertError> {
        let Some((source, values)) = &self.labels else {
            std::fs::copy(&self.from, &self.to).map_err(|e| ConvertError::io(&self.from, "copy it", e))?;
            return Ok(());
        };
        let read = source.reader.read(&self.from)?;
        let mut labels = Vec::with_capacity(read.volume.data().len());
        for &value in read.volume.data() {
            let found = values.get(&(value as i16)).filter(|_| f32::from(value as i16) == value);
            let Some(&label) = found else {
                let path = self.from.clone();
                let problem = format!("has the value {value}, which its dataset.json does not declare");
                return Err(ConvertError::Merge { path, problem });
            };
            labels.push(label as u16);
        }
        let volume = Volume::new(read.volume.shape(), labels);
        let volume = volume.ok_or_else(|| DatasetError::Labels("as many labels as voxels".to_owned()))?;
        Ok(source.reader.write_labels(&self.to, &volume, &read.geometry)?)
    }
}

/// Whether a name can begin those of cases, which are names of files.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
}
