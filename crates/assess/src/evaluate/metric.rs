//! What a metric is, and the metrics by name.
//!
//! A metric is chosen as `NAME` or `NAME@ARGUMENT` (`nsd@2`: surface Dice at 2 mm). A built-in one is a file in
//! [`mod@super::metrics`] and a line in [`metrics`]; one of your own is registered by name with the same table.

use std::fmt::Debug;
use std::sync::Arc;

use nnunet_base::parts::{Named, UnknownName};
use nnunet_pyformats::json::Json;

use super::case::ClassCase;
use super::metrics::{Betti, Calibration, ClDice, Lesions, PanopticQuality, Surface, Volumes, VoxelSurface};

/// A measure of one class in one case.
pub trait Metric: Debug + Send + Sync {
    /// The keys of its values in summary.json, the same for all cases and classes.
    fn keys(&self) -> Vec<String>;

    /// The values, in the order of the keys; NaN where one is not defined.
    ///
    /// # Errors
    /// What the metric needs is missing or damaged. The text names the file; the case counts as NaN.
    fn measure(&self, case: &ClassCase<'_>) -> Result<Vec<f64>, String>;

    /// Whether its values depend on the size of a voxel.
    fn uses_spacing(&self) -> bool {
        true
    }

    /// Bytes per voxel that it needs at most beside the images, with what is kept of a class for several metrics.
    fn bytes_per_voxel(&self) -> u64 {
        32
    }

    /// Counts of one case that are summed over all cases for [`Metric::pooled`], all of one length.
    ///
    /// # Errors
    /// As [`Metric::measure`].
    fn counts(&self, _case: &ClassCase<'_>) -> Result<Vec<f64>, String> {
        Ok(Vec::new())
    }

    /// A section of summary.json made of a class's summed counts: its name, and what the class has there.
    fn pooled(&self, _counts: &[f64]) -> Option<(String, Json)> {
        None
    }
}

/// Makes a metric from the text behind the `@` of its choice, if there is one.
pub type MetricBuilder = Arc<dyn Fn(Option<&str>) -> Result<Arc<dyn Metric>, String> + Send + Sync>;

type Build = fn(Option<&str>) -> Result<Arc<dyn Metric>, String>;

/// Name, summary and builder of each built-in metric.
#[rustfmt::skip]
const BUILT_IN: [(&str, &str, Build); 13] = [
    ("hd", "Hausdorff distance (mm)", Surface::hausdorff),
    ("hd95", "95th percentile of the Hausdorff distance (mm)", Surface::hausdorff_95),
    ("assd", "average symmetric surface distance (mm)", Surface::assd),
    ("masd", "mean of the two average surface distances (mm)", Surface::masd),
    ("nsd", "surface Dice at a tolerance in mm: nsd@2 (default 1)", Surface::nsd),
    ("lesions", "lesion-wise scores of BraTS 2023; lesions@met for another track", Lesions::build),
    ("pq", "panoptic quality of components; pq@0.3 for another IoU (default 0.5)", PanopticQuality::build),
    ("cldice", "centreline Dice of tubes", ClDice::build),
    ("betti", "errors of the Betti numbers: components, tunnels, cavities", Betti::build),
    ("ece", "expected calibration error; ece@20 for 20 bins (default 15); needs .npz", Calibration::ece),
    ("brier", "Brier score; needs .npz", Calibration::brier),
    ("voxel_surface", "HD95, ASSD and NSD at 1 mm between centres of voxels", VoxelSurface::build),
    ("volumes", "volumes and their errors in ml", Volumes::build),
];

/// The built-in metrics.
pub fn metrics() -> Named<MetricBuilder> {
    BUILT_IN.into_iter().fold(Named::new("metric"), |known, (name, summary, build)| {
        known.with(name, summary, Arc::new(build))
    })
}

/// A choice of metrics that cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricError {
    /// No metric has this name.
    #[error(transparent)]
    Unknown(#[from] UnknownName),
    /// The text behind the `@` does not fit.
    #[error("metric {choice:?}: {problem}")]
    Argument {
        /// The metric as it was chosen.
        choice: String,
        /// What was expected.
        problem: String,
    },
}

/// The metrics that `choices` name (`hd95`, `nsd@2`, several in one text with commas), each once.
///
/// # Errors
/// The first choice that cannot be made.
pub fn choose<'a>(
    choices: impl IntoIterator<Item = &'a str>,
    known: &Named<MetricBuilder>,
) -> Result<Vec<Arc<dyn Metric>>, MetricError> {
    let mut chosen: Vec<&str> = Vec::new();
    let mut metrics = Vec::new();
    for choice in choices.into_iter().flat_map(|text| text.split(',')).map(str::trim) {
        if choice.is_empty() || chosen.contains(&choice) {
            continue;
        }
        let (name, argument) = choice.split_once('@').map_or((choice, None), |(name, at)| (name, Some(at)));
        let built = known.get(name)?(argument);
        metrics.push(built.map_err(|problem| MetricError::Argument { choice: choice.to_owned(), problem })?);
        chosen.push(choice);
    }
    Ok(metrics)
}

/// For metrics that take no argument.
pub(super) fn no_argument(argument: Option<&str>) -> Result<(), String> {
    match argument {
        None => Ok(()),
        Some(found) => Err(format!("found {found:?} behind the @, but this metric takes no argument")),
    }
}

/// The number behind the `@`, if there is one, which has to be `valid`; `expected` says what that is.
pub(super) fn number(
    argument: Option<&str>,
    default: f64,
    expected: &str,
    valid: impl Fn(f64) -> bool,
) -> Result<f64, String> {
    let Some(text) = argument else { return Ok(default) };
    let number = text.trim().parse().ok().filter(|&number: &f64| number.is_finite() && valid(number));
    number.ok_or_else(|| format!("found {text:?} behind the @, expected {expected}"))
}

/// `name` as it was chosen: `nsd@2`, or without the argument `nsd`.
pub(super) fn key(name: &str, argument: Option<&str>) -> String {
    argument.map_or_else(|| name.to_owned(), |argument| format!("{name}@{}", argument.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_chosen_by_name_and_argument_once() {
        let chosen = choose(["hd95,nsd@2", "nsd@0.5", " hd95 "], &metrics()).unwrap();
        let keys: Vec<_> = chosen.iter().flat_map(|metric| metric.keys()).collect();
        assert_eq!(keys, ["hd95", "nsd@2", "nsd@0.5"]);
    }

    #[test]
    fn choices_that_cannot_be_made_say_what_can() {
        let error = |choice| choose([choice], &metrics()).unwrap_err().to_string();
        let unknown = error("hd59");
        assert!(unknown.starts_with("metric \"hd59\" is not known (did you mean hd"), "{unknown}");
        assert!(unknown.contains("; known: hd"), "{unknown}");
        assert_eq!(
            error("nsd@-1"),
            "metric \"nsd@-1\": found \"-1\" behind the @, expected a tolerance in mm, 0 or more"
        );
        assert_eq!(
            error("hd@2"),
            "metric \"hd@2\": found \"2\" behind the @, but this metric takes no argument"
        );
        assert!(error("lesions@mett").contains("did you mean met?"), "{}", error("lesions@mett"));
    }

    #[derive(Debug)]
    struct Reached;

    impl Metric for Reached {
        fn keys(&self) -> Vec<String> {
            vec!["reached".into()]
        }

        fn measure(&self, case: &ClassCase<'_>) -> Result<Vec<f64>, String> {
            Ok(vec![f64::from(case.overlap().tp > 0)])
        }
    }

    #[test]
    fn metrics_of_your_own_are_registered() {
        let mut known = metrics();
        known
            .register(
                "reached",
                "whether anything was hit",
                Arc::new(|_: Option<&str>| Ok(Arc::new(Reached) as _)),
            )
            .unwrap();
        assert_eq!(choose(["reached"], &known).unwrap()[0].keys(), ["reached"]);
    }
}
