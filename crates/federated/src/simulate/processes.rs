//! Runs processes of sites, several at once, each with its log.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nnunet::Ctx;
use nnunet::submit::ask_to_stop;

use crate::error::FederatedError;

/// How often it is looked whether a process has ended.
const GLANCE: Duration = Duration::from_millis(50);

/// What a site does.
pub(super) struct Task {
    pub(super) site: String,
    pub(super) what: String,
    pub(super) words: Vec<String>,
    pub(super) log: PathBuf,
}

/// How a process ended.
pub(super) enum Ending {
    Ended(ExitStatus),
    /// It was asked to stop, since it took too long.
    Late(f64),
    /// It was not started any more.
    NotStarted,
}

impl Ending {
    /// What went wrong; `None` if nothing did.
    pub(super) fn failure(&self) -> Option<String> {
        match self {
            Self::Ended(status) if status.success() => None,
            Self::Ended(status) => Some(format!("ended with {status}")),
            Self::Late(seconds) => Some(format!("took longer than {seconds:.0} s")),
            Self::NotStarted => Some("had no time to start".to_owned()),
        }
    }
}

/// How tasks are run.
pub(super) struct Processes<'a> {
    pub(super) program: &'a Path,
    pub(super) at_once: usize,
    /// How long all of them may take.
    pub(super) seconds: Option<f64>,
}

struct Running {
    task: usize,
    child: Child,
}

impl Processes<'_> {
    /// Runs the tasks and says how each ended, in their order. After a request to stop, the running ones save their state.
    pub(super) fn run(&self, tasks: &[Task], ctx: Ctx<'_>) -> Result<Vec<Ending>, FederatedError> {
        let mut endings: Vec<Ending> = tasks.iter().map(|_| Ending::NotStarted).collect();
        let mut waiting: VecDeque<usize> = (0..tasks.len()).collect();
        let mut running: Vec<Running> = Vec::new();
        let begun = Instant::now();
        let outcome = loop {
            let late = self.seconds.filter(|seconds| begun.elapsed().as_secs_f64() > *seconds);
            if ctx.is_cancelled() || late.is_some() {
                break Ok(late);
            }
            while running.len() < self.at_once.max(1)
                && let Some(task) = waiting.pop_front()
            {
                match self.start(&tasks[task]) {
                    Ok(child) => running.push(Running { task, child }),
                    Err(error) => {
                        stop(&mut running);
                        return Err(error);
                    }
                }
            }
            if running.is_empty() {
                break Ok(None);
            }
            if let Err(error) = collect(&mut running, &mut endings) {
                break Err(FederatedError::io(self.program)(error));
            }
            sleep(GLANCE);
        };
        let late = outcome.as_ref().ok().copied().flatten();
        for running in &running {
            endings[running.task] = Ending::Late(late.unwrap_or_else(|| begun.elapsed().as_secs_f64()));
        }
        stop(&mut running);
        outcome.map(|_| endings)
    }

    fn start(&self, task: &Task) -> Result<Child, FederatedError> {
        let failed = || FederatedError::io(&task.log);
        if let Some(folder) = task.log.parent() {
            std::fs::create_dir_all(folder).map_err(failed())?;
        }
        let log = OpenOptions::new().create(true).append(true).open(&task.log).map_err(failed())?;
        let errors = log.try_clone().map_err(failed())?;
        let mut command = Command::new(self.program);
        command.args(&task.words).stdin(Stdio::null()).stdout(log).stderr(errors);
        // Ctrl-C reaches this process only, which then asks each site once.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.spawn().map_err(FederatedError::io(self.program))
    }
}

/// Notes which processes have ended.
fn collect(running: &mut Vec<Running>, endings: &mut [Ending]) -> std::io::Result<()> {
    let mut still = Vec::new();
    for mut process in running.drain(..) {
        match process.child.try_wait()? {
            Some(status) => endings[process.task] = Ending::Ended(status),
            None => still.push(process),
        }
    }
    *running = still;
    Ok(())
}

/// Asks processes to save their state, and waits until they have.
fn stop(running: &mut Vec<Running>) {
    running.iter_mut().for_each(|process| ask_to_stop(&mut process.child));
    for mut process in running.drain(..) {
        let _ = process.child.wait();
    }
}
