//! A folder of segmentations with the dataset.json and plans.json that a prediction leaves beside them: what
//! ensembling, postprocessing and model selection work on.

use std::io;
use std::path::{Path, PathBuf};

use crate::parts::Parts;
use nnunet_base::files::write_atomic;
use nnunet_base::hint::Hint;
use nnunet_dataset::cases::files_with_ending;
use nnunet_dataset::{DatasetError, DatasetJson, ImageReader, LabelManager};
use nnunet_pyformats::json::Json;

/// A folder of segmentations and what is known of them.
#[derive(Debug, Clone)]
pub struct PredictionFolder {
    path: PathBuf,
    companions: Vec<PathBuf>,
    /// The dataset that the segmentations belong to.
    pub dataset: DatasetJson,
    /// Its labels.
    pub labels: LabelManager,
    /// What reads and writes the segmentations.
    pub reader: ImageReader,
}

impl PredictionFolder {
    /// Looks at `path`. `dataset_json` and `plans_json` are looked for in the folder where they are not
    /// given; plans only decide the reader and the label manager, so that a folder may be without.
    ///
    /// # Errors
    /// No dataset.json, or one that cannot be used.
    pub fn open(
        path: &Path,
        dataset_json: Option<&Path>,
        plans_json: Option<&Path>,
        parts: &Parts,
    ) -> Result<Self, DatasetError> {
        if !path.is_dir() {
            let problem = if path.exists() { "not a folder" } else { "no such folder" };
            let hint = Hint::NamePredictions;
            return Err(DatasetError::NoPredictions { path: path.to_owned(), problem, hint });
        }
        let beside = path.join("dataset.json");
        if dataset_json.is_none() && !beside.is_file() {
            let problem = "no dataset.json in this folder";
            let hint = Hint::NamePredictions;
            return Err(DatasetError::NoPredictions { path: path.to_owned(), problem, hint });
        }
        let dataset_json = dataset_json.map_or(beside, Path::to_owned);
        let dataset = DatasetJson::load(&dataset_json)?;
        let beside = path.join("plans.json");
        let plans_json = plans_json.map(Path::to_owned).or_else(|| beside.is_file().then_some(beside));
        let plans = plans_json.as_deref().map(Json::load).transpose()?;
        let named = |key: &str| plans.as_ref().and_then(|plans| plans.get(key));
        let place = plans_json.as_deref().unwrap_or(&dataset_json);
        let reader = match &plans {
            None => ImageReader::for_dataset(&parts.formats, &dataset)?,
            Some(_) => {
                let name = named("image_reader_writer").and_then(Json::as_str);
                ImageReader::new(&parts.formats, name, &dataset.file_ending, place)?
            }
        };
        let labels = LabelManager::named(&parts.label_managers, named("label_manager"), place, &dataset)?;
        let companions = [Some(dataset_json), plans_json].into_iter().flatten().collect();
        Ok(Self { path: path.to_owned(), companions, dataset, labels, reader })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The segmentations in it, sorted by name; none is an error.
    pub fn segmentations(&self) -> Result<Vec<PathBuf>, DatasetError> {
        let files = files_with_ending(&self.path, &self.dataset.file_ending)?;
        if files.is_empty() {
            return Err(DatasetError::Io {
                path: self.path.clone(),
                expected: "segmentations in it",
                source: io::Error::other(format!("no file ends in {}", self.dataset.file_ending)),
            });
        }
        Ok(files)
    }

    /// Writes dataset.json and plans.json to `folder`, as they are for this one.
    pub fn write_companions(&self, folder: &Path) -> io::Result<()> {
        for (source, name) in self.companions.iter().zip(["dataset.json", "plans.json"]) {
            let target = folder.join(name);
            if *source != target {
                write_atomic(&target, &std::fs::read(source)?)?;
            }
        }
        Ok(())
    }
}
