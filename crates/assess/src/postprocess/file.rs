//! postprocessing.pkl and postprocessing.json, as the reference writes and reads them.
//!
//! The pickle is `([functions], [keyword arguments])`. Functions are there by name only, which stands for a registered
//! [`Function`]; nothing of the file is ever run.

use std::path::Path;

use nnunet_base::parts::Named;
use nnunet_pyformats::pickle::{Dict, Global, Value};
use nnunet_pyformats::pickle::{read_pickle_file, write_pickle_file};

use super::error::PostprocessError;
use super::step::{Function, Postprocessing, Step};
use crate::evaluate::Summary;
use nnunet_pyformats::json::{Json, KeyOrder};

impl Postprocessing {
    /// Reads a postprocessing.pkl, or a postprocessing.json if the name ends so. Its functions are among `known`.
    ///
    /// # Errors
    /// The file cannot be read, or names functions or arguments that are not known.
    pub fn read(path: &Path, known: &Named<Function>) -> Result<Self, PostprocessError> {
        let steps = if path.extension().is_some_and(|e| e == "json") {
            from_json(&Json::load(path)?, known)
        } else {
            from_pickle(&read_pickle_file(path)?, known)
        };
        match steps {
            Ok(steps) => Ok(Self { steps }),
            Err(problem) => Err(PostprocessError::NoPostprocessing { path: path.to_owned(), problem }),
        }
    }

    /// Writes postprocessing.pkl.
    pub fn write(&self, path: &Path) -> Result<(), PostprocessError> {
        let function =
            |step: &Step| Value::Global(Global { module: step.module.clone(), name: step.function.clone() });
        let functions = self.steps.iter().map(function).collect();
        let arguments = self.steps.iter().map(|step| Value::Dict(step.arguments.clone())).collect();
        let value = Value::Tuple(vec![Value::List(functions), Value::List(arguments)]);
        Ok(write_pickle_file(path, &value)?)
    }

    /// Writes postprocessing.json: the steps, and the means before and after them.
    pub fn write_report(
        &self,
        path: &Path,
        before: &Summary,
        after: &Summary,
    ) -> Result<(), PostprocessError> {
        let means = |summary: &Summary| {
            let document = summary.to_json();
            let part = |key: &str| document.get(key).cloned().unwrap_or(Json::Null);
            Json::object([("foreground_mean", part("foreground_mean")), ("mean", part("mean"))])
        };
        let functions = self.steps.iter().map(|step| Json::from(step.function.as_str())).collect();
        let arguments = self.steps.iter().map(|step| Value::Dict(step.arguments.clone()).to_json().into());
        let report = Json::object([
            ("input_folder", means(before)),
            ("postprocessed", means(after)),
            ("postprocessing_fns", Json::Array(functions)),
            ("postprocessing_kwargs", Json::Array(arguments.collect())),
        ]);
        Ok(report.save(path, KeyOrder::Sorted)?)
    }
}

fn from_pickle(value: &Value, known: &Named<Function>) -> Result<Vec<Step>, String> {
    let Some([functions, arguments]) = value.as_sequence() else {
        return Err(format!("found {}", value.kind()));
    };
    let (Some(functions), Some(arguments)) = (functions.as_sequence(), arguments.as_sequence()) else {
        return Err(format!("found {} and {}", functions.kind(), arguments.kind()));
    };
    let names = functions.iter().map(|function| match function {
        Value::Global(Global { module, name }) => Ok((Some(module.as_str()), name.as_str())),
        other => Err(format!("found {} in the place of a function", other.kind())),
    });
    steps(&names.collect::<Result<Vec<_>, _>>()?, arguments, known)
}

fn from_json(document: &Json, known: &Named<Function>) -> Result<Vec<Step>, String> {
    let list = |key: &str| {
        document.get(key).and_then(Json::as_array).ok_or_else(|| format!("there is no list {key:?}"))
    };
    // Here functions have no modules.
    let names = list("postprocessing_fns")?.iter().map(|name| (None, name.as_str().unwrap_or_default()));
    let arguments = list("postprocessing_kwargs")?.iter().map(|json| Value::from_json(&json.clone().into()));
    steps(&names.collect::<Vec<_>>(), &arguments.collect::<Vec<_>>(), known)
}

/// The steps of functions, each with its module where the file says so, and their arguments.
fn steps(
    names: &[(Option<&str>, &str)],
    arguments: &[Value],
    known: &Named<Function>,
) -> Result<Vec<Step>, String> {
    if names.len() != arguments.len() {
        return Err(format!("{} functions with {} sets of arguments", names.len(), arguments.len()));
    }
    let step = |(&(module, function), arguments): (&(Option<&str>, &str), &Value)| {
        let arguments: &Dict = arguments.as_dict().ok_or("arguments are not a dict")?;
        Step::of_file(module, function, arguments.clone(), known)
    };
    names.iter().zip(arguments).map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postprocess::{Classes, KeepLargest, postprocessings};
    use nnunet_dataset::LabelOrRegion;

    fn postprocessing() -> Postprocessing {
        let (label, region) = (LabelOrRegion::Label(3), LabelOrRegion::Region(vec![1, 2]));
        let steps = [
            Classes::Together(vec![LabelOrRegion::Label(1), label.clone(), region.clone()]),
            Classes::One(label),
            Classes::One(region),
        ];
        let mut steps = steps.map(KeepLargest::new);
        steps[1].background = 7;
        Postprocessing { steps: steps.map(Step::from).to_vec() }
    }

    #[test]
    fn pickles_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("postprocessing.pkl");
        for expected in [postprocessing(), Postprocessing::default()] {
            expected.write(&path).unwrap();
            assert_eq!(Postprocessing::read(&path, &postprocessings()).unwrap(), expected);
        }
    }

    #[test]
    fn json_means_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("postprocessing.json");
        let summary = Summary::new(Vec::new());
        postprocessing().write_report(&path, &summary, &summary).unwrap();
        let mut expected = postprocessing();
        let regions = [1, 2].map(LabelOrRegion::Label).to_vec();
        expected.steps[2] = KeepLargest::new(Classes::Together(regions)).into();
        assert_eq!(Postprocessing::read(&path, &postprocessings()).unwrap(), expected);
    }

    #[test]
    fn other_functions_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("evil.pkl");
        // A pickle of ([os.system], [{"command": "..."}]), and one that calls it.
        std::fs::write(
            &path,
            b"((lp0\ncposix\nsystem\np1\na(lp2\n(dp3\nVcommand\np4\nVtouch x\np5\nsatp6\n.",
        )
        .unwrap();
        let message = Postprocessing::read(&path, &postprocessings()).unwrap_err().to_string();
        assert!(message.contains("posix.system is not known here"), "{message}");
        std::fs::write(&path, b"cposix\nsystem\n(S'touch x'\ntR.").unwrap();
        let message = Postprocessing::read(&path, &postprocessings()).unwrap_err().to_string();
        assert!(message.contains("evil.pkl: found"), "{message}");
        let path = folder.path().join("other.json");
        for (text, part) in [
            (r#"{"postprocessing_fns": ["f"], "postprocessing_kwargs": [{}]}"#, "\"f\" is not known"),
            (r#"{"postprocessing_fns": [], "postprocessing_kwargs": [{}]}"#, "0 functions with 1 sets"),
            (r#"{"postprocessing_fns": []}"#, "no list \"postprocessing_kwargs\""),
        ] {
            std::fs::write(&path, text).unwrap();
            let message = Postprocessing::read(&path, &postprocessings()).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}
