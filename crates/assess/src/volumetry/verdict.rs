//! What the numbers mean for a study, in plain words.
//!
//! The rules are ours, not published ones: an error counts if it is statistically certain (interval or p at 5 %) and large
//! enough to matter (10 % of a slope, of an effect or of a spread; 5 % of a volume).

use super::agreement::Agreement;
use super::change::Change;
use super::group::{Effect, GroupEffect};

/// What matters of a slope, an effect or a spread.
const SHARE: f64 = 0.1;
/// What matters of a volume.
const VOLUME: f64 = 0.05;
const LEVEL: f64 = 0.05;

/// A sentence for everything that is wrong; empty if nothing was found.
pub(super) fn verdict(
    dice: f64,
    agreement: &Agreement,
    change: Option<&Change>,
    groups: &[GroupEffect],
) -> Vec<String> {
    let mut found = Vec::new();
    found.extend(groups.iter().flat_map(|effect| of_group(dice, effect)));
    found.extend(change.map(|change| of_change(dice, change)).into_iter().flatten());
    found.extend(of_agreement(dice, agreement));
    found
}

fn of_group(dice: f64, effect: &GroupEffect) -> Vec<String> {
    let mut found = Vec::new();
    let [first, second] = &effect.groups;
    let place = format!("{}, {second} against {first}", effect.outcome);
    let (truth, seen) = (&effect.reference, &effect.prediction);
    let real = truth.test.p < LEVEL;
    let certainly_other = !holds(effect.ratio_interval, 1.0) && (effect.ratio - 1.0).abs() > SHARE;
    if real && certainly_other {
        found.push(format!(
            "mean Dice {dice:.2}, but the measured effect ({place}) is {} where the true one is {}",
            size(seen),
            size(truth)
        ));
    }
    match (real, seen.test.p < LEVEL) {
        (true, false) => found.push(format!(
            "the effect ({place}) is there (p {}) and the prediction misses it (p {})",
            p(truth.test.p),
            p(seen.test.p)
        )),
        (false, true) => found.push(format!(
            "the prediction shows an effect ({place}, p {}) that the reference does not (p {})",
            p(seen.test.p),
            p(truth.test.p)
        )),
        _ => {}
    }
    if effect.error_test.p < LEVEL && effect.error_test.difference.abs() > VOLUME {
        found.push(format!(
            "the volume error depends on the group ({}): {} in {first}, {} in {second} (p {})",
            effect.outcome,
            percent(effect.errors[0]),
            percent(effect.errors[1]),
            p(effect.error_test.p)
        ));
    }
    found
}

fn of_change(dice: f64, change: &Change) -> Vec<String> {
    let mut found = Vec::new();
    if change.spread_interval[0] > 1.0 && change.spread_ratio > 1.0 + SHARE {
        let more = change.spread_ratio.powi(2);
        let mut text = format!(
            "mean Dice {dice:.2}, but changes over time spread {:.1} times as much as they really do: a study needs \
             about {more:.1} times as many subjects",
            change.spread_ratio
        );
        if let (Some(truth), Some(seen)) = (change.subjects_reference, change.subjects_prediction)
            && change.reference.p < LEVEL
        {
            text.push_str(&format!(" (for the change found here {seen} instead of {truth})"));
        }
        found.push(text);
    }
    if change.reference.p < LEVEL && change.prediction.p >= LEVEL {
        found.push(format!(
            "volumes change over time (p {}) and the prediction misses it (p {})",
            p(change.reference.p),
            p(change.prediction.p)
        ));
    }
    if change.error_change.p < LEVEL && change.error_change.difference.abs() > VOLUME {
        found.push(format!(
            "the volume error depends on time: it changes by {} of the volume (p {})",
            percent(change.error_change.difference),
            p(change.error_change.p)
        ));
    }
    found
}

fn of_agreement(dice: f64, agreement: &Agreement) -> Vec<String> {
    let mut found = Vec::new();
    let slope = &agreement.calibration;
    if !holds(slope.slope_interval, 1.0) && (slope.slope - 1.0).abs() > SHARE {
        let direction = if slope.slope < 1.0 { "shrinks" } else { "grows" };
        found.push(format!(
            "mean Dice {dice:.2}, but the prediction {direction} differences between volumes: 1 ml more is measured as {:.2} ml",
            slope.slope
        ));
    }
    let proportional = &agreement.bland_altman.proportional;
    if proportional.slope_p < LEVEL && proportional.slope.abs() > SHARE {
        let size = if proportional.slope < 0.0 { "too small" } else { "too large" };
        found.push(format!(
            "the larger a volume, the more it is measured {size} (slope {:.2})",
            proportional.slope
        ));
    }
    let relative = &agreement.relative;
    if !holds(relative.interval, 0.0) && relative.difference.abs() > VOLUME {
        found.push(format!("volumes are off by {} on average", percent(relative.difference)));
    }
    found
}

/// An effect in percent, or in ml where it is a change.
fn size(effect: &Effect) -> String {
    if effect.relative.is_finite() {
        percent(effect.relative)
    } else {
        format!("{:+.2} ml", effect.test.difference)
    }
}

/// Whether the value lies in the interval, or there is none.
fn holds([low, high]: [f64; 2], value: f64) -> bool {
    low.is_nan() || high.is_nan() || (low <= value && value <= high)
}

fn percent(share: f64) -> String {
    format!("{:+.0} %", 100.0 * share)
}

/// A p in words that stay short.
fn p(p: f64) -> String {
    if p < 0.001 { "< 0.001".to_owned() } else { format!("{p:.3}") }
}
