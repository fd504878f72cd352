//! A merge of quantiles: a site tells the few numbers that planner and CT normalisation use, nothing of a single case, and
//! neither smallest nor largest intensity.
//!
//! Merged medians and percentiles are averages weighted by cases, which is exact where sites are alike and an approximation
//! where they differ. Mean and standard deviation are exact up to the draws: the variance has the term between sites,
//! `sum n_k (s_k^2 + (m_k - m)^2) / sum n_k`, with the cases n_k that have foreground. In place of the extremes of the
//! intensities stand the 0.5th and 99.5th percentile.

use nnunet::fingerprint::Fingerprint;
use nnunet::plan::{median, percentile};

use super::{
    Axes, CaseList, DatasetIdentity, Described, Intensity, MergedFingerprint, Quantiles, SiteContent,
    by_channel, weighted,
};
use crate::error::FederatedError;

/// Cases that stand for all: of eleven values, the second is the 10th percentile and the sixth the median.
const STANDING_FOR_ALL: usize = 11;

/// What a site says: quantiles of its own fingerprint.
pub(crate) fn describe(fingerprint: &Fingerprint, cases_with_foreground: &[u64]) -> SiteContent {
    let spacing = [0, 1, 2].map(|axis| {
        let values: Vec<f64> = fingerprint.spacings.iter().map(|spacing| spacing[axis]).collect();
        Quantiles { median: percentile(&values, 50.0), tenth: percentile(&values, 10.0) }
    });
    let median_shape = [0, 1, 2].map(|axis| {
        median(&fingerprint.shapes_after_crop.iter().map(|shape| shape[axis] as f64).collect::<Vec<_>>())
    });
    let intensities = fingerprint.foreground_intensities.iter().zip(cases_with_foreground);
    SiteContent::Private {
        spacing,
        median_shape,
        intensities: intensities.map(|(found, cases)| Intensity::new(found, *cases, false)).collect(),
        median_relative_size: fingerprint.median_relative_size_after_cropping,
    }
}

pub(super) fn merge(
    dataset: DatasetIdentity,
    sites: &[Described<'_>],
) -> Result<MergedFingerprint, FederatedError> {
    let (mut spacings, mut shapes) = (Vec::new(), Vec::new());
    let (mut statistics, mut sizes) = (Vec::new(), Vec::new());
    for site in sites {
        let SiteContent::Private { spacing, median_shape, intensities, median_relative_size } =
            &site.fingerprint.content
        else {
            return Err(site.other_form());
        };
        let weight = site.fingerprint.dataset.cases as f64;
        spacings.push((weight, spacing));
        shapes.push((weight, median_shape));
        statistics.push((weight, &intensities[..]));
        sizes.push((weight, *median_relative_size));
    }
    let of_axes = |value: &dyn Fn(&Axes<Quantiles>, usize) -> f64| {
        [0, 1, 2]
            .map(|axis| weighted(spacings.iter().map(|(weight, spacing)| (*weight, value(spacing, axis)))))
    };
    let (medians, tenths) = (of_axes(&|s, axis| s[axis].median), of_axes(&|s, axis| s[axis].tenth));
    let shape = [0, 1, 2].map(|axis| {
        let mean = weighted(shapes.iter().map(|(weight, shape)| (*weight, shape[axis])));
        mean.round_ties_even().clamp(0.0, 1e9) as usize
    });
    let mut cases =
        CaseList { spacings: vec![medians; STANDING_FOR_ALL], shapes: vec![shape; STANDING_FOR_ALL] };
    cases.spacings[..2].fill([0, 1, 2].map(|axis| tenths[axis].min(medians[axis])));
    Ok(MergedFingerprint {
        dataset,
        cases,
        intensities: by_channel(&statistics).iter().map(|sites| pooled(sites)).collect(),
        median_relative_size: weighted(sizes),
    })
}

fn pooled(sites: &[(f64, &Intensity)]) -> Intensity {
    let pooled = |value: &dyn Fn(&Intensity) -> f64| {
        weighted(sites.iter().map(|(_, site)| (site.cases as f64, value(site))))
    };
    let mean = pooled(&|site| site.mean);
    Intensity {
        mean,
        std: pooled(&|site| site.std.powi(2) + (site.mean - mean).powi(2)).sqrt(),
        median: pooled(&|site| site.median),
        percentile_00_5: pooled(&|site| site.percentile_00_5),
        percentile_99_5: pooled(&|site| site.percentile_99_5),
        extremes: None,
        cases: sites.iter().fold(0, |sum: u64, (_, site)| sum.saturating_add(site.cases)),
    }
}
