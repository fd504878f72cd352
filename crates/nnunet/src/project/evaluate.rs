//! Segmentations against references.

use std::path::{Path, PathBuf};

use nnunet_assess::evaluate::{FolderEvaluation, Summary, confidence};
use nnunet_assess::statistics::Bootstrap;
use nnunet_assess::volumetry::{VolumetryOptions, VolumetryReport, report};
use nnunet_base::Ctx;
use nnunet_base::files::write_atomic;

use super::{Project, check_writable_file};
use crate::error::{During, Error};

/// Segmentations to evaluate.
#[derive(Debug, Clone)]
pub struct EvaluateJob {
    /// The folders and the metrics. Image formats and label managers come from the project's registry.
    pub folders: FolderEvaluation,
    /// The classes to evaluate.
    pub classes: Classes,
    /// How confidence intervals of the means are drawn, if there are to be any.
    pub confidence: Option<Bootstrap>,
    /// How volumes are compared as measurements, if they are. The metrics have to contain `volumes` then.
    pub volumetry: Option<VolumetryOptions>,
    /// A table of all cases and classes, written as TSV. With volumetry there is a second one beside it.
    pub table: Option<PathBuf>,
}

impl EvaluateJob {
    /// The predictions in `prediction` against the references in `reference`, with the classes of the dataset.json
    /// beside the predictions. Every reference needs its prediction.
    pub fn new(reference: impl Into<PathBuf>, prediction: impl AsRef<Path>) -> Self {
        let prediction = prediction.as_ref();
        Self {
            folders: FolderEvaluation::new(reference, prediction),
            classes: Classes::OfDataset {
                dataset_json: prediction.join("dataset.json"),
                plans: prediction.join("plans.json"),
            },
            confidence: None,
            volumetry: None,
            table: None,
        }
    }

    /// Where the volumes' table is written: `results.volumetry.tsv` for `results.tsv`.
    pub fn volumes_table(&self) -> Option<PathBuf> {
        let table = self.table.as_ref().filter(|_| self.volumetry.is_some())?;
        let ending =
            table.extension().map_or_else(String::new, |ending| format!(".{}", ending.to_string_lossy()));
        Some(table.with_extension(format!("volumetry{ending}")))
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

/// What segmentations are worth.
#[derive(Debug)]
pub struct Evaluated {
    /// The metrics of each case and class with their means, as written to summary.json.
    pub summary: Summary,
    /// The volumes as measurements, if that was asked for.
    pub volumes: Option<VolumetryReport>,
}

impl Project {
    /// Compares segmentations with references and writes Dice, IoU, counts and whatever else the job asks for, for each
    /// case and class, to summary.json.
    ///
    /// # Errors
    /// Missing predictions; files that cannot be read or do not fit; subjects that do not fit the cases; results that
    /// cannot be written; interrupted.
    ///
    /// ```no_run
    /// # use nnunet::{Ctx, EvaluateJob, Folders, Project, progress::{Cancel, Silent}};
    /// # let (project, cancel) = (Project::new(Folders::default()), Cancel::new());
    /// # let ctx = Ctx::new(&Silent, &cancel);
    /// let evaluated = project.evaluate(&EvaluateJob::new("labelsTs", "predictions"), ctx)?;
    /// println!("mean Dice {}", evaluated.summary.foreground_mean.dice);
    /// # Ok::<(), nnunet::Error>(())
    /// ```
    pub fn evaluate(&self, job: &EvaluateJob, ctx: Ctx<'_>) -> Result<Evaluated, Error> {
        let (folders, parts) = (&job.folders, &self.registry.data);
        let output = folders.summary_file();
        for file in [Some(&output), job.table.as_ref(), job.volumes_table().as_ref()].into_iter().flatten() {
            check_writable_file(file)?;
        }
        let mut summary = match &job.classes {
            Classes::OfDataset { dataset_json, plans } => folders.of_dataset(dataset_json, plans, parts, ctx),
            Classes::Labels { labels, ignore } => folders.of_labels(labels, *ignore, &parts.formats, ctx),
        }
        .during(|| format!("evaluation of {}", folders.prediction.display()))?;
        if let Some(bootstrap) = &job.confidence {
            summary.sections.push(("confidence".to_owned(), confidence(&summary, bootstrap)));
        }
        let volumes = job.volumetry.as_ref().map(|options| report(&summary, options)).transpose()?;
        if let Some(volumes) = &volumes {
            volumes.warnings.iter().for_each(|warning| ctx.warning(warning));
            summary.sections.push(("volumetry".to_owned(), volumes.to_json()));
        }
        summary.save(&output)?;
        if let Some(table) = &job.table {
            write_table(table, &summary.to_tsv())?;
        }
        if let (Some(table), Some(volumes)) = (job.volumes_table(), &volumes) {
            write_table(&table, &volumes.to_tsv())?;
        }
        Ok(Evaluated { summary, volumes })
    }
}

pub(super) fn write_table(path: &Path, text: &str) -> Result<(), Error> {
    write_atomic(path, text.as_bytes())
        .map_err(|source| Error::UnwritableFile { path: path.to_owned(), source })
}
