//! Steps of a postprocessing by the names of their functions.

use std::fmt;
use std::sync::Arc;

use nnunet_base::parts::Named;
use nnunet_pyformats::pickle::{Dict, Value};
use nnunet_volume::Volume;

use super::largest_component::KeepLargest;

/// What a step does: it changes a segmentation (z, y, x) and says how many voxels were changed.
pub type Change = Arc<dyn Fn(&mut Volume<f32>) -> usize + Send + Sync>;

/// Makes a step's change from its keyword arguments, or says what is wrong with them.
pub type ChangeBuilder = Arc<dyn Fn(&Dict) -> Result<Change, String> + Send + Sync>;

/// A function that postprocessing.pkl may name. Its name is that of the part.
#[derive(Clone)]
pub struct Function {
    /// The Python module that the file says it is in.
    pub module: String,
    /// What it does with its arguments.
    pub build: ChangeBuilder,
}

/// The functions that are built in: the reference's.
///
/// Another one can be applied once it is registered:
///
/// ```
/// use std::sync::Arc;
///
/// use nnunet_assess::postprocess::{Change, Function, Postprocessing, postprocessings};
/// use nnunet_pyformats::pickle::{Dict, Value};
/// use nnunet_volume::Volume;
///
/// /// Makes a label background everywhere.
/// fn remove_label(arguments: &Dict) -> Result<Change, String> {
///     let label = arguments.get("label").and_then(Value::as_f64).ok_or("label is no number")? as f32;
///     Ok(Arc::new(move |segmentation: &mut Volume<f32>| {
///         let voxels = segmentation.data_mut().iter_mut().filter(|voxel| **voxel == label);
///         voxels.map(|voxel| *voxel = 0.0).count()
///     }))
/// }
///
/// let mut known = postprocessings();
/// let function = Function { module: "mine".to_owned(), build: Arc::new(remove_label) };
/// known.register("remove_label", "makes a label background", function)?;
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("postprocessing.json");
/// # std::fs::write(&path, r#"{"postprocessing_fns": ["remove_label"], "postprocessing_kwargs": [{"label": 2}]}"#)?;
/// let postprocessing = Postprocessing::read(&path, &known)?;
/// let mut segmentation = Volume::new([1, 1, 4], vec![0.0, 2.0, 1.0, 2.0]).ok_or("no voxels")?;
/// assert_eq!(postprocessing.apply(&mut segmentation), 2);
/// assert_eq!(segmentation.data(), [0.0, 0.0, 1.0, 0.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn postprocessings() -> Named<Function> {
    let build = |arguments: &Dict| Ok(KeepLargest::from_arguments(arguments)?.change());
    Named::new("postprocessing function").with(
        KeepLargest::FUNCTION,
        "makes all components of some classes but the largest background",
        Function { module: KeepLargest::MODULE.to_owned(), build: Arc::new(build) },
    )
}

/// One step of a postprocessing: a function with its arguments.
#[derive(Clone)]
pub struct Step {
    /// Python module of the function.
    pub(super) module: String,
    /// Name of the function.
    pub(super) function: String,
    /// Its keyword arguments, as files have them.
    pub(super) arguments: Dict,
    change: Change,
}

impl Step {
    /// The step that a file describes, with a function of `known`.
    ///
    /// # Errors
    /// What is wrong: a function that is not known, or arguments that it does not have.
    pub(super) fn of_file(
        module: Option<&str>,
        function: &str,
        arguments: Dict,
        known: &Named<Function>,
    ) -> Result<Self, String> {
        let full = module.map_or_else(|| format!("{function:?}"), |module| format!("{module}.{function}"));
        let found = known.get(function).ok().filter(|found| module.is_none_or(|m| m == found.module));
        let Some(found) = found else {
            let names = known.unknown(function).known.join(", ");
            return Err(format!("function {full} is not known here; known: {names}"));
        };
        let change = (found.build)(&arguments)?;
        Ok(Self { module: found.module.clone(), function: function.to_owned(), arguments, change })
    }

    /// Changes `segmentation` (z, y, x) and says how many voxels were changed.
    pub fn apply(&self, segmentation: &mut Volume<f32>) -> usize {
        (self.change)(segmentation)
    }
}

impl From<KeepLargest> for Step {
    fn from(step: KeepLargest) -> Self {
        Self {
            module: KeepLargest::MODULE.to_owned(),
            function: KeepLargest::FUNCTION.to_owned(),
            arguments: step.arguments(),
            change: step.change(),
        }
    }
}

/// Steps are equal if the same function has the same arguments, whichever file they come from: pickles have NumPy's numbers and
/// tuples where JSON has plain numbers and lists.
impl PartialEq for Step {
    fn eq(&self, other: &Self) -> bool {
        (&self.module, &self.function) == (&other.module, &other.function)
            && plain_dict(&self.arguments) == plain_dict(&other.arguments)
    }
}

fn plain_dict(dict: &Dict) -> Dict {
    dict.iter().map(|(key, value)| (plain(key), plain(value))).collect()
}

/// `value` with Python's own numbers instead of NumPy's, and lists instead of tuples.
fn plain(value: &Value) -> Value {
    match value {
        Value::Scalar(scalar) => match (scalar.as_bool(), scalar.as_i64()) {
            (Some(truth), _) => Value::Bool(truth),
            (None, Some(whole)) => Value::Int(whole),
            (None, None) => Value::Float(scalar.as_f64()),
        },
        Value::Tuple(items) | Value::List(items) => Value::List(items.iter().map(plain).collect()),
        Value::Dict(dict) => Value::Dict(plain_dict(dict)),
        other => other.clone(),
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}({:?})", self.module, self.function, self.arguments)
    }
}

/// The steps in their order; none is a postprocessing too.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Postprocessing {
    /// Applied one after the other.
    pub steps: Vec<Step>,
}

impl Postprocessing {
    /// Changes `segmentation` (z, y, x) and says how many voxels were changed, by all steps together.
    pub fn apply(&self, segmentation: &mut Volume<f32>) -> usize {
        self.steps.iter().map(|step| step.apply(segmentation)).sum()
    }
}
