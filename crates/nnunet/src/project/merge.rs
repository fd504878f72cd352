//! Several datasets with labels of their own as one.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use nnunet_base::Ctx;
use nnunet_base::parts::{OptionError, Options};
use nnunet_dataset::convert::{MergeSource, merge_datasets};
use serde_json::{Map, Value};

use super::{Project, check_writable_folder};
use crate::error::Error;

/// Datasets to merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeJob {
    /// Name of the merged dataset, like `Dataset020_Abdomen`.
    pub name: String,
    /// The datasets, and what their labels become.
    pub sources: Vec<MergeSource>,
}

/// Why the file of a merge cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MergeFileError {
    /// The file cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no TOML.
    #[error("{path}: {problem}", path = path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        problem: String,
    },
    /// It has other keys or values.
    #[error("{path}: {source}", path = path.display())]
    Option {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: OptionError,
    },
}

impl Project {
    /// Reads a merge from a TOML file: `name`, and a table `[[source]]` for each dataset with `dataset` (id or name), `name`
    /// (what its cases are called after, by default the dataset's name without `Dataset`) and `[source.labels]` (its labels
    /// with their names in the merged dataset, by default all as they are called).
    ///
    /// # Errors
    /// A file that cannot be read; keys and values that do not exist; unknown datasets.
    pub fn read_merge(&self, path: &Path) -> Result<MergeJob, Error> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| MergeFileError::Io { path: path.to_owned(), source })?;
        let document: Map<String, Value> = toml::from_str(&text)
            .map_err(|e| MergeFileError::Syntax { path: path.to_owned(), problem: e.to_string() })?;
        let wrong = |source| MergeFileError::Option { path: path.to_owned(), source };
        let mut options = Options::new("merge", &document);
        let name = options.optional_text("name").map_err(wrong)?;
        let name = name.ok_or_else(|| wrong(options.invalid("name", "a name like Dataset020_Abdomen")))?;
        let expected = "a table [[source]] for each dataset";
        let tables = |value: &Value| -> Option<Vec<Map<String, Value>>> {
            value.as_array()?.iter().map(|table| table.as_object().cloned()).collect()
        };
        let tables = options.read("source", expected, tables).map_err(wrong)?;
        let tables = tables.ok_or_else(|| wrong(options.invalid("source", expected)))?;
        options.finish().map_err(wrong)?;
        let sources = tables
            .iter()
            .map(|table| {
                let (dataset, name, labels) = source(table).map_err(wrong)?;
                let dataset = self.dataset(&dataset)?;
                let short = dataset.as_str().trim_start_matches("Dataset").to_owned();
                Ok(MergeSource { name: name.unwrap_or(short), dataset, labels })
            })
            .collect::<Result<Vec<_>, Error>>()?;
        Ok(MergeJob { name, sources })
    }

    /// Makes one raw dataset of several and returns its folder. Its dataset.json says of each case which labels were
    /// annotated, and which channels cases may lack.
    ///
    /// # Errors
    /// Labels that a source does not have, or that are not mapped; a name or id that is taken; files that cannot be read or
    /// written; interrupted.
    ///
    /// ```no_run
    /// # use nnunet::{Ctx, Folders, Project, progress::{Cancel, Silent}};
    /// # let (project, cancel) = (Project::new(Folders::default()), Cancel::new());
    /// # let ctx = Ctx::new(&Silent, &cancel);
    /// let job = project.read_merge("abdomen.toml".as_ref())?;
    /// println!("{}", project.merge_datasets(&job, ctx)?.display());
    /// # Ok::<(), nnunet::Error>(())
    /// ```
    pub fn merge_datasets(&self, job: &MergeJob, ctx: Ctx<'_>) -> Result<PathBuf, Error> {
        check_writable_folder(self.folders.raw()?)?;
        Ok(merge_datasets(&job.sources, &job.name, &self.folders, &self.registry.data.formats, ctx)?)
    }
}

/// Dataset, name and labels of one source.
type SourceEntries = (String, Option<String>, Option<IndexMap<String, String>>);

fn source(table: &Map<String, Value>) -> Result<SourceEntries, OptionError> {
    let mut options = Options::new("source", table);
    let dataset = |value: &Value| match value {
        Value::String(name) => Some(name.clone()),
        Value::Number(id) => id.as_u64().map(|id| id.to_string()),
        _ => None,
    };
    let expected = "the id or the name of a dataset";
    let dataset = options.read("dataset", expected, dataset)?;
    let dataset = dataset.ok_or_else(|| options.invalid("dataset", expected))?;
    let name = options.optional_text("name")?;
    let labels = |value: &Value| -> Option<IndexMap<String, String>> {
        let entries = value.as_object()?.iter();
        entries.map(|(from, to)| Some((from.clone(), to.as_str()?.to_owned()))).collect()
    };
    let labels =
        options.read("labels", "a table from each label to its name in the merged dataset", labels)?;
    options.finish()?;
    Ok((dataset, name, labels))
}
