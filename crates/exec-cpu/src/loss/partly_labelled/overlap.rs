//! The mean or the sum of a score over those classes of those samples that take part in it.

use crate::loss::overlap::{ClassDerivatives, ClassSums, Score};

/// How sums of samples and classes become one value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Joined {
    /// Sums of a class over the batch instead of each sample for itself.
    pub(super) batch: bool,
    /// The sum over classes instead of the mean over all that take part.
    pub(super) summed: bool,
}

/// The value of `score` over `sums` (sample-major, class-minor), and its derivatives; those for which `takes_part(sample,
/// class)` does not hold count nowhere and have derivatives of 0.
pub(super) fn joined_overlap(
    sums: &[ClassSums],
    classes: usize,
    joined: Joined,
    takes_part: impl Fn(usize, usize) -> bool,
    score: impl Fn(ClassSums) -> Score,
) -> (f64, Vec<ClassDerivatives>) {
    let samples = sums.len() / classes.max(1);
    let mut groups: Vec<(usize, Vec<usize>)> = Vec::new();
    for class in 0..classes {
        let members = (0..samples).filter(|&sample| takes_part(sample, class));
        if joined.batch {
            groups.push((class, members.collect()));
        } else {
            groups.extend(members.map(|sample| (class, vec![sample])));
        }
    }
    groups.retain(|(_, members)| !members.is_empty());
    let share = if joined.summed { 1.0 } else { 1.0 / groups.len().max(1) as f64 };
    let mut value = 0.0;
    let mut derivatives = vec![ClassDerivatives::default(); sums.len()];
    for (class, members) in groups {
        let mut total = ClassSums::default();
        members.iter().for_each(|sample| total.add(sums[sample * classes + class]));
        let score = score(total);
        value += score.value * share;
        for sample in members {
            derivatives[sample * classes + class] = ClassDerivatives {
                intersection: score.by_intersection * share,
                predicted: score.by_predicted * share,
            };
        }
    }
    (value, derivatives)
}
