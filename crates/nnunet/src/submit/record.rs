//! What was submitted or run, in a file: for whoever asks for the jobs later, and for a local run that goes on.

use std::path::Path;

use nnunet_pyformats::json::{Json, KeyOrder};

use super::error::SubmitError;
use super::graph::JobGraph;

/// Name of the record in the folder of the scripts and logs.
pub const RECORD: &str = "submit.json";

/// What was submitted or run.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The jobs in the order of the graph.
    pub jobs: Vec<RecordedJob>,
}

/// A job with what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedJob {
    /// Its name.
    pub name: String,
    /// Names of the jobs that it needs.
    pub needs: Vec<String>,
    /// Its number in SLURM, once it is submitted.
    pub slurm_id: Option<String>,
    /// Label, arguments and state of each task. SLURM knows the states of those that it runs.
    pub tasks: Vec<(String, Vec<String>, TaskState)>,
}

/// What became of a task of a local run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskState {
    /// It has not been run to its end.
    Waiting,
    /// It succeeded.
    Done,
    /// It failed.
    Failed,
}

impl TaskState {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Waiting, "waiting"), (Self::Done, "done"), (Self::Failed, "failed")];

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(state, _)| *state == self).map_or("waiting", |(_, word)| word)
    }
}

impl Record {
    /// The jobs of a graph, none of which has been run.
    pub fn new(graph: &JobGraph) -> Self {
        let name = |i: &usize| graph.jobs[*i].name.clone();
        let jobs = graph.jobs.iter().map(|job| RecordedJob {
            name: job.name.clone(),
            needs: job.needs.iter().map(name).collect(),
            slurm_id: None,
            tasks: job
                .tasks
                .iter()
                .map(|task| (task.label.clone(), task.arguments.clone(), TaskState::Waiting))
                .collect(),
        });
        Self { jobs: jobs.collect() }
    }

    /// Reads the record in `folder`, if there is one.
    ///
    /// # Errors
    /// A file that cannot be read or is no record.
    pub fn load(folder: &Path) -> Result<Option<Self>, SubmitError> {
        let path = folder.join(RECORD);
        if !path.is_file() {
            return Ok(None);
        }
        Self::from_json(&Json::load(&path)?).map(Some).ok_or(SubmitError::NoRecord { path })
    }

    /// Writes the record to `folder`.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), SubmitError> {
        Ok(self.to_json().save(&folder.join(RECORD), KeyOrder::Kept)?)
    }

    fn to_json(&self) -> Json {
        let texts =
            |texts: &[String]| Json::Array(texts.iter().map(|text| Json::from(text.as_str())).collect());
        let task = |(label, arguments, state): &(String, Vec<String>, TaskState)| {
            Json::object([
                ("label", Json::from(label.as_str())),
                ("arguments", texts(arguments)),
                ("state", Json::from(state.word())),
            ])
        };
        let jobs = self.jobs.iter().map(|job| {
            Json::object([
                ("name", Json::from(job.name.as_str())),
                ("needs", texts(&job.needs)),
                ("slurm_id", job.slurm_id.as_deref().map_or(Json::Null, Json::from)),
                ("tasks", Json::Array(job.tasks.iter().map(task).collect())),
            ])
        });
        Json::object([("jobs", Json::Array(jobs.collect()))])
    }

    fn from_json(document: &Json) -> Option<Self> {
        let text = |json: &Json| json.as_str().map(str::to_owned);
        let texts = |json: &Json| json.as_array()?.iter().map(text).collect::<Option<Vec<_>>>();
        let task = |json: &Json| {
            let word = json.get("state")?.as_str()?;
            let state = TaskState::ALL.iter().find(|(_, known)| *known == word)?.0;
            Some((text(json.get("label")?)?, texts(json.get("arguments")?)?, state))
        };
        let job = |json: &Json| {
            Some(RecordedJob {
                name: text(json.get("name")?)?,
                needs: texts(json.get("needs")?)?,
                slurm_id: text(json.get("slurm_id")?),
                tasks: json.get("tasks")?.as_array()?.iter().map(task).collect::<Option<_>>()?,
            })
        };
        Some(Self { jobs: document.get("jobs")?.as_array()?.iter().map(job).collect::<Option<_>>()? })
    }

    /// Whether a task with these arguments succeeded.
    pub(super) fn has_done(&self, job: &str, arguments: &[String]) -> bool {
        let jobs = self.jobs.iter().filter(|known| known.name == job);
        jobs.flat_map(|job| &job.tasks)
            .any(|(_, known, state)| known == arguments && *state == TaskState::Done)
    }
}
