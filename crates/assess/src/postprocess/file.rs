//! postprocessing.pkl and postprocessing.json, as the reference writes and reads them.
//!
//! The pickle is `([functions], [keyword arguments])`. Functions are there by name only; the one name that is
//! known stands for [`KeepLargest`], any other is an error, and nothing of the file is ever run.

use std::path::Path;

use nnunet_pyformats::pickle::{Dict, Global, Value};
use nnunet_pyformats::pickle::{read_pickle_file, write_pickle_file};

use super::error::PostprocessError;
use super::largest_component::{Classes, KeepLargest, Postprocessing};
use crate::evaluate::Summary;
use nnunet_dataset::LabelOrRegion;
use nnunet_pyformats::json::{Json, KeyOrder};

/// Module of the reference's function.
const MODULE: &str = "nnunetv2.postprocessing.remove_connected_components";
/// Name of the reference's function.
const FUNCTION: &str = "remove_all_but_largest_component_from_segmentation";
/// Its argument for the classes.
const CLASSES: &str = "labels_or_regions";
/// Its argument for the value of removed voxels.
const BACKGROUND: &str = "background_label";

impl Postprocessing {
    /// Reads a postprocessing.pkl, or a postprocessing.json if the name ends so.
    ///
    /// # Errors
    /// The file cannot be read, or names functions or arguments that are not known.
    pub fn read(path: &Path) -> Result<Self, PostprocessError> {
        let steps = if path.extension().is_some_and(|e| e == "json") {
            from_json(&Json::load(path)?)
        } else {
            from_pickle(&read_pickle_file(path)?)
        };
        match steps {
            Ok(steps) => Ok(Self { steps }),
            Err(problem) => Err(PostprocessError::NoPostprocessing { path: path.to_owned(), problem }),
        }
    }

    /// Writes postprocessing.pkl.
    pub fn write(&self, path: &Path) -> Result<(), PostprocessError> {
        let function = Value::Global(Global { module: MODULE.to_owned(), name: FUNCTION.to_owned() });
        let functions = vec![function; self.steps.len()];
        let arguments = self.steps.iter().map(|step| Value::Dict(arguments(step))).collect();
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
        let functions = vec![Json::from(FUNCTION); self.steps.len()];
        let report = Json::object([
            ("input_folder", means(before)),
            ("postprocessed", means(after)),
            ("postprocessing_fns", Json::Array(functions)),
            ("postprocessing_kwargs", Json::Array(self.steps.iter().map(json_arguments).collect())),
        ]);
        Ok(report.save(path, KeyOrder::Sorted)?)
    }
}

fn arguments(step: &KeepLargest) -> Dict {
    let class = |class: &LabelOrRegion| match class {
        LabelOrRegion::Label(label) => Value::Int(i64::from(*label)),
        LabelOrRegion::Region(labels) => {
            Value::Tuple(labels.iter().map(|&label| Value::Int(i64::from(label))).collect())
        }
    };
    let classes = match &step.classes {
        Classes::One(one) => class(one),
        Classes::Together(all) => Value::List(all.iter().map(class).collect()),
    };
    let mut arguments = Dict::new();
    arguments.insert(CLASSES, classes);
    if step.background != 0 {
        arguments.insert(BACKGROUND, i64::from(step.background));
    }
    arguments
}

fn json_arguments(step: &KeepLargest) -> Json {
    let class = |class: &LabelOrRegion| match class {
        LabelOrRegion::Label(label) => Json::Int(i64::from(*label)),
        LabelOrRegion::Region(labels) => {
            Json::Array(labels.iter().map(|&label| Json::Int(i64::from(label))).collect())
        }
    };
    let classes = match &step.classes {
        Classes::One(one) => class(one),
        Classes::Together(all) => Json::Array(all.iter().map(class).collect()),
    };
    let background = (step.background != 0).then(|| (BACKGROUND, Json::Int(i64::from(step.background))));
    Json::object([(CLASSES, classes)].into_iter().chain(background))
}

fn from_pickle(value: &Value) -> Result<Vec<KeepLargest>, String> {
    let Some([functions, arguments]) = value.as_sequence() else {
        return Err(format!("found {}", value.kind()));
    };
    let (Some(functions), Some(arguments)) = (functions.as_sequence(), arguments.as_sequence()) else {
        return Err(format!("found {} and {}", functions.kind(), arguments.kind()));
    };
    let names = functions.iter().map(|function| match function {
        Value::Global(Global { module, name }) if module == MODULE => Ok(name.as_str()),
        Value::Global(Global { module, name }) => Err(format!("function {module}.{name} is not known here")),
        other => Err(format!("found {} in the place of a function", other.kind())),
    });
    let arguments: Vec<Argument<'_>> = arguments.iter().map(Argument::Pickle).collect();
    steps(&names.collect::<Result<Vec<_>, _>>()?, &arguments)
}

fn from_json(document: &Json) -> Result<Vec<KeepLargest>, String> {
    let list = |key: &str| {
        document.get(key).and_then(Json::as_array).ok_or_else(|| format!("there is no list {key:?}"))
    };
    let names = list("postprocessing_fns")?.iter().map(|name| name.as_str().unwrap_or_default());
    let arguments: Vec<Argument<'_>> = list("postprocessing_kwargs")?.iter().map(Argument::Json).collect();
    steps(&names.collect::<Vec<_>>(), &arguments)
}

fn steps(names: &[&str], arguments: &[Argument<'_>]) -> Result<Vec<KeepLargest>, String> {
    if names.len() != arguments.len() {
        return Err(format!("{} functions with {} sets of arguments", names.len(), arguments.len()));
    }
    names
        .iter()
        .zip(arguments)
        .map(|(name, arguments)| {
            if *name != FUNCTION {
                return Err(format!("function {name:?} is not known here"));
            }
            arguments.step()
        })
        .collect()
}

/// An argument in either kind of file.
#[derive(Clone, Copy)]
enum Argument<'a> {
    Pickle(&'a Value),
    Json(&'a Json),
}

impl<'a> Argument<'a> {
    fn step(self) -> Result<KeepLargest, String> {
        let mut step = None;
        let mut background = 0;
        for (key, value) in self.entries().ok_or("arguments are not a dict")? {
            match key {
                CLASSES => step = Some(value.classes().ok_or("labels_or_regions are no labels")?),
                BACKGROUND => background = value.label().ok_or("background_label is no label")?,
                other => return Err(format!("argument {other:?} is not known here")),
            }
        }
        let classes = step.ok_or("labels_or_regions are missing")?;
        Ok(KeepLargest { classes, background })
    }

    fn entries(self) -> Option<Vec<(&'a str, Self)>> {
        match self {
            Self::Pickle(value) => value
                .as_dict()?
                .iter()
                .map(|(key, value)| Some((key.as_str()?, Self::Pickle(value))))
                .collect(),
            Self::Json(value) => Some(
                value.as_object()?.iter().map(|(key, value)| (key.as_str(), Self::Json(value))).collect(),
            ),
        }
    }

    fn label(self) -> Option<i32> {
        let number = match self {
            Self::Pickle(value) => value.as_i64()?,
            Self::Json(value) => value.as_i64()?,
        };
        i32::try_from(number).ok()
    }

    fn items(self) -> Option<Vec<Self>> {
        match self {
            Self::Pickle(value) => Some(value.as_sequence()?.iter().map(Self::Pickle).collect()),
            Self::Json(value) => Some(value.as_array()?.iter().map(Self::Json).collect()),
        }
    }

    fn class(self) -> Option<LabelOrRegion> {
        match self.label() {
            Some(label) => Some(LabelOrRegion::Label(label)),
            None => {
                self.items()?.into_iter().map(Self::label).collect::<Option<_>>().map(LabelOrRegion::Region)
            }
        }
    }

    /// A tuple is one region, a list is several classes taken together. JSON has lists for both, which
    /// makes no difference: the mask is the same.
    fn classes(self) -> Option<Classes> {
        match self {
            Self::Pickle(Value::List(_)) | Self::Json(Json::Array(_)) => {
                self.items()?.into_iter().map(Self::class).collect::<Option<_>>().map(Classes::Together)
            }
            _ => self.class().map(Classes::One),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn postprocessing() -> Postprocessing {
        let (label, region) = (LabelOrRegion::Label(3), LabelOrRegion::Region(vec![1, 2]));
        let steps = [
            Classes::Together(vec![LabelOrRegion::Label(1), label.clone(), region.clone()]),
            Classes::One(label),
            Classes::One(region),
        ];
        let mut steps: Vec<_> = steps.into_iter().map(KeepLargest::new).collect();
        steps[1].background = 7;
        Postprocessing { steps }
    }

    #[test]
    fn pickles_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("postprocessing.pkl");
        for expected in [postprocessing(), Postprocessing::default()] {
            expected.write(&path).unwrap();
            assert_eq!(Postprocessing::read(&path).unwrap(), expected);
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
        expected.steps[2].classes = Classes::Together(regions);
        assert_eq!(Postprocessing::read(&path).unwrap(), expected);
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
        let message = Postprocessing::read(&path).unwrap_err().to_string();
        assert!(message.contains("posix.system is not known here"), "{message}");
        std::fs::write(&path, b"cposix\nsystem\n(S'touch x'\ntR.").unwrap();
        let message = Postprocessing::read(&path).unwrap_err().to_string();
        assert!(message.contains("evil.pkl: found"), "{message}");
        let path = folder.path().join("other.json");
        for (text, part) in [
            (r#"{"postprocessing_fns": ["f"], "postprocessing_kwargs": [{}]}"#, "\"f\" is not known"),
            (r#"{"postprocessing_fns": [], "postprocessing_kwargs": [{}]}"#, "0 functions with 1 sets"),
            (r#"{"postprocessing_fns": []}"#, "no list \"postprocessing_kwargs\""),
        ] {
            std::fs::write(&path, text).unwrap();
            let message = Postprocessing::read(&path).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}
