//! The merge as published: lists of all cases are joined; largest and smallest value are those of all; every other
//! statistic is the average weighted by cases.
//!
//! The average of standard deviations leaves out how far the means of the sites are apart, and an average of percentiles
//! is no percentile: `exact` does both right.

use nnunet::fingerprint::{Fingerprint, PartialFingerprint, intensity::TOTAL_SAMPLES};

use super::{
    CaseList, DatasetIdentity, Described, Intensity, MergedFingerprint, SiteContent, by_channel, weighted,
};
use crate::error::FederatedError;

/// What a site says: its own fingerprint.
pub(crate) fn describe(fingerprint: &Fingerprint, cases_with_foreground: &[u64]) -> SiteContent {
    let intensities = fingerprint.foreground_intensities.iter().zip(cases_with_foreground);
    SiteContent::Paper {
        cases: CaseList {
            spacings: fingerprint.spacings.clone(),
            shapes: fingerprint.shapes_after_crop.clone(),
        },
        intensities: intensities.map(|(found, cases)| Intensity::new(found, *cases, true)).collect(),
        median_relative_size: fingerprint.median_relative_size_after_cropping,
    }
}

/// How many cases of a site had foreground, by channel: each of them gave the same number of draws.
pub(crate) fn cases_with_foreground(found: &PartialFingerprint) -> Vec<u64> {
    let draws = (TOTAL_SAMPLES / found.cases.len().max(1)).max(1) as u64;
    found.samples.iter().map(|samples| samples.total() / draws).collect()
}

pub(super) fn merge(
    dataset: DatasetIdentity,
    sites: &[Described<'_>],
) -> Result<MergedFingerprint, FederatedError> {
    let mut all = CaseList::default();
    let (mut statistics, mut sizes) = (Vec::new(), Vec::new());
    for site in sites {
        let SiteContent::Paper { cases, intensities, median_relative_size } = &site.fingerprint.content
        else {
            return Err(site.other_form());
        };
        all.spacings.extend(&cases.spacings);
        all.shapes.extend(&cases.shapes);
        let weight = site.fingerprint.dataset.cases as f64;
        statistics.push((weight, &intensities[..]));
        sizes.push((weight, *median_relative_size));
    }
    let intensities = by_channel(&statistics).iter().map(|sites| averaged(sites)).collect();
    Ok(MergedFingerprint { dataset, cases: all, intensities, median_relative_size: weighted(sizes) })
}

fn averaged(sites: &[(f64, &Intensity)]) -> Intensity {
    let mean =
        |value: fn(&Intensity) -> f64| weighted(sites.iter().map(|(weight, site)| (*weight, value(site))));
    let extremes = sites.iter().map(|(_, site)| site.extremes).collect::<Option<Vec<_>>>();
    Intensity {
        mean: mean(|site| site.mean),
        std: mean(|site| site.std),
        median: mean(|site| site.median),
        percentile_00_5: mean(|site| site.percentile_00_5),
        percentile_99_5: mean(|site| site.percentile_99_5),
        extremes: extremes.map(|all| {
            all.iter().fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], [min, max]| {
                [low.min(*min), high.max(*max)]
            })
        }),
        cases: sites.iter().fold(0, |sum: u64, (_, site)| sum.saturating_add(site.cases)),
    }
}
