//! Soft Dice from sums over voxels: value, and derivatives with respect to those sums.

/// Added to numerator and denominator.
const SMOOTH: f64 = 1e-5;
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

/// Derivatives of the Dice loss with respect to the sums of one class.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct ClassDerivatives {
    pub(super) intersection: f64,
    pub(super) predicted: f64,
}

/// Minus the mean Dice of the classes from `first_class` on, of the batch as a whole (`batch_dice`)
/// or of each sample; and the derivatives with respect to `sums` (sample-major, class-minor).
pub(super) fn dice_loss(
    sums: &[ClassSums],
    classes: usize,
    first_class: usize,
    batch_dice: bool,
) -> (f64, Vec<ClassDerivatives>) {
    let samples = sums.len() / classes.max(1);
    let mut loss = 0.0;
    let mut derivatives = vec![ClassDerivatives::default(); sums.len()];
    let groups = if batch_dice { 1 } else { samples };
    let terms = (groups * classes.saturating_sub(first_class)) as f64;
    for class in first_class..classes {
        for group in 0..groups {
            let members = if batch_dice { 0..samples } else { group..group + 1 };
            let mut total = ClassSums::default();
            members.clone().for_each(|n| total.add(sums[n * classes + class]));
            let numerator = 2.0 * total.intersection + SMOOTH;
            let sum = total.reference + total.predicted + SMOOTH;
            let denominator = sum.max(CLAMP);
            loss -= numerator / denominator / terms;
            let by_denominator = if sum > CLAMP { numerator / (denominator * denominator) } else { 0.0 };
            for n in members {
                derivatives[n * classes + class] = ClassDerivatives {
                    intersection: -2.0 / denominator / terms,
                    predicted: by_denominator / terms,
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
                let (_, derivatives) = dice_loss(&sums(), 3, first, batch_dice);
                for i in 0..6 {
                    let shifted = |change: fn(&mut ClassSums, f64), by: f64| {
                        let mut s = sums();
                        change(&mut s[i], by);
                        dice_loss(&s, 3, first, batch_dice).0
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
        let (loss, _) = dice_loss(&[ClassSums::default(); 2], 2, 1, true);
        assert_eq!(loss, -1.0);
    }
}
