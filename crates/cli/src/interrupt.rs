//! Ctrl-C, a request to terminate, and the end of the terminal become a request to stop. So does SIGUSR1, which SLURM sends
//! before the time limit of a job where it is asked to (`--signal=USR1@120`).

use std::time::Duration;

use anyhow::Context;
use nnunet::progress::Cancel;

use crate::output;

/// Exit status of a run that was interrupted, as shells report it for Ctrl-C.
pub(crate) const STATUS: u8 = 130;

/// How long the last words may take. Whoever reads stderr may have stopped without leaving.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Who asks the program to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sender {
    /// Somebody at the keyboard.
    User,
    /// The system or a scheduler, which may send several signals (SIGUSR1 before SIGTERM, or the same one to the group and the
    /// process), and SIGKILL when it has waited long enough.
    #[cfg_attr(not(unix), expect(dead_code, reason = "only Ctrl-C is caught there"))]
    System,
}

/// Raises `cancel` at the first signal and ends the program when the user asks again.
///
/// # Errors
/// If the system does not let signals be caught.
pub(crate) fn listen(cancel: Cancel) -> anyhow::Result<()> {
    on_signal(move |sender| {
        // The request comes first: nothing that happens to the message may keep the run from stopping.
        if !cancel.is_cancelled() {
            cancel.cancel();
            say("Interrupted, saving... press Ctrl-C again to quit now");
        } else if sender == Sender::User {
            say("Stopped; whatever was not saved is lost");
            std::process::exit(STATUS.into());
        }
    })
    .context("interrupts could not be caught")
}

/// Says a line and waits for it only for a moment.
fn say(text: &str) {
    output::remark(text);
    output::flush(LAST_WORDS);
}

/// Calls `act` at each signal, in a thread of its own.
#[cfg(unix)]
fn on_signal(act: impl Fn(Sender) + Send + 'static) -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};

    let mut signals = vec![SIGINT, SIGTERM, SIGUSR1];
    if !hang_up_is_ignored() {
        signals.push(SIGHUP);
    }
    let mut signals = signal_hook::iterator::Signals::new(signals)?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            act(if signal == SIGINT { Sender::User } else { Sender::System });
        }
    })?;
    Ok(())
}

/// Calls `act` at each Ctrl-C, in a thread of its own.
#[cfg(not(unix))]
fn on_signal(act: impl Fn(Sender) + Send + 'static) -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(move || act(Sender::User))
}

/// Whether the program was started by `nohup`, which ignores the end of the terminal; it stays ignored then.
/// Only Linux says so; elsewhere the end of the terminal counts as an interruption.
#[cfg(unix)]
fn hang_up_is_ignored() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_hang_up(&status))
}

/// Whether the mask of ignored signals in `/proc/PID/status` has the first bit, that of SIGHUP.
#[cfg(unix)]
fn ignores_hang_up(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_is_read() {
        assert!(ignores_hang_up("Name:\tnnunet\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n"));
        assert!(!ignores_hang_up("SigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\n"));
        assert!(!ignores_hang_up(""));
    }
}
