//! Losses of sums over the voxels of each class: values, and derivatives with respect to those sums. Backends that add up
//! elsewhere use them too.

/// Smallest denominator, and smallest distance of a Tversky index from 1 where its root has a derivative.
const CLAMP: f64 = 1e-8;

/// Sums over the voxels of one class, of one sample or of the batch.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ClassSums {
    /// Predicted probability where the class is.
    pub intersection: f64,
    /// Predicted probability.
    pub predicted: f64,
    /// Voxels of the class.
    pub reference: f64,
}

impl ClassSums {
    /// Adds the sums of other voxels.
    pub fn add(&mut self, other: Self) {
        self.intersection += other.intersection;
        self.predicted += other.predicted;
        self.reference += other.reference;
    }
}

/// Derivatives of a loss with respect to the sums of one class.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ClassDerivatives {
    /// By the intersection.
    pub intersection: f64,
    /// By the predicted probability.
    pub predicted: f64,
}

/// Which sums a loss joins: those of the classes from `first_class` on, of the batch as a whole or of each sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Groups {
    /// Number of classes.
    pub classes: usize,
    /// The first one that counts.
    pub first_class: usize,
    /// Whether the sums of all samples are joined.
    pub batch: bool,
}

/// A function of the sums of one class, to minimise, and its derivatives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Its value.
    pub value: f64,
    /// Its derivative by the intersection.
    pub by_intersection: f64,
    /// Its derivative by the predicted probability.
    pub by_predicted: f64,
}

/// Minus the soft Dice.
pub fn dice_score(sums: ClassSums, smooth: f64) -> Score {
    let numerator = 2.0 * sums.intersection + smooth;
    let sum = sums.reference + sums.predicted + smooth;
    let denominator = sum.max(CLAMP);
    Score {
        value: -(numerator / denominator),
        by_intersection: -2.0 / denominator,
        by_predicted: if sum > CLAMP { numerator / (denominator * denominator) } else { 0.0 },
    }
}

/// (1 - index)^(1 / gamma), with the Tversky index of weights alpha and beta.
pub fn tversky_score(sums: ClassSums, [alpha, beta]: [f64; 2], gamma: f64, smooth: f64) -> Score {
    let ClassSums { intersection, predicted, reference } = sums;
    let numerator = intersection + smooth;
    let sum = intersection + alpha * (predicted - intersection) + beta * (reference - intersection) + smooth;
    let denominator = sum.max(CLAMP);
    let by_sum = if sum > CLAMP { -numerator / (denominator * denominator) } else { 0.0 };
    let distance = 1.0 - numerator / denominator;
    // Rounding may take the distance below 0. At 0 the root of the focal form has no derivative.
    let power = if distance < 0.0 { 0.0 } else { distance.powf(1.0 / gamma) };
    let slope = match gamma == 1.0 {
        true => 1.0,
        false => distance.max(CLAMP).powf(1.0 / gamma - 1.0) / gamma,
    };
    Score {
        value: if gamma == 1.0 { distance } else { power },
        by_intersection: -slope * (1.0 / denominator + by_sum * (1.0 - alpha - beta)),
        by_predicted: -slope * by_sum * alpha,
    }
}

/// The mean of `score` over the groups of `sums` (sample-major, class-minor), and its derivatives with respect to `sums`.
pub fn overlap_loss(
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

    #[test]
    fn derivatives_of_tversky_are_differences_of_its_value() {
        for gamma in [1.0, 4.0 / 3.0, 2.0] {
            let sums = ClassSums { intersection: 2.0, predicted: 5.0, reference: 3.5 };
            let value = |by: f64, also: f64| {
                let (intersection, predicted) = (sums.intersection + by, sums.predicted + also);
                tversky_score(ClassSums { intersection, predicted, ..sums }, [0.3, 0.7], gamma, 1e-5).value
            };
            let score = tversky_score(sums, [0.3, 0.7], gamma, 1e-5);
            assert!(((value(1e-5, 0.0) - value(-1e-5, 0.0)) / 2e-5 - score.by_intersection).abs() < 1e-9);
            assert!(((value(0.0, 1e-5) - value(0.0, -1e-5)) / 2e-5 - score.by_predicted).abs() < 1e-9);
        }
        let perfect = ClassSums { intersection: 3.0, predicted: 3.0, reference: 3.0 };
        let score = tversky_score(perfect, [0.3, 0.7], 4.0 / 3.0, 1e-5);
        assert!(score.value < 1e-6 && score.by_intersection.is_finite(), "{score:?}");
    }
}
