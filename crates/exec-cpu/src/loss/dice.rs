//! Losses of sums over the voxels of each class: values, and derivatives with respect to those sums.

/// Smallest denominator.
const CLAMP: f64 = 1e-8;

/// Sums over the voxels of one class, of one sample or of the batch.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct ClassSums {
    /// Predicted probability where the class is.
    pub(super) intersection: f64,
    /// Predicted probability.
    pub(super) predicted: f64,
    /// Voxels of the class.
    pub(super) reference: f64,
}

impl ClassSums {
    pub(super) fn add(&mut self, other: Self) {
        self.intersection += other.intersection;
        self.predicted += other.predicted;
        self.reference += other.reference;
    }
}

/// Derivatives of a loss with respect to the sums of one class.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct ClassDerivatives {
    pub(super) intersection: f64,
    pub(super) predicted: f64,
}

/// Which sums a loss joins: those of the classes from `first_class` on, of the batch as a whole or of each sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Groups {
    pub(super) classes: usize,
    pub(super) first_class: usize,
    pub(super) batch: bool,
}

/// A function of the sums of one class, to minimise, and its derivatives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Score {
    pub(super) value: f64,
    pub(super) by_intersection: f64,
    pub(super) by_predicted: f64,
}

/// Minus the soft Dice.
pub(super) fn dice_score(sums: ClassSums, smooth: f64) -> Score {
    let numerator = 2.0 * sums.intersection + smooth;
    let sum = sums.reference + sums.predicted + smooth;
    let denominator = sum.max(CLAMP);
    Score {
        value: -(numerator / denominator),
        by_intersection: -2.0 / denominator,
        by_predicted: if sum > CLAMP { numerator / (denominator * denominator) } else { 0.0 },
    }
}

/// The mean of `score` over the groups of `sums` (sample-major, class-minor), and its derivatives with respect to `sums`.
pub(super) fn overlap_loss(
    sums: &[ClassSums],
    Groups { classes, first_class, batch }: Groups,
    score: impl Fn(ClassSums) -> Score,
) -> (f64, Vec<ClassDerivatives>) {
    let samples = sums.len() / classes.max(1);
    let mut loss = 0.0;
    let mut derivatives = vec![ClassDerivatives::default(); sums.len()];
    let groups = if batch { 1 } else { samples };
    let terms = (groups * classes.saturating_sub(first_class)) as f64;
    for class in first_class..classes {
        for group in 0..groups {
            let members = if batch { 0..samples } else { group..group + 1 };
            let mut total = ClassSums::default();
            members.clone().for_each(|n| total.add(sums[n * classes + class]));
            let score = score(total);
            loss += score.value / terms;
            for n in members {
                derivatives[n * classes + class] = ClassDerivatives {
                    intersection: score.by_intersection / terms,
                    predicted: score.by_predicted / terms,
                };
            }
        }
    }
    (loss, derivatives)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums() -> Vec<ClassSums> {
        (0..6)
            .map(|i| {
                let i = f64::from(i);
                ClassSums { intersection: 1.0 + i, predicted: 3.0 + 1.5 * i, reference: 2.0 + i * i }
            })
            .collect()
    }

    #[test]
    fn derivatives_are_differences_of_the_value() {
        for batch_dice in [false, true] {
            for first in [0, 1] {
                let groups = Groups { classes: 3, first_class: first, batch: batch_dice };
                let dice = |sums| dice_score(sums, 1e-5);
                let (_, derivatives) = overlap_loss(&sums(), groups, dice);
                for i in 0..6 {
                    let shifted = |change: fn(&mut ClassSums, f64), by: f64| {
                        let mut s = sums();
                        change(&mut s[i], by);
                        overlap_loss(&s, groups, dice).0
                    };
                    let slope = |change| (shifted(change, 1e-5) - shifted(change, -1e-5)) / 2e-5;
                    let found = derivatives[i];
                    assert!((slope(|s, by| s.intersection += by) - found.intersection).abs() < 1e-8);
                    assert!((slope(|s, by| s.predicted += by) - found.predicted).abs() < 1e-8);
                }
            }
        }
    }

    #[test]
    fn an_absent_class_that_is_not_predicted_scores_one() {
        let groups = Groups { classes: 2, first_class: 1, batch: true };
        let (loss, _) = overlap_loss(&[ClassSums::default(); 2], groups, |sums| dice_score(sums, 1e-5));
        assert_eq!(loss, -1.0);
    }
}
