//! Predictions of all patterns of missing channels against references.

use std::path::PathBuf;

use nnunet_assess::evaluate::{FolderEvaluation, Missing, choose};
use nnunet_base::{Ctx, Hint};
use nnunet_dataset::DatasetJson;
use nnunet_pyformats::json::KeyOrder;

use super::evaluate::write_table;
use super::{Project, check_writable_file};
use crate::error::{During, Error};
use crate::missing_patterns::{ChannelPattern, PatternError, PatternTable};

/// Predictions of all patterns of missing channels, to be evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingPatternsJob {
    /// Folder of the reference segmentations.
    pub reference: PathBuf,
    /// Folder of the predictions, with a folder for each pattern as a [`PredictJob`](super::PredictJob) with
    /// [`MissingChannels::EveryPattern`](super::MissingChannels::EveryPattern) writes it.
    pub prediction: PathBuf,
    /// What happens to references without a prediction. Cases that lack channels of their own have none for some patterns.
    pub missing: Missing,
    /// Where the results are written; `missing_patterns.json` beside the patterns if not given.
    pub output: Option<PathBuf>,
    /// A table of all patterns and classes, written as TSV.
    pub table: Option<PathBuf>,
}

impl MissingPatternsJob {
    /// The patterns predicted into `prediction` against the references in `reference`.
    pub fn new(reference: impl Into<PathBuf>, prediction: impl Into<PathBuf>) -> Self {
        Self {
            reference: reference.into(),
            prediction: prediction.into(),
            missing: Missing::Refused,
            output: None,
            table: None,
        }
    }

    /// Where the results are written.
    pub fn output_file(&self) -> PathBuf {
        self.output.clone().unwrap_or_else(|| self.prediction.join("missing_patterns.json"))
    }
}

impl Project {
    /// Compares the predictions of every pattern of missing channels with the references: Dice and mean volume error of
    /// each class. A summary.json is written into the folder of each pattern, and all results together to
    /// missing_patterns.json.
    ///
    /// # Errors
    /// Patterns or cases that were not predicted; files that cannot be read or do not fit; results that cannot be written;
    /// interrupted.
    ///
    /// ```no_run
    /// # use nnunet::{Ctx, Folders, MissingChannels, MissingPatternsJob, PredictJob, Project, progress::{Cancel, Silent}};
    /// # let (project, cancel) = (Project::new(Folders::default()), Cancel::new());
    /// # let ctx = Ctx::new(&Silent, &cancel);
    /// let missing = MissingChannels::EveryPattern;
    /// project.predict(PredictJob { missing, ..PredictJob::new("model", "imagesTs", "patterns") }, ctx)?;
    /// for pattern in project.missing_patterns(&MissingPatternsJob::new("labelsTs", "patterns"), ctx)?.patterns {
    ///     println!("without {}: {}", pattern.missing.join(", "), pattern.mean_dice);
    /// }
    /// # Ok::<(), nnunet::Error>(())
    /// ```
    pub fn missing_patterns(&self, job: &MissingPatternsJob, ctx: Ctx<'_>) -> Result<PatternTable, Error> {
        let output = job.output_file();
        for file in [Some(&output), job.table.as_ref()].into_iter().flatten() {
            check_writable_file(file)?;
        }
        let (dataset, patterns) = predicted_patterns(job)?;
        let metrics = choose(["volumes"], &self.registry.metrics)?;
        let mut summaries = Vec::with_capacity(patterns.len());
        for pattern in patterns {
            let folder = job.prediction.join(pattern.folder());
            let evaluation = FolderEvaluation {
                missing: job.missing,
                metrics: metrics.clone(),
                ..FolderEvaluation::new(&job.reference, &folder)
            };
            let (dataset_json, plans) = (folder.join("dataset.json"), folder.join("plans.json"));
            let summary = evaluation
                .of_dataset(&dataset_json, &plans, &self.registry.data, ctx)
                .during(|| format!("evaluation of {}", folder.display()))?;
            summary.save(&evaluation.summary_file())?;
            summaries.push((pattern, summary));
        }
        let table = PatternTable::new(&dataset, &summaries);
        table.to_json().save(&output, KeyOrder::Kept)?;
        if let Some(path) = &job.table {
            write_table(path, &table.to_tsv())?;
        }
        Ok(table)
    }
}

/// The dataset.json of the predictions, and the patterns of its channels, each of which has its folder.
fn predicted_patterns(job: &MissingPatternsJob) -> Result<(DatasetJson, Vec<ChannelPattern>), Error> {
    let folder = &job.prediction;
    let hint = Hint::PredictPatterns;
    let mut there: Vec<PathBuf> = std::fs::read_dir(folder)
        .map_err(|source| Error::Io { path: folder.clone(), source })?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("channels_")))
        .collect();
    there.sort();
    let Some(first) = there.first() else {
        let example = "channels_0".to_owned();
        let nothing =
            PatternError::NotPredicted { folder: folder.clone(), missing: 1, total: 1, example, hint };
        return Err(nothing.into());
    };
    let dataset = DatasetJson::load(&first.join("dataset.json"))?;
    let patterns = ChannelPattern::all(dataset.num_channels())?;
    let mut missing = patterns.iter().filter(|pattern| !there.contains(&folder.join(pattern.folder())));
    if let Some(example) = missing.next() {
        let (missing, total, example) = (1 + missing.count(), patterns.len(), example.folder());
        let folder = folder.clone();
        return Err(PatternError::NotPredicted { folder, missing, total, example, hint }.into());
    }
    Ok((dataset, patterns))
}
