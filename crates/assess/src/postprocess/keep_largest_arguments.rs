//! The reference's function for [`KeepLargest`], and its arguments as postprocessing.pkl has them.

use std::sync::Arc;

use nnunet_dataset::LabelOrRegion;
use nnunet_pyformats::pickle::{Dict, Value};
use nnunet_volume::Volume;

use super::largest_component::{Classes, KeepLargest};
use super::step::Change;

/// The argument for the classes.
const CLASSES: &str = "labels_or_regions";
/// The argument for the value of removed voxels.
const BACKGROUND: &str = "background_label";

impl KeepLargest {
    /// Module of the reference's function.
    pub(super) const MODULE: &str = "nnunetv2.postprocessing.remove_connected_components";
    /// Name of the reference's function.
    pub(super) const FUNCTION: &str = "remove_all_but_largest_component_from_segmentation";

    /// The arguments for this step. A tuple is one region, a list is several classes taken together.
    pub(super) fn arguments(&self) -> Dict {
        let class = |class: &LabelOrRegion| match class {
            LabelOrRegion::Label(label) => Value::Int(i64::from(*label)),
            LabelOrRegion::Region(labels) => {
                Value::Tuple(labels.iter().map(|&label| Value::Int(i64::from(label))).collect())
            }
        };
        let classes = match &self.classes {
            Classes::One(one) => class(one),
            Classes::Together(all) => Value::List(all.iter().map(class).collect()),
        };
        let mut arguments = Dict::new();
        arguments.insert(CLASSES, classes);
        if self.background != 0 {
            arguments.insert(BACKGROUND, i64::from(self.background));
        }
        arguments
    }

    /// The step for these arguments. postprocessing.json has a list for a region too, which makes no difference: the mask
    /// is the same.
    pub(super) fn from_arguments(arguments: &Dict) -> Result<Self, String> {
        let mut found = None;
        let mut background = 0;
        for (key, value) in arguments.iter() {
            match key.as_str() {
                Some(CLASSES) => found = Some(classes(value).ok_or("labels_or_regions are no labels")?),
                Some(BACKGROUND) => background = label(value).ok_or("background_label is no label")?,
                Some(other) => return Err(format!("argument {other:?} is not known here")),
                None => return Err("arguments are not a dict".to_owned()),
            }
        }
        Ok(Self { classes: found.ok_or("labels_or_regions are missing")?, background })
    }

    /// What the step does.
    pub(super) fn change(self) -> Change {
        Arc::new(move |segmentation: &mut Volume<f32>| self.apply(segmentation))
    }
}

fn label(value: &Value) -> Option<i32> {
    i32::try_from(value.as_i64()?).ok()
}

fn class(value: &Value) -> Option<LabelOrRegion> {
    match label(value) {
        Some(label) => Some(LabelOrRegion::Label(label)),
        None => value.as_sequence()?.iter().map(label).collect::<Option<_>>().map(LabelOrRegion::Region),
    }
}

fn classes(value: &Value) -> Option<Classes> {
    match value {
        Value::List(all) => all.iter().map(class).collect::<Option<_>>().map(Classes::Together),
        one => class(one).map(Classes::One),
    }
}
