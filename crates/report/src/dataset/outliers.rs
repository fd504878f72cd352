//! Which cases to look at first, and why.
//!
//! A measurement is unusual if its distance from the median is more than 3.5 times the spread: the modified z-score of
//! Iglewicz and Hoaglin (How to Detect and Handle Outliers, 1993), from the median absolute deviation, or from the mean
//! absolute deviation where more than half of the cases are equal. Sizes are compared as logarithms, since they vary by factors.

use std::collections::BTreeSet;

use nnunet_assess::statistics::median;

use super::survey::{CaseSurvey, Survey};
use crate::text::number;

/// Modified z-score from which a value is unusual.
const UNUSUAL: f64 = 3.5;
/// Share of the cases that has a class, from which on a case without it is worth a look.
const USUAL_CLASS: f64 = 0.9;
/// Cases below which nothing can be called unusual.
const FEWEST: usize = 5;
/// Weight of a class that is missing, in z-scores.
const MISSING_CLASS: f64 = 5.0;
/// Scores end here: where all others are equal, they would be arbitrarily high.
const HIGHEST: f64 = 20.0;
/// Factor between two sizes below which their difference is not worth a look, however alike the others are.
const SMALLEST_FACTOR: f64 = 1.1;
/// The same between two numbers of components: one more or less is nothing.
const SMALLEST_FACTOR_OF_COMPONENTS: f64 = 2.0;

/// What is unusual about a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The measurement, e.g. `volume of liver`.
    pub measurement: String,
    /// What it is and what it is elsewhere.
    pub text: String,
}

/// A case that is worth a look.
#[derive(Debug, Clone, PartialEq)]
pub struct Suspicion {
    /// The case.
    pub case: String,
    /// What is unusual about it, the most unusual first.
    pub reasons: Vec<Reason>,
    /// How unusual it is: the largest modified z-score, 20 at most.
    pub score: f64,
}

/// How values are compared.
#[derive(Debug, Clone, Copy, PartialEq)]
enum By {
    /// Their difference.
    Difference,
    /// Their ratio, where it is larger than this.
    Ratio(f64),
}

/// How sizes are compared.
const SIZES: By = By::Ratio(SMALLEST_FACTOR);

impl Suspicion {
    /// All reasons in one line.
    pub fn text(&self) -> String {
        self.reasons.iter().map(|reason| reason.text.as_str()).collect::<Vec<_>>().join("; ")
    }
}

/// `count` of the suspicious cases, so that as many kinds of reasons are among them as possible: a tenth of the cases may be
/// unusual in the same way.
pub(super) fn diverse(suspicions: &[Suspicion], count: usize) -> Vec<&Suspicion> {
    let mut seen = BTreeSet::new();
    let (first_of_kind, others): (Vec<&Suspicion>, Vec<&Suspicion>) = suspicions
        .iter()
        .partition(|suspicion| seen.insert(suspicion.reasons.first().map(|r| &r.measurement)));
    first_of_kind.into_iter().chain(others).take(count).collect()
}

/// The cases of the survey that are worth a look, the most unusual first. `class_names` are those of its classes.
pub fn suspicions(survey: &Survey, class_names: &[String]) -> Vec<Suspicion> {
    let cases = &survey.cases;
    let mut reasons: Vec<Vec<(f64, Reason)>> = vec![Vec::new(); cases.len()];
    if cases.len() >= FEWEST {
        let mut look = |what: &str, unit: &str, by: By, value: &dyn Fn(&CaseSurvey) -> f64| {
            let values: Vec<f64> = cases.iter().map(value).collect();
            for (case, score, median) in unusual(&values, by) {
                let side = if values[case] > median { "above" } else { "below" };
                let [value, median] = [values[case], median].map(number);
                let text = format!("{what} {value}{unit}, {side} the median {median}{unit}");
                reasons[case].push((score, Reason { measurement: what.to_owned(), text }));
            }
        };
        for (axis, name) in ["z", "y", "x"].into_iter().enumerate() {
            look(&format!("spacing along {name}"), " mm", SIZES, &|case| case.spacing[axis]);
            look(&format!("extent along {name}"), " mm", SIZES, &|case| {
                case.shape[axis] as f64 * case.spacing[axis]
            });
        }
        let channels = cases.iter().map(|case| case.intensities.len()).min().unwrap_or(0);
        for channel in 0..channels {
            look(&format!("mean foreground intensity of channel {channel}"), "", By::Difference, &|case| {
                case.intensities[channel]
            });
        }
        for (class, name) in class_names.iter().enumerate() {
            look(&format!("volume of {name}"), " ml", SIZES, &|case| case.classes[class].ml);
            let by = By::Ratio(SMALLEST_FACTOR_OF_COMPONENTS);
            look(&format!("components of {name}:"), "", by, &|case| case.classes[class].components as f64);
        }
        for (class, name) in class_names.iter().enumerate() {
            let has = |case: &&CaseSurvey| case.classes[class].voxels > 0;
            let with = cases.iter().filter(has).count();
            if (with as f64) < USUAL_CLASS * cases.len() as f64 {
                continue;
            }
            for (reasons, _) in reasons.iter_mut().zip(cases).filter(|(_, case)| !has(case)) {
                let text = format!("no {name}, which {with} of {} cases have", cases.len());
                reasons.push((MISSING_CLASS, Reason { measurement: format!("presence of {name}"), text }));
            }
        }
    }
    let mut all: Vec<Suspicion> = cases
        .iter()
        .zip(reasons)
        .filter(|(_, reasons)| !reasons.is_empty())
        .map(|(case, mut reasons)| {
            reasons.sort_by(|a, b| b.0.total_cmp(&a.0));
            let score = reasons[0].0;
            let reasons = reasons.into_iter().map(|(_, reason)| reason).collect();
            Suspicion { case: case.identifier.clone(), reasons, score }
        })
        .collect();
    all.sort_by(|a, b| b.score.total_cmp(&a.score).then(b.reasons.len().cmp(&a.reasons.len())));
    all
}

/// Places, scores and the common median of the values that are unusual. Values that cannot be compared (absent classes, NaN)
/// are neither unusual nor do they count.
fn unusual(values: &[f64], by: By) -> Vec<(usize, f64, f64)> {
    let (is_ratio, least) = match by {
        By::Difference => (false, 0.0),
        By::Ratio(factor) => (true, factor.ln()),
    };
    let comparable = |value: f64| value.is_finite() && (!is_ratio || value > 0.0);
    let on_scale = |value: f64| if is_ratio { value.ln() } else { value };
    let scaled: Vec<f64> = values.iter().filter(|v| comparable(**v)).map(|v| on_scale(*v)).collect();
    if scaled.len() < FEWEST {
        return Vec::new();
    }
    let centre = median(&scaled);
    let distances: Vec<f64> = scaled.iter().map(|v| (v - centre).abs()).collect();
    // Both estimate the standard deviation of a normal distribution.
    let spread = match median(&distances) * 1.4826 {
        spread if spread > 1e-9 * centre.abs().max(1.0) => spread,
        _ => distances.iter().sum::<f64>() / distances.len() as f64 * 1.2533,
    };
    let shown_median = if is_ratio { centre.exp() } else { centre };
    let candidates = values.iter().enumerate().filter(|(_, value)| comparable(**value));
    candidates
        .map(|(at, value)| (at, (on_scale(*value) - centre).abs()))
        .filter(|(_, distance)| *distance > least && *distance > UNUSUAL * spread)
        .map(|(at, distance)| (at, (distance / spread).min(HIGHEST), shown_median))
        .collect()
}

#[cfg(test)]
mod tests {
    use nnunet_volume::SpacingMm;

    use nnunet_dataset::LabelOrRegion;

    use super::super::survey::ClassSurvey;
    use super::*;

    fn survey(ml: &[f64]) -> Survey {
        let case = |(number, ml): (usize, &f64)| CaseSurvey {
            identifier: format!("case_{number}"),
            image: Default::default(),
            label: Default::default(),
            shape: [30, 40, 50],
            spacing: SpacingMm::new([1.0, 1.0, 1.0]),
            intensities: vec![100.0 + number as f64],
            classes: vec![ClassSurvey { voxels: (ml * 1000.0) as usize, ml: *ml, components: 1 }],
        };
        Survey {
            classes: vec![LabelOrRegion::Label(1)],
            cases: ml.iter().enumerate().map(case).collect(),
            unreadable: Vec::new(),
        }
    }

    #[test]
    fn only_what_is_far_from_the_others_is_suspicious() {
        let names = ["liver".to_owned()];
        assert_eq!(suspicions(&survey(&[1.0, 1.1, 0.9, 1.2, 1.05, 0.95]), &names), []);
        let mut odd = survey(&[1.0, 1.1, 0.9, 1.2, 1.05, 0.0, 1.0, 1.02, 0.97, 40.0]);
        odd.cases[2].spacing = SpacingMm::new([5.0, 1.0, 1.0]);
        odd.cases[3].classes[0].components = 60;
        let found = suspicions(&odd, &names);
        let names_found: Vec<&str> = found.iter().map(|s| s.case.as_str()).collect();
        assert_eq!(names_found.len(), 4, "{found:?}");
        let of = |case: &str| found.iter().find(|s| s.case == case).unwrap();
        assert!(of("case_9").text().starts_with("volume of liver 40 ml, above the median 1.0"), "{found:?}");
        assert!(of("case_5").text().starts_with("no liver, which 9 of 10 cases have"), "{found:?}");
        assert!(of("case_2").text().contains("spacing along z 5 mm"), "{found:?}");
        assert!(of("case_3").text().starts_with("components of liver: 60"), "{found:?}");
        let twice = [found[0].clone(), found[0].clone(), found[1].clone()];
        let picked = diverse(&twice, 2);
        assert_eq!([&picked[0].case, &picked[1].case], [&found[0].case, &found[1].case]);
        assert!(found.windows(2).all(|pair| pair[0].score >= pair[1].score));
    }

    #[test]
    fn of_four_cases_none_is_unusual() {
        assert_eq!(suspicions(&survey(&[1.0, 1.0, 1.0, 90.0]), &["liver".to_owned()]), []);
    }
}
