//! One warning score for a case, and the reasons for it in words.

use super::agreement::Disagreement;
use super::volumes::{TrainingVolumes, Typicality};

/// Distance of a volume, in robust standard deviations, beyond which it is odd (Iglewicz and Hoaglin 1993).
const ODD: f64 = 3.5;
/// Expected Dice below which a class is named as a reason.
const DOUBTFUL: f64 = 0.8;

/// The quality of a prediction as far as it can be told without a reference.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseQuality {
    /// Name of the case.
    pub identifier: String,
    /// Warning from 0 to 1; the higher, the earlier the case should be looked at: 1 - (1 - a)(1 - b), where a is 1 minus the mean
    /// expected Dice of the classes that were found (without any, the largest probability of a class), and b the warning of the
    /// oddest volume: 0 up to 3.5 robust standard deviations d from the training set's median, 1 - 3.5 / d beyond, and 1 for a
    /// class that is missing though at least 95 % of the training set have it.
    pub score: f64,
    /// Network passes that were compared: folds times mirrored versions.
    pub passes: usize,
    /// Mean predictive entropy of the voxels with a class, in nats.
    pub entropy: f64,
    /// Mean mutual information of label and pass there, in nats: 0 where the passes agree.
    pub mutual_information: f64,
    /// Mean expected Dice of the classes that were found; NaN without any.
    pub expected_dice: f64,
    /// The foreground classes in their order.
    pub classes: Vec<ClassQuality>,
    /// What there is to look at, in words; empty if nothing stands out.
    pub reasons: String,
}

/// A class of a [`CaseQuality`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassQuality {
    /// Dice that is to be expected if the probabilities are right; NaN if the class was not found.
    pub expected_dice: f64,
    /// Its volume in ml.
    pub ml: f64,
    /// Distance of the logarithm of the volume from the training set's median, in robust standard deviations; NaN if it is not known.
    pub deviations: f64,
}

impl CaseQuality {
    /// Sums up what is known of a case: `volumes` are those of the classes called `names` in ml, `training` those of the training set.
    pub(in crate::predict) fn new(
        identifier: String,
        passes: usize,
        found: &Disagreement,
        names: &[String],
        volumes: &[f64],
        training: Option<&TrainingVolumes>,
    ) -> Self {
        let mut reasons = Vec::new();
        let mut odd: f64 = 0.0;
        let mut classes = Vec::new();
        for (class, (name, &ml)) in names.iter().zip(volumes).enumerate() {
            let expected_dice = found.expected_dice.get(class).copied().unwrap_or(f64::NAN);
            if expected_dice < DOUBTFUL {
                reasons.push(format!("{name}: expected Dice {expected_dice:.2}"));
            }
            let mut deviations = f64::NAN;
            match training.map_or(Typicality::Unknown, |training| training.compare(class, ml)) {
                Typicality::Unknown => {}
                Typicality::Distance { deviations: found, ratio } => {
                    deviations = found;
                    if found.abs() > ODD {
                        odd = odd.max(1.0 - ODD / found.abs());
                        let times = if ratio < 10.0 { format!("{ratio:.2}") } else { format!("{ratio:.0}") };
                        reasons.push(format!("{name}: volume {times} times the training set's median"));
                    }
                }
                Typicality::Missing(share) => {
                    odd = 1.0;
                    let percent = 100.0 * share;
                    reasons
                        .push(format!("{name}: not found, but {percent:.0} % of the training set have it"));
                }
            }
            classes.push(ClassQuality { expected_dice, ml, deviations });
        }
        let present: Vec<f64> = found.expected_dice.iter().copied().filter(|dice| !dice.is_nan()).collect();
        let expected_dice = present.iter().sum::<f64>() / present.len() as f64;
        let doubt = if present.is_empty() { found.largest } else { 1.0 - expected_dice };
        if present.is_empty() {
            reasons.push(format!("nothing was found; largest probability of a class {:.2}", found.largest));
        }
        Self {
            identifier,
            score: 1.0 - (1.0 - doubt.clamp(0.0, 1.0)) * (1.0 - odd),
            passes,
            entropy: found.entropy,
            mutual_information: found.mutual_information,
            expected_dice,
            classes,
            reasons: reasons.join("; "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(expected_dice: &[f64], largest: f64) -> Disagreement {
        Disagreement {
            expected_dice: expected_dice.to_vec(),
            entropy: 0.1,
            mutual_information: 0.01,
            largest,
        }
    }

    #[test]
    fn doubt_and_odd_volumes_raise_the_score() {
        let names = ["shell".to_owned(), "core".to_owned()];
        let case = |expected: &[f64], largest| {
            CaseQuality::new("a".into(), 8, &found(expected, largest), &names, &[4.0, 0.0], None)
        };
        let one = case(&[0.7, f64::NAN], 1.0);
        assert!((one.score - 0.3).abs() < 1e-12 && one.reasons == "shell: expected Dice 0.70", "{one:?}");
        let nothing = case(&[f64::NAN, f64::NAN], 0.25);
        assert!(nothing.score == 0.25 && nothing.reasons.starts_with("nothing was found"), "{nothing:?}");
        assert_eq!(case(&[1.0, 1.0], 1.0).score, 0.0);
    }
}
