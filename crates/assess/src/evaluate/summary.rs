//! summary.json: metrics of every case, their means per class, and the mean over the classes.
//!
//! Written as the reference writes it: sorted keys, counts of cases as integers and of means as floats,
//! undefined ratios as bare `NaN`. Means leave NaN out over cases, but not over classes.

use std::path::Path;

use super::EvaluateError;
use super::added::AddedMetrics;
use super::overlap::Overlap;
use nnunet_dataset::LabelOrRegion;
use nnunet_pyformats::json::{Json, KeyOrder};

/// The metrics of a class: of one case, or averaged.
#[derive(Debug, Clone, PartialEq)]
pub struct Metrics {
    /// Dice coefficient.
    pub dice: f64,
    /// Intersection over union.
    pub iou: f64,
    /// Voxels predicted only.
    pub fp: f64,
    /// Voxels in both.
    pub tp: f64,
    /// Voxels in the reference only.
    pub fn_: f64,
    /// Voxels in neither.
    pub tn: f64,
    /// Voxels predicted.
    pub n_pred: f64,
    /// Voxels in the reference.
    pub n_ref: f64,
    /// What was asked for beyond these.
    pub added: AddedMetrics,
}

/// Names in summary.json, in its order.
const NAMES: [&str; 8] = ["Dice", "FN", "FP", "IoU", "TN", "TP", "n_pred", "n_ref"];

impl From<Overlap> for Metrics {
    fn from(overlap: Overlap) -> Self {
        Self {
            dice: overlap.dice(),
            iou: overlap.iou(),
            fp: overlap.fp as f64,
            tp: overlap.tp as f64,
            fn_: overlap.fn_ as f64,
            tn: overlap.tn as f64,
            n_pred: overlap.n_pred() as f64,
            n_ref: overlap.n_ref() as f64,
            added: AddedMetrics::default(),
        }
    }
}

impl Metrics {
    /// Names and values of all metrics: those of the reference in the order of summary.json, then the added ones.
    pub fn all(&self) -> impl Iterator<Item = (&str, f64)> {
        NAMES.into_iter().zip(self.values()).chain(self.added.entries())
    }

    /// The same without the counts of voxels.
    pub(super) fn ratios(&self) -> impl Iterator<Item = (&str, f64)> {
        [("Dice", self.dice), ("IoU", self.iou)].into_iter().chain(self.added.entries())
    }

    fn values(&self) -> [f64; 8] {
        [self.dice, self.fn_, self.fp, self.iou, self.tn, self.tp, self.n_pred, self.n_ref]
    }

    fn from_values([dice, fn_, fp, iou, tn, tp, n_pred, n_ref]: [f64; 8]) -> Self {
        Self { dice, iou, fp, tp, fn_, tn, n_pred, n_ref, added: AddedMetrics::default() }
    }

    /// `counts_as_integers` for single cases.
    fn to_json(&self, counts_as_integers: bool) -> Json {
        Json::object(
            NAMES
                .into_iter()
                .zip(self.values())
                .map(|(name, value)| {
                    let ratio = name == "Dice" || name == "IoU";
                    let value = if counts_as_integers && !ratio {
                        Json::Int(value as i64)
                    } else {
                        Json::Float(value)
                    };
                    (name, value)
                })
                .chain(self.added.entries().map(|(name, value)| (name, Json::Float(value)))),
        )
    }

    fn from_json(json: &Json) -> Option<Self> {
        let mut values = [0.0; 8];
        for (value, name) in values.iter_mut().zip(NAMES) {
            *value = json.get(name)?.as_f64()?;
        }
        Some(Self { added: AddedMetrics::from_json(json, &NAMES), ..Self::from_values(values) })
    }

    /// The mean of each metric of `all`, taken by `mean`.
    fn mean(all: &[&Metrics], mean: fn(&[f64]) -> f64) -> Self {
        let values: Vec<_> = all.iter().map(|metrics| metrics.values()).collect();
        let mut means = [0.0; 8];
        for (i, slot) in means.iter_mut().enumerate() {
            *slot = mean(&values.iter().map(|v| v[i]).collect::<Vec<_>>());
        }
        let added = AddedMetrics::mean(all.iter().map(|metrics| &metrics.added), mean);
        Self { added, ..Self::from_values(means) }
    }
}

/// The metrics of one case.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseMetrics {
    /// The reference segmentation.
    pub reference_file: String,
    /// The evaluated segmentation.
    pub prediction_file: String,
    /// Per class, in the order asked for.
    pub metrics: Vec<(LabelOrRegion, Metrics)>,
}

/// An evaluated set of cases.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Every case, in the order of the files.
    pub metric_per_case: Vec<CaseMetrics>,
    /// Per class, averaged over the cases where the metric is defined.
    pub mean: Vec<(LabelOrRegion, Metrics)>,
    /// Averaged over the classes but background.
    pub foreground_mean: Metrics,
    /// What was asked for beyond metrics of cases, each under a key of its own.
    pub sections: Vec<(String, Json)>,
}

/// Keys of the parts that every summary has.
const PARTS: [&str; 3] = ["foreground_mean", "mean", "metric_per_case"];

impl Summary {
    /// Averages cases that all have the same classes.
    pub fn new(metric_per_case: Vec<CaseMetrics>) -> Self {
        let classes = metric_per_case.first().map_or(0, |case| case.metrics.len());
        let mean: Vec<_> = (0..classes)
            .map(|i| {
                let all: Vec<_> =
                    metric_per_case.iter().filter_map(|case| case.metrics.get(i)).map(|m| &m.1).collect();
                (metric_per_case[0].metrics[i].0.clone(), Metrics::mean(&all, mean_of_defined))
            })
            .collect();
        let foreground: Vec<_> =
            mean.iter().filter(|(class, _)| *class != LabelOrRegion::Label(0)).map(|m| &m.1).collect();
        let foreground_mean = Metrics::mean(&foreground, |values| pairwise_sum(values) / values.len() as f64);
        Self { metric_per_case, mean, foreground_mean, sections: Vec::new() }
    }

    /// The same summary for predictions that lie in `folder`, under the same names.
    pub fn with_predictions_in(mut self, folder: &Path) -> Self {
        for case in &mut self.metric_per_case {
            let name = Path::new(&case.prediction_file).file_name().unwrap_or_default();
            case.prediction_file = folder.join(name).display().to_string();
        }
        self
    }

    /// The mean Dice of a class.
    pub fn mean_dice(&self, class: &LabelOrRegion) -> Option<f64> {
        self.mean.iter().find(|(c, _)| c == class).map(|(_, metrics)| metrics.dice)
    }

    /// The document.
    pub fn to_json(&self) -> Json {
        let classes = |metrics: &[(LabelOrRegion, Metrics)], integers| {
            Json::object(metrics.iter().map(|(class, metrics)| (class.key(), metrics.to_json(integers))))
        };
        let cases = self.metric_per_case.iter().map(|case| {
            Json::object([
                ("metrics", classes(&case.metrics, true)),
                ("prediction_file", case.prediction_file.as_str().into()),
                ("reference_file", case.reference_file.as_str().into()),
            ])
        });
        let parts =
            [self.foreground_mean.to_json(false), classes(&self.mean, false), Json::Array(cases.collect())];
        let sections = self.sections.iter().map(|(key, section)| (key.clone(), section.clone()));
        Json::object(PARTS.map(str::to_owned).into_iter().zip(parts).chain(sections))
    }

    /// Writes summary.json.
    pub fn save(&self, path: &Path) -> Result<(), EvaluateError> {
        Ok(self.to_json().save(path, KeyOrder::Sorted)?)
    }

    /// Reads a summary.json, ours or the reference's.
    pub fn load(path: &Path) -> Result<Self, EvaluateError> {
        let document = Json::load(path)?;
        Self::from_json(&document).ok_or_else(|| EvaluateError::NoSummary { path: path.to_owned() })
    }

    fn from_json(document: &Json) -> Option<Self> {
        let classes = |json: &Json| -> Option<Vec<(LabelOrRegion, Metrics)>> {
            json.as_object()?
                .iter()
                .map(|(key, metrics)| Some((LabelOrRegion::from_key(key)?, Metrics::from_json(metrics)?)))
                .collect()
        };
        let case = |json: &Json| {
            Some(CaseMetrics {
                reference_file: json.get("reference_file")?.as_str()?.to_owned(),
                prediction_file: json.get("prediction_file")?.as_str()?.to_owned(),
                metrics: classes(json.get("metrics")?)?,
            })
        };
        Some(Self {
            metric_per_case: document
                .get("metric_per_case")?
                .as_array()?
                .iter()
                .map(case)
                .collect::<Option<_>>()?,
            mean: classes(document.get("mean")?)?,
            foreground_mean: Metrics::from_json(document.get("foreground_mean")?)?,
            sections: document
                .as_object()?
                .iter()
                .filter(|(key, _)| !PARTS.contains(&key.as_str()))
                .map(|(key, section)| (key.clone(), section.clone()))
                .collect(),
        })
    }
}

/// `numpy.nanmean`: NaN is left out; NaN if nothing is left.
fn mean_of_defined(values: &[f64]) -> f64 {
    let defined = values.iter().filter(|v| !v.is_nan()).count();
    let filled: Vec<f64> = values.iter().map(|v| if v.is_nan() { 0.0 } else { *v }).collect();
    pairwise_sum(&filled) / defined as f64
}

/// NumPy's order of summation, so that means are equal to the last bit.
pub(crate) fn pairwise_sum(values: &[f64]) -> f64 {
    let n = values.len();
    if n < 8 {
        return values.iter().fold(0.0, |sum, v| sum + v);
    }
    if n <= 128 {
        let mut lanes = [0.0; 8];
        lanes.copy_from_slice(&values[..8]);
        let blocks = values[8..].chunks_exact(8);
        let rest = blocks.remainder();
        for block in blocks {
            for (lane, v) in lanes.iter_mut().zip(block) {
                *lane += v;
            }
        }
        let [a, b, c, d, e, f, g, h] = lanes;
        let sum = ((a + b) + (c + d)) + ((e + f) + (g + h));
        return rest.iter().fold(sum, |sum, v| sum + v);
    }
    let half = n / 2 - n / 2 % 8;
    pairwise_sum(&values[..half]) + pairwise_sum(&values[half..])
}
