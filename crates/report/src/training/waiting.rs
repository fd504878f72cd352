//! How long a training waited for batches, from its logs: checkpoints do not say.

use std::path::Path;

use nnunet_train::log_file::{begun_epoch, logs_in, said};

/// The share of each epoch, from 0 to 1, that was spent waiting, from the logs in the folder of a fold. Where several runs have an
/// epoch, the last one counts. Epochs that no log tells of are NaN.
pub(super) fn waiting(fold: &Path) -> Vec<f64> {
    let mut shares = Vec::new();
    // Logs that cannot be read tell nothing; the curves do not need them.
    for path in logs_in(fold).unwrap_or_default() {
        read(&std::fs::read(path).unwrap_or_default(), &mut shares);
    }
    shares
}

fn read(log: &[u8], shares: &mut Vec<f64>) {
    /// Trainings are shorter; a damaged log must not ask for memory.
    const MOST_EPOCHS: usize = 1_000_000;
    let mut epoch = None;
    for line in String::from_utf8_lossy(log).lines() {
        let said = said(line);
        if let Some(number) = begun_epoch(said) {
            epoch = Some(number).filter(|epoch| *epoch < MOST_EPOCHS);
        }
        let percent = said.strip_prefix("Waited for batches: ").and_then(|rest| rest.strip_suffix(" %"));
        if let (Some(epoch), Some(percent)) = (epoch, percent.and_then(|text| text.parse::<f64>().ok())) {
            if shares.len() <= epoch {
                shares.resize(epoch + 1, f64::NAN);
            }
            shares[epoch] = percent / 100.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_run_of_an_epoch_counts() {
        let mut shares = Vec::new();
        let log = "2026-11-30 20:07:08.8: \n2026-11-30 20:07:08.8: Epoch 0\nx: Epoch time: 16.57 s\nx: Waited for batches: 12.5 %\n\
                   x: Epoch 2\nx: Epoch time: 1 s\nx: Waited for batches: 50 %\n";
        read(log.as_bytes(), &mut shares);
        assert_eq!((shares[0], shares[2], shares.len()), (0.125, 0.5, 3));
        assert!(shares[1].is_nan());
        read(
            b"x: Epoch 0\nx: Waited for batches: 1 %\nx: Epoch 99999999999\nx: Waited for batches: 2 %",
            &mut shares,
        );
        assert_eq!((shares[0], shares.len()), (0.01, 3), "an epoch that cannot be is left out");
    }
}
