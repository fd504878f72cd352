//! Segmentations against references.

use std::path::{Path, PathBuf};

use nnunet_assess::evaluate::{
    Additions, FolderEvaluation, Missing, Summary, evaluate_folder, evaluate_simple,
};
use nnunet_base::Ctx;
use nnunet_data::Parts;

use super::{Project, check_writable_file};
use crate::error::{During, Error};

/// Segmentations to evaluate.
#[derive(Debug, Clone)]
pub struct EvaluateJob {
    /// The folders, and what to compute.
    pub folders: FolderEvaluation,
    /// The classes to evaluate.
    pub classes: Classes,
}

impl EvaluateJob {
    /// The predictions in `prediction` against the references in `reference`, with the classes of the dataset.json
    /// beside the predictions. Every reference needs its prediction.
    pub fn new(reference: impl Into<PathBuf>, prediction: impl AsRef<Path>) -> Self {
        let prediction = prediction.as_ref();
        Self {
            folders: FolderEvaluation {
                parts: Parts::default(),
                reference: reference.into(),
                prediction: prediction.to_owned(),
                output: None,
                missing: Missing::Refused,
                additions: Additions::default(),
                max_ram: None,
            },
            classes: Classes::OfDataset {
                dataset_json: prediction.join("dataset.json"),
                plans: prediction.join("plans.json"),
            },
        }
    }
}

/// The classes to evaluate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Classes {
    /// Those of a dataset, regions included.
    OfDataset {
        /// Its dataset.json.
        dataset_json: PathBuf,
        /// The plans of the predictions.
        plans: PathBuf,
    },
    /// Single labels.
    Labels {
        /// The labels.
        labels: Vec<i32>,
        /// Label of voxels that do not count.
        ignore: Option<i32>,
    },
}

impl Project {
    /// Compares segmentations with references and writes Dice, IoU and counts for each case and class to summary.json.
    ///
    /// # Errors
    /// Missing predictions; files that cannot be read or do not fit; a summary that cannot be written; interrupted.
    ///
    /// ```no_run
    /// # use nnunet::{Ctx, EvaluateJob, Folders, Project, progress::{Cancel, Silent}};
    /// # let (project, cancel) = (Project::new(Folders::default()), Cancel::new());
    /// # let ctx = Ctx::new(&Silent, &cancel);
    /// let summary = project.evaluate(&EvaluateJob::new("labelsTs", "predictions"), ctx)?;
    /// println!("mean Dice {}", summary.foreground_mean.dice);
    /// # Ok::<(), nnunet::Error>(())
    /// ```
    pub fn evaluate(&self, job: &EvaluateJob, ctx: Ctx<'_>) -> Result<Summary, Error> {
        let folders = &FolderEvaluation { parts: self.registry.data.clone(), ..job.folders.clone() };
        let output = folders.output.clone().unwrap_or_else(|| folders.prediction.join("summary.json"));
        check_writable_file(&output)?;
        match &job.classes {
            Classes::OfDataset { dataset_json, plans } => evaluate_folder(folders, dataset_json, plans, ctx),
            Classes::Labels { labels, ignore } => evaluate_simple(folders, labels, *ignore, ctx),
        }
        .during(|| format!("evaluation of {}", folders.prediction.display()))
    }
}
