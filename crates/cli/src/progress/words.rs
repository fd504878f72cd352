//! Numbers of epochs and durations in words.

use nnunet::progress::EpochReport;

/// A duration for people.
pub(super) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// The line on an epoch that is complete.
pub(crate) fn epoch_line(report: &EpochReport) -> String {
    let dice: Vec<String> = report.pseudo_dice.iter().map(|&dice| rounded(dice, 4).to_string()).collect();
    format!(
        "epoch {}: train loss {}, validation loss {}, pseudo Dice [{}], moving average {}, {} s ({} % waiting for data)",
        report.epoch,
        rounded(report.train_loss, 4),
        rounded(report.validation_loss, 4),
        dice.join(", "),
        rounded(report.moving_average, 4),
        rounded(report.seconds, 1),
        rounded(100.0 * report.waiting, 1),
    )
}

/// `value` with at most `digits` decimals.
fn rounded(value: f64, digits: i32) -> f64 {
    let factor = 10f64.powi(digits);
    (value * factor).round() / factor
}
