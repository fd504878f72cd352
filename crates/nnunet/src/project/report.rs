//! Datasets, evaluations, trainings and comparisons as HTML pages.

use std::path::{Path, PathBuf};

use nnunet_base::Ctx;

use nnunet_data::fingerprint::Fingerprint;
use nnunet_dataset::DatasetName;
use nnunet_dataset::cases::training_cases;
use nnunet_report::Report;
use nnunet_report::comparison::comparison_report;
use nnunet_report::dataset::{DatasetContents, dataset_report, survey};
use nnunet_report::evaluation::{EvaluationRequest, evaluation_report};
use nnunet_report::training::{TrainingRequest, training_report};

use super::{ExplainJob, Project, VerifyJob, check_writable_file, check_writable_folder};
use crate::compare::CompareRequest;
use crate::error::{During, Error};

/// A report to make.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportJob {
    /// What it is about.
    pub subject: ReportSubject,
    /// Its file; if absent, one beside what it is about.
    pub output: Option<PathBuf>,
    /// Folder for every figure as an SVG file; none are written if absent.
    pub figures: Option<PathBuf>,
}

impl ReportJob {
    /// A report on `subject` in its usual place.
    pub fn new(subject: impl Into<ReportSubject>) -> Self {
        Self { subject: subject.into(), output: None, figures: None }
    }
}

/// What a report is about.
#[derive(Debug, Clone, PartialEq)]
pub enum ReportSubject {
    /// A raw dataset and how it is planned.
    Dataset(DatasetReport),
    /// An evaluation.
    Evaluation(EvaluationReport),
    /// A training.
    Training(TrainingReport),
    /// All trained models of a dataset.
    Comparison(CompareRequest),
}

/// A dataset to report on.
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetReport {
    /// The dataset.
    pub dataset: DatasetName,
    /// Name of its plans, e.g. `nnUNetPlans`.
    pub plans: String,
    /// GPU memory in GB that they were made for, where that was not the planner's own.
    pub gpu_memory_target_gb: Option<f64>,
}

/// An evaluation to report on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvaluationReport {
    /// The summary.json.
    pub summary: PathBuf,
    /// Folder of the references; where the summary says if absent.
    pub references: Option<PathBuf>,
    /// Folder of the predictions; where the summary says, or beside it, if absent.
    pub predictions: Option<PathBuf>,
    /// Folder of the images; pictures show contours alone if absent.
    pub images: Option<PathBuf>,
    /// Whether the page holds the volumes of the worst, the median and the best case, with a viewer.
    pub viewer: bool,
    /// The dataset.json, for the names of classes; the one beside the summary if absent.
    pub dataset_json: Option<PathBuf>,
}

/// A training to report on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainingReport {
    /// The folder of a model, or of one of its folds.
    pub folder: PathBuf,
    /// Folder of the references; where the evaluation says if absent.
    pub references: Option<PathBuf>,
    /// Folder of the images; `imagesTr` of the raw dataset if absent and there.
    pub images: Option<PathBuf>,
}

impl From<DatasetReport> for ReportSubject {
    fn from(report: DatasetReport) -> Self {
        Self::Dataset(report)
    }
}

impl From<EvaluationReport> for ReportSubject {
    fn from(report: EvaluationReport) -> Self {
        Self::Evaluation(report)
    }
}

impl From<TrainingReport> for ReportSubject {
    fn from(report: TrainingReport) -> Self {
        Self::Training(report)
    }
}

/// A report that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// Its file.
    pub path: PathBuf,
    /// How large it is.
    pub bytes: usize,
    /// How many figures it has.
    pub figures: usize,
}

impl From<CompareRequest> for ReportSubject {
    fn from(request: CompareRequest) -> Self {
        Self::Comparison(request)
    }
}

impl Project {
    /// Writes a report: one HTML page that opens offline.
    ///
    /// # Errors
    /// What the report is about is not there or cannot be read; files that cannot be written; interrupted.
    ///
    /// ```no_run
    /// # use nnunet::{Ctx, DatasetReport, Folders, Project, ReportJob, progress::{Cancel, Silent}};
    /// # let (project, cancel) = (Project::new(Folders::default()), Cancel::new());
    /// # let ctx = Ctx::new(&Silent, &cancel);
    /// let dataset = project.dataset("4")?;
    /// let subject = DatasetReport { dataset, plans: "nnUNetPlans".to_owned(), gpu_memory_target_gb: None };
    /// let written = project.report(&ReportJob::new(subject), ctx)?;
    /// println!("{}", written.path.display());
    /// # Ok::<(), nnunet::Error>(())
    /// ```
    pub fn report(&self, job: &ReportJob, ctx: Ctx<'_>) -> Result<Reported, Error> {
        let path = match &job.output {
            Some(path) => path.clone(),
            None => self.usual_place(&job.subject)?,
        };
        check_writable_file(&path)?;
        if let Some(folder) = &job.figures {
            check_writable_folder(folder)?;
        }
        let report = match &job.subject {
            ReportSubject::Dataset(report) => self.report_on_dataset(report, ctx)?,
            ReportSubject::Evaluation(report) => self.report_on_evaluation(report, ctx)?,
            ReportSubject::Training(report) => self.report_on_training(report, ctx)?,
            ReportSubject::Comparison(request) => comparison_report(&self.compare(request, ctx)?.contents()),
        };
        report.save(&path)?;
        if let Some(folder) = &job.figures {
            report.save_figures(folder)?;
        }
        Ok(Reported { path, bytes: report.html.len(), figures: report.figures.len() })
    }

    /// `report.html` beside what the report is about; for a dataset in its folder of preprocessed data, for a comparison in that of
    /// its trained models.
    fn usual_place(&self, subject: &ReportSubject) -> Result<PathBuf, Error> {
        let folder = match subject {
            ReportSubject::Dataset(report) => self.folders.preprocessed()?.join(&report.dataset),
            ReportSubject::Evaluation(report) => report.summary.parent().unwrap_or(Path::new("")).to_owned(),
            ReportSubject::Training(report) => report.folder.clone(),
            ReportSubject::Comparison(request) => self.folders.results()?.join(&request.dataset),
        };
        Ok(folder.join("report.html"))
    }

    fn report_on_dataset(&self, report: &DatasetReport, ctx: Ctx<'_>) -> Result<Report, Error> {
        let DatasetReport { dataset, plans, gpu_memory_target_gb } = report;
        let (raw, json) = self.raw_dataset(dataset)?;
        let verified = self.verify(&VerifyJob { dataset: dataset.clone(), repair: false }, ctx)?;
        let formats = &self.registry.data.formats;
        let cases = training_cases(&raw, &json)?;
        let survey = survey(&cases, &json, formats, ctx).during(|| format!("report on {dataset}"))?;
        let preprocessed = self.folders.preprocessed().ok().map(|folder| folder.join(dataset));
        let fingerprint = preprocessed.map(|folder| Fingerprint::path(&folder)).filter(|path| path.is_file());
        let fingerprint = fingerprint.map(|path| Fingerprint::load(&path)).transpose()?;
        let explanations = match &fingerprint {
            Some(_) => {
                let (dataset, plans) = (dataset.clone(), plans.clone());
                let job = ExplainJob { dataset, plans, gpu_memory_target_gb: *gpu_memory_target_gb };
                self.explain(&job).map_err(|error| error.to_string())
            }
            None => Err(format!("{dataset} has no fingerprint; plan and preprocess it first")),
        };
        if let Err(reason) = &explanations {
            ctx.warning(&format!("the report has no plans: {reason}"));
        }
        let contents = DatasetContents {
            name: dataset.as_str(),
            json: &json,
            survey: &survey,
            faults: &verified.report.faults,
            fingerprint: fingerprint.as_ref(),
            plans: explanations.as_deref().map_err(String::as_str),
        };
        Ok(dataset_report(&contents, formats, ctx))
    }

    fn report_on_evaluation(&self, report: &EvaluationReport, ctx: Ctx<'_>) -> Result<Report, Error> {
        let request = EvaluationRequest {
            summary: &report.summary,
            references: report.references.as_deref(),
            predictions: report.predictions.as_deref(),
            images: report.images.as_deref(),
            viewer: report.viewer,
            dataset_json: report.dataset_json.as_deref(),
            formats: &self.registry.data.formats,
        };
        Ok(evaluation_report(&request, ctx)?)
    }

    fn report_on_training(&self, report: &TrainingReport, ctx: Ctx<'_>) -> Result<Report, Error> {
        let images = report.images.clone().or_else(|| self.images_of_training(&report.folder));
        let request = TrainingRequest {
            folder: &report.folder,
            references: report.references.as_deref(),
            images: images.as_deref(),
            formats: &self.registry.data.formats,
        };
        Ok(training_report(&request, ctx)?)
    }

    /// `imagesTr` of the raw dataset that a folder of results `DATASET/MODEL` or `DATASET/MODEL/fold_X` belongs to, if it is there.
    fn images_of_training(&self, folder: &Path) -> Option<PathBuf> {
        let folder = folder.canonicalize().ok()?;
        let names = folder.ancestors().skip(1).take(2).filter_map(|folder| folder.file_name()?.to_str());
        let raw = self.folders.raw().ok()?;
        names
            .filter_map(|name| DatasetName::new(name).ok())
            .map(|dataset| raw.join(&dataset).join("imagesTr"))
            .find(|images| images.is_dir())
    }
}
