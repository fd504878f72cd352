//! The merge that equals a central extraction, to the bit but for the order of cases.
//!
//! The reference draws 10^8 / N foreground voxels of each of N cases, with a generator that is seeded anew for every case.
//! Sites that know the number of all cases draw exactly what a central extraction would. They send the distinct values with
//! their counts, and every statistic, percentiles included, follows from the sums of the counts. That is the distribution of
//! a site's foreground intensities, and a list of its spacings and shapes: more than `private` tells of the site.
//!
//! A channel's tensor has shape (3, distinct values): value, and count as high * 65536 + low, since tensors hold f32.

use nnunet::checkpoint::StateDict;
use nnunet::fingerprint::intensity::Samples;
use nnunet::fingerprint::{CaseFacts, PartialFingerprint, merge as merge_parts};
use nnunet::graph::optimiser::StateTensor;
use nnunet::volume::SpacingMm;

use super::{CaseList, DatasetIdentity, Described, MergedFingerprint, SiteContent};
use crate::error::FederatedError;

const HIGH: u32 = 1 << 16;

/// What a site says of its cases, which were drawn for `sharing_cases`.
pub(crate) fn describe(found: &PartialFingerprint, sharing_cases: usize) -> (SiteContent, StateDict) {
    let mut tensors = StateDict::new();
    for (channel, samples) in found.samples.iter().enumerate() {
        let counts = || samples.counts();
        let mut data: Vec<f32> = counts().map(|(value, _)| value).collect();
        data.extend(counts().map(|(_, count)| (count / HIGH) as f32));
        data.extend(counts().map(|(_, count)| (count % HIGH) as f32));
        tensors.insert(&key(channel), StateTensor { shape: vec![3, counts().len()], data });
    }
    let content = SiteContent::Exact {
        cases: CaseList {
            spacings: found.cases.iter().map(|case| case.spacing.along_axes()).collect(),
            shapes: found.cases.iter().map(|case| case.shape_after_crop).collect(),
        },
        relative_sizes: found.cases.iter().map(|case| case.relative_size).collect(),
        sharing_cases,
    };
    (content, tensors)
}

fn key(channel: usize) -> String {
    format!("channel_{channel}")
}

pub(super) fn merge(
    dataset: DatasetIdentity,
    sites: &[Described<'_>],
) -> Result<MergedFingerprint, FederatedError> {
    let parts = sites.iter().map(|site| part(site, dataset.cases)).collect::<Result<_, _>>()?;
    Ok(MergedFingerprint::new(dataset, &merge_parts(parts)?))
}

/// What a site has found.
fn part(site: &Described<'_>, all_cases: usize) -> Result<PartialFingerprint, FederatedError> {
    let SiteContent::Exact { cases, relative_sizes, sharing_cases } = &site.fingerprint.content else {
        return Err(site.other_form());
    };
    if *sharing_cases != all_cases {
        return Err(site.error(format!(
            "its intensities were drawn for {sharing_cases} cases, but the sites have {all_cases}; take the fingerprint again"
        )));
    }
    let facts = cases.spacings.iter().zip(&cases.shapes).zip(relative_sizes);
    let facts = facts.map(|((&spacing, &shape_after_crop), &relative_size)| CaseFacts {
        spacing: SpacingMm::new(spacing),
        shape_after_crop,
        relative_size,
    });
    let samples = (0..site.fingerprint.dataset.channels.len()).map(|channel| {
        let tensor = site.tensors.get(&key(channel)).filter(|t| t.shape.len() == 2 && t.shape[0] == 3);
        tensor
            .and_then(samples_of)
            .ok_or_else(|| site.error(format!("tensor {} is missing or no list of counts", key(channel))))
    });
    Ok(PartialFingerprint { cases: facts.collect(), samples: samples.collect::<Result<_, _>>()? })
}

fn samples_of(tensor: &StateTensor) -> Option<Samples> {
    let distinct = tensor.shape[1];
    let digit =
        |value: f32| (value >= 0.0 && value < HIGH as f32 && value.fract() == 0.0).then_some(value as u32);
    let counts = (0..distinct).map(|at| {
        let count = digit(tensor.data[distinct + at])? * HIGH + digit(tensor.data[2 * distinct + at])?;
        // Each value that is listed was drawn.
        (count > 0).then_some((tensor.data[at], count))
    });
    counts.collect::<Option<Vec<_>>>().map(Samples::from_counts)
}
