//! What a norm takes its statistics over: one channel of one sample, of all samples, or a group of channels.

use std::iter::StepBy;
use std::ops::Range;

use crate::KernelError;
use crate::conv::StatisticsMut;
use crate::error::check_length;
use crate::layout::BlockedShape;

/// The values that share a mean and a variance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NormOver {
    /// Those of one channel of one sample: instance norm.
    Voxels,
    /// Those of one channel of all samples: batch norm.
    Batch,
    /// Those of `channels / groups` consecutive channels of one sample: group norm.
    Groups(usize),
}

impl NormOver {
    /// Checks that the channels of `shape` can be divided.
    ///
    /// # Errors
    /// If a number of groups does not divide the channels.
    pub fn check(self, shape: &BlockedShape) -> Result<(), KernelError> {
        match self {
            Self::Groups(groups) if groups == 0 || !shape.channels.is_multiple_of(groups) => {
                Err(KernelError::Unsupported {
                    what: "number of groups of a norm",
                    found: format!("{groups} for {} channels", shape.channels),
                    supported: "divisors of the number of channels",
                })
            }
            _ => Ok(()),
        }
    }

    /// Number of (sample, channel) vectors that share statistics.
    fn members(self, shape: &BlockedShape) -> usize {
        match self {
            Self::Voxels => 1,
            Self::Batch => shape.batch,
            Self::Groups(groups) => shape.channels / groups,
        }
    }

    /// Values that share statistics.
    pub fn count(self, shape: &BlockedShape) -> usize {
        self.members(shape) * shape.voxels()
    }

    /// For each set of values that share statistics the entries of its members in a per-(sample, padded channel) vector, in the
    /// order in which they are summed. `shape` fits, see [`NormOver::check`].
    pub(crate) fn sets(self, shape: &BlockedShape) -> impl Iterator<Item = StepBy<Range<usize>>> {
        let (batch, channels, padded) = (shape.batch, shape.channels, shape.padded_channels());
        let members = self.members(shape);
        let (outer, inner) = match self {
            Self::Voxels => (batch, channels),
            Self::Batch => (1, channels),
            Self::Groups(groups) => (batch, groups),
        };
        (0..outer * inner).map(move |set| {
            let (sample, first) = (set / inner, set % inner);
            match self {
                Self::Voxels | Self::Groups(_) => {
                    let start = sample * padded + first * members;
                    (start..start + members).step_by(1)
                }
                Self::Batch => (first..batch * padded).step_by(padded),
            }
        })
    }
}

/// From the mean and biased variance of each (sample, channel) to those of the values that share them, in place: every member of a
/// set gets the set's. Nothing changes for [`NormOver::Voxels`].
///
/// # Errors
/// If a length does not fit `shape`, or its channels cannot be divided into the groups.
pub fn merge_statistics(
    shape: &BlockedShape,
    over: NormOver,
    statistics: StatisticsMut<'_>,
) -> Result<(), KernelError> {
    statistics.check(shape)?;
    over.check(shape)?;
    if over == NormOver::Voxels {
        return Ok(());
    }
    let StatisticsMut { mean, variance } = statistics;
    let members = over.members(shape) as f64;
    for set in over.sets(shape) {
        // Members have equally many values.
        let total = set.clone().map(|at| mean[at]).sum::<f64>() / members;
        let spread = set.clone().map(|at| variance[at] + (mean[at] - total).powi(2)).sum::<f64>() / members;
        for at in set {
            (mean[at], variance[at]) = (total, spread);
        }
    }
    Ok(())
}

/// Moves the running statistics of a batch norm (per channel) towards those of a batch, which are per (sample, padded channel)
/// and merged over the batch: `running += momentum * (new - running)`. The running variance is of the unbiased kind.
///
/// # Errors
/// If a length does not fit `shape`.
pub fn update_running(
    shape: &BlockedShape,
    mean: &[f64],
    variance: &[f64],
    momentum: f64,
    running_mean: &mut [f32],
    running_variance: &mut [f32],
) -> Result<(), KernelError> {
    check_length("mean", mean.len(), shape.vector_len())?;
    check_length("variance", variance.len(), shape.vector_len())?;
    check_length("running mean", running_mean.len(), shape.channels)?;
    check_length("running variance", running_variance.len(), shape.channels)?;
    let count = NormOver::Batch.count(shape) as f64;
    let moved = |old: f32, new: f64| (f64::from(old) * (1.0 - momentum) + new * momentum) as f32;
    for channel in 0..shape.channels {
        running_mean[channel] = moved(running_mean[channel], mean[channel]);
        running_variance[channel] =
            moved(running_variance[channel], variance[channel] * count / (count - 1.0));
    }
    Ok(())
}

/// Writes running statistics (per channel) where those of a batch would be, for [`super::scale_shift`]; padding channels get 0.
///
/// # Errors
/// If a length does not fit `shape`.
pub fn use_running(
    shape: &BlockedShape,
    running_mean: &[f32],
    running_variance: &[f32],
    statistics: StatisticsMut<'_>,
) -> Result<(), KernelError> {
    statistics.check(shape)?;
    check_length("running mean", running_mean.len(), shape.channels)?;
    check_length("running variance", running_variance.len(), shape.channels)?;
    for (target, running) in [(statistics.mean, running_mean), (statistics.variance, running_variance)] {
        for sample in target.chunks_exact_mut(shape.padded_channels()) {
            let (channels, padding) = sample.split_at_mut(shape.channels);
            channels.iter_mut().zip(running).for_each(|(target, value)| *target = f64::from(*value));
            padding.fill(0.0);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_cover_every_channel_once() {
        let shape = BlockedShape { batch: 3, channels: 18, spatial: [1, 1, 2] };
        for (over, members) in [(NormOver::Voxels, 1), (NormOver::Batch, 3), (NormOver::Groups(6), 3)] {
            let sets: Vec<Vec<usize>> = over.sets(&shape).map(Iterator::collect).collect();
            assert!(sets.iter().all(|set| set.len() == members), "{over:?}");
            let mut all = sets.concat();
            all.sort_unstable();
            let expected: Vec<usize> =
                (0..3).flat_map(|sample| (0..18).map(move |channel| sample * 32 + channel)).collect();
            assert_eq!(all, expected, "{over:?}");
        }
        assert_eq!(NormOver::Batch.sets(&shape).nth(1).unwrap().collect::<Vec<_>>(), [1, 33, 65]);
        assert_eq!(NormOver::Groups(6).sets(&shape).nth(7).unwrap().collect::<Vec<_>>(), [35, 36, 37]);
    }

    #[test]
    fn groups_that_do_not_divide_are_errors() {
        let shape = BlockedShape { batch: 1, channels: 6, spatial: [1, 1, 2] };
        let (mut mean, mut variance) = ([0.0; 16], [0.0; 16]);
        for groups in [0, 4, 7] {
            let statistics = StatisticsMut { mean: &mut mean, variance: &mut variance };
            let text =
                merge_statistics(&shape, NormOver::Groups(groups), statistics).unwrap_err().to_string();
            assert!(text.contains(&format!("{groups} for 6 channels")), "{text}");
        }
    }

    #[test]
    fn running_statistics_move_and_are_spread() {
        let shape = BlockedShape { batch: 2, channels: 1, spatial: [1, 1, 2] };
        let (mut mean, mut variance) = ([0.0; 32], [0.0; 32]);
        (mean[0], mean[16], variance[0], variance[16]) = (1.0, 3.0, 2.0, 4.0);
        let statistics = StatisticsMut { mean: &mut mean, variance: &mut variance };
        merge_statistics(&shape, NormOver::Batch, statistics).unwrap();
        assert_eq!((mean[0], mean[16], variance[0], variance[16]), (2.0, 2.0, 4.0, 4.0));
        let (mut running_mean, mut running_variance) = ([10.0], [1.0]);
        update_running(&shape, &mean, &variance, 0.25, &mut running_mean, &mut running_variance).unwrap();
        // Four values: the unbiased variance is 16 / 3.
        assert_eq!((running_mean[0], running_variance[0]), (8.0, (0.75 + 4.0_f64 / 3.0) as f32));
        let statistics = StatisticsMut { mean: &mut mean, variance: &mut variance };
        use_running(&shape, &running_mean, &running_variance, statistics).unwrap();
        assert_eq!((mean[0], mean[16], mean[1], mean[17]), (8.0, 8.0, 0.0, 0.0));
    }
}
