//! Federated fingerprints: what each site says of its data, and one fingerprint of all.
//!
//! [`FingerprintForm`](crate::FingerprintForm) chooses among three forms. `exact` is a central extraction, `paper` that of
//! FednnU-Net, `private` an approximation from a few numbers of each site.

mod exact;
mod paper;
mod private;

use std::collections::BTreeMap;

use nnunet::checkpoint::StateDict;
use nnunet::dataset::DatasetJson;
use nnunet::fingerprint::{Fingerprint, FingerprintError, IntensityStatistics};
use serde::{Deserialize, Serialize};

use crate::error::FederatedError;
use crate::message::Message;

pub(crate) use exact::describe as describe_exactly;
pub(crate) use paper::{cases_with_foreground, describe as describe_as_published};
pub(crate) use private::describe as describe_privately;

/// What has to be the same at all sites, and how much data there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetIdentity {
    /// Names of the channels, in order.
    pub channels: Vec<String>,
    /// Labels and regions with their values, in order.
    pub labels: Vec<(String, Vec<i32>)>,
    /// Training cases.
    pub cases: usize,
}

impl DatasetIdentity {
    /// That of a dataset with so many training cases.
    pub(crate) fn new(json: &DatasetJson, cases: usize) -> Self {
        Self {
            channels: json.channel_names.values().cloned().collect(),
            labels: json.labels.iter().map(|(name, value)| (name.clone(), value.values().to_vec())).collect(),
            cases,
        }
    }

    /// All of them together.
    ///
    /// # Errors
    /// Sites with other channels or labels.
    pub(crate) fn total<'a>(
        sites: impl IntoIterator<Item = (&'a str, &'a Self)>,
    ) -> Result<Self, FederatedError> {
        let mut sites = sites.into_iter();
        let Some((first, identity)) = sites.next() else { return Err(FederatedError::NothingShared) };
        let mut total = identity.clone();
        for (site, found) in sites {
            let differ = |what: &str, found: String, expected: String| FederatedError::SitesDiffer {
                site: site.to_owned(),
                what: what.to_owned(),
                found,
                other: first.to_owned(),
                expected,
            };
            if found.channels != total.channels {
                return Err(differ(
                    "channel_names",
                    format!("{:?}", found.channels),
                    format!("{:?}", total.channels),
                ));
            }
            if found.labels != total.labels {
                return Err(differ("labels", format!("{:?}", found.labels), format!("{:?}", total.labels)));
            }
            total.cases = total.cases.saturating_add(found.cases);
        }
        Ok(total)
    }
}

/// What a site says of its data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteFingerprint {
    /// Channels, labels, number of cases.
    pub dataset: DatasetIdentity,
    /// What they look like.
    pub content: SiteContent,
}

/// What the data of a site look like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "form", content = "of", rename_all = "lowercase", deny_unknown_fields)]
pub enum SiteContent {
    /// Every case, and statistics of the intensities.
    Paper {
        /// Spacings and shapes.
        cases: CaseList,
        /// Of each channel.
        intensities: Vec<Intensity>,
        /// Median of voxels after / before cropping.
        median_relative_size: f64,
    },
    /// Every case; the tensors of the message are how often each intensity was drawn.
    Exact {
        /// Spacings and shapes.
        cases: CaseList,
        /// Voxels after / before cropping of each case.
        relative_sizes: Vec<f64>,
        /// Cases that share the 10^8 draws: those of all sites.
        sharing_cases: usize,
    },
    /// Quantiles of the cases, and statistics of the intensities without extremes.
    Private {
        /// Spacing of each axis in mm.
        spacing: Axes<Quantiles>,
        /// Median number of voxels along each axis after cropping.
        median_shape: Axes<f64>,
        /// Of each channel.
        intensities: Vec<Intensity>,
        /// Median of voxels after / before cropping.
        median_relative_size: f64,
    },
}

/// Spacing in mm and shape after cropping of cases, axes (z, y, x).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseList {
    /// Spacing of each case in mm.
    pub spacings: Vec<[f64; 3]>,
    /// Shape of each case in voxels.
    pub shapes: Vec<[usize; 3]>,
}

/// A value of each axis (z, y, x).
pub type Axes<T> = [T; 3];

/// Quantiles that the planner uses.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantiles {
    /// The median.
    pub median: f64,
    /// The 10th percentile.
    pub tenth: f64,
}

/// Statistics of a channel's foreground.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intensity {
    /// Mean.
    pub mean: f64,
    /// Standard deviation, divided by n.
    pub std: f64,
    /// Median.
    pub median: f64,
    /// 0.5th percentile.
    pub percentile_00_5: f64,
    /// 99.5th percentile.
    pub percentile_99_5: f64,
    /// Smallest and largest value, which are those of single voxels.
    pub extremes: Option<[f64; 2]>,
    /// Cases with foreground.
    pub cases: u64,
}

impl Intensity {
    fn new(found: &IntensityStatistics, cases: u64, extremes: bool) -> Self {
        Self {
            mean: found.mean,
            std: found.std,
            median: found.median,
            percentile_00_5: found.percentile_00_5,
            percentile_99_5: found.percentile_99_5,
            extremes: extremes.then_some([found.min, found.max]),
            cases,
        }
    }

    fn statistics(&self) -> IntensityStatistics {
        let [min, max] = self.extremes.unwrap_or([self.percentile_00_5, self.percentile_99_5]);
        IntensityStatistics {
            max,
            mean: self.mean,
            median: self.median,
            min,
            percentile_00_5: self.percentile_00_5,
            percentile_99_5: self.percentile_99_5,
            std: self.std,
        }
    }
}

/// What the data of all sites look like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MergedFingerprint {
    /// Channels, labels, number of all cases.
    pub dataset: DatasetIdentity,
    /// Spacings and shapes that plans are made from.
    pub cases: CaseList,
    /// Of each channel.
    pub intensities: Vec<Intensity>,
    /// Median of voxels after / before cropping.
    pub median_relative_size: f64,
}

impl MergedFingerprint {
    fn new(dataset: DatasetIdentity, fingerprint: &Fingerprint) -> Self {
        Self {
            dataset,
            cases: CaseList {
                spacings: fingerprint.spacings.clone(),
                shapes: fingerprint.shapes_after_crop.clone(),
            },
            intensities: fingerprint
                .foreground_intensities
                .iter()
                .map(|s| Intensity::new(s, 0, true))
                .collect(),
            median_relative_size: fingerprint.median_relative_size_after_cropping,
        }
    }

    /// As `dataset_fingerprint.json` has it.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint {
            spacings: self.cases.spacings.clone(),
            shapes_after_crop: self.cases.shapes.clone(),
            foreground_intensities: self.intensities.iter().map(Intensity::statistics).collect(),
            median_relative_size_after_cropping: self.median_relative_size,
        }
    }
}

/// One fingerprint of those of all sites.
///
/// # Errors
/// Sites with other channels or labels, or fingerprints of another form; numbers that contradict each other.
pub(crate) fn merge(sites: &[Message]) -> Result<MergedFingerprint, FederatedError> {
    let mut described = Vec::new();
    for message in sites {
        let crate::Body::Fingerprint(fingerprint) = &message.body else { continue };
        described.push(Described { site: &message.sender, fingerprint, tensors: &message.tensors });
    }
    for site in &described {
        site.check()?;
    }
    let dataset =
        DatasetIdentity::total(described.iter().map(|site| (site.site, &site.fingerprint.dataset)))?;
    let merged = match described.first().map(|site| &site.fingerprint.content) {
        Some(SiteContent::Exact { .. }) => exact::merge(dataset, &described),
        Some(SiteContent::Private { .. }) => private::merge(dataset, &described),
        Some(SiteContent::Paper { .. }) | None => paper::merge(dataset, &described),
    }?;
    // Averages over no cases are no numbers.
    let is_number = |found: &Intensity| found.mean.is_finite() && found.std.is_finite();
    if merged.intensities.iter().all(is_number) {
        Ok(merged)
    } else {
        Err(FingerprintError::NoForeground.into())
    }
}

/// A site with what it says of its data.
pub(crate) struct Described<'a> {
    site: &'a str,
    fingerprint: &'a SiteFingerprint,
    tensors: &'a StateDict,
}

impl Described<'_> {
    fn error(&self, problem: String) -> FederatedError {
        FederatedError::Refused { path: self.site.into(), problem }
    }

    fn other_form(&self) -> FederatedError {
        self.error("its fingerprint has another form than those of the other sites".to_owned())
    }

    /// Checks that numbers of cases and channels agree.
    fn check(&self) -> Result<(), FederatedError> {
        let SiteFingerprint { dataset, content } = self.fingerprint;
        let (channels, mut lists) = match content {
            SiteContent::Paper { cases, intensities, .. } => {
                (intensities.len(), vec![cases.spacings.len(), cases.shapes.len()])
            }
            SiteContent::Exact { cases, relative_sizes, .. } => {
                (self.tensors.len(), vec![cases.spacings.len(), cases.shapes.len(), relative_sizes.len()])
            }
            SiteContent::Private { intensities, .. } => (intensities.len(), Vec::new()),
        };
        lists.retain(|length| *length != dataset.cases);
        if let Some(found) = lists.first() {
            return Err(self.error(format!("a list of {found} entries for {} cases", dataset.cases)));
        }
        if dataset.cases == 0 || channels != dataset.channels.len() {
            return Err(self.error(format!(
                "intensities of {channels} channels and {} cases; expected {} channels, and at least one case",
                dataset.cases,
                dataset.channels.len()
            )));
        }
        Ok(())
    }
}

/// Averages of statistics, weighted by the cases of the sites: `w_k v_k / W`.
fn weighted(values: impl IntoIterator<Item = (f64, f64)>) -> f64 {
    let (mut sum, mut weights) = (0.0, 0.0);
    for (weight, value) in values {
        sum += weight * value;
        weights += weight;
    }
    sum / weights
}

/// Statistics of each channel at all sites, if they are of this many channels.
fn by_channel<'a>(sites: &[(f64, &'a [Intensity])]) -> Vec<Vec<(f64, &'a Intensity)>> {
    let mut channels: BTreeMap<usize, Vec<(f64, &Intensity)>> = BTreeMap::new();
    for (weight, intensities) in sites {
        for (channel, intensity) in intensities.iter().enumerate() {
            channels.entry(channel).or_default().push((*weight, intensity));
        }
    }
    channels.into_values().collect()
}
