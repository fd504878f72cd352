//! Runs a graph on this machine: several tasks at once, each as a process of its own with its own log.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nnunet_base::Ctx;
use nnunet_base::lock::{Hold, LockRequest};
use nnunet_base::progress::{Event, Interrupted};

use super::error::SubmitError;
use super::graph::{Job, JobGraph};
use super::record::{RECORD, Record, TaskState};

/// How often it is looked whether a process has ended.
const GLANCE: Duration = Duration::from_millis(50);

/// How a graph is run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalOptions {
    /// The program.
    pub program: PathBuf,
    /// Number of tasks at once.
    pub at_once: usize,
    /// Threads of each task.
    pub threads: usize,
}

/// A task that is running.
struct Running {
    job: usize,
    task: usize,
    child: Child,
    begun: Instant,
}

/// Runs the tasks of a graph, each after those that it needs; logs are in `folder/logs`. What an earlier run in this folder has
/// done is kept, unless something that it needs is done anew. A task that fails does not stop those that do not need it.
///
/// # Errors
/// Tasks that failed, once all others have ended; interrupted, once the running tasks have saved their state; files that
/// cannot be written.
pub fn run_locally(
    graph: &JobGraph,
    folder: &Path,
    options: &LocalOptions,
    ctx: Ctx<'_>,
) -> Result<Record, SubmitError> {
    let logs = folder.join("logs");
    std::fs::create_dir_all(&logs).map_err(SubmitError::io(&logs))?;
    let lock = LockRequest {
        folder,
        file: &folder.join(".submit.lock"),
        hold: Hold::Alone,
        what: "a run of these jobs",
        advice: "wait for it, or name another folder with -o",
    };
    let _held = lock.take(ctx.progress)?;
    let mut run = Run { graph, folder, logs, options, ctx, record: Record::new(graph), running: Vec::new() };
    run.keep_what_is_done()?;
    let all = run.states().count();
    ctx.event(Event::Started { stage: "jobs", total: all as u64 });
    let outcome = run.all();
    // Whatever happened, nothing goes on behind the back of whoever called.
    run.stop();
    ctx.event(Event::Finished);
    outcome?;
    let done = run.states().filter(|state| *state == TaskState::Done).count();
    if ctx.is_cancelled() && done < all {
        return Err(SubmitError::Interrupted { done, all, source: Interrupted });
    }
    match run.first_failure() {
        None => Ok(run.record),
        Some((first, log)) => {
            let failed = run.states().filter(|state| *state == TaskState::Failed).count();
            Err(SubmitError::TasksFailed { failed, left_out: all - done - failed, all, first, log })
        }
    }
}

struct Run<'a> {
    graph: &'a JobGraph,
    folder: &'a Path,
    logs: PathBuf,
    options: &'a LocalOptions,
    ctx: Ctx<'a>,
    record: Record,
    running: Vec<Running>,
}

impl Run<'_> {
    fn states(&self) -> impl Iterator<Item = TaskState> + '_ {
        self.record.jobs.iter().flat_map(|job| job.tasks.iter().map(|(_, _, state)| *state))
    }

    fn is_done(&self, job: usize) -> bool {
        self.record.jobs[job].tasks.iter().all(|(_, _, state)| *state == TaskState::Done)
    }

    /// Takes over the tasks that an earlier run has done, as long as everything is done that they need.
    fn keep_what_is_done(&mut self) -> Result<(), SubmitError> {
        let Some(earlier) = Record::load(self.folder)? else { return Ok(()) };
        let mut kept = 0;
        for (i, job) in self.graph.jobs.iter().enumerate() {
            if !job.needs.iter().all(|need| self.is_done(*need)) {
                continue;
            }
            for (task, (_, _, state)) in job.tasks.iter().zip(&mut self.record.jobs[i].tasks) {
                if earlier.has_done(&job.name, &task.arguments) {
                    *state = TaskState::Done;
                    kept += 1;
                }
            }
        }
        if kept > 0 {
            let record = self.folder.join(RECORD);
            self.ctx.message(&format!(
                "{kept} tasks were done before; remove {} to do them again",
                record.display()
            ));
        }
        Ok(())
    }

    /// Runs until nothing is left that can be run, or somebody asks to stop.
    fn all(&mut self) -> Result<(), SubmitError> {
        self.record.save(self.folder)?;
        while !self.ctx.is_cancelled() {
            while self.running.len() < self.options.at_once
                && let Some((job, task)) = self.next()
            {
                self.start(job, task)?;
            }
            if self.running.is_empty() {
                break;
            }
            if !self.collect()? {
                sleep(GLANCE);
            }
        }
        Ok(())
    }

    /// The next task whose job has all that it needs.
    fn next(&self) -> Option<(usize, usize)> {
        let is_running =
            |job, task| self.running.iter().any(|running| (running.job, running.task) == (job, task));
        self.graph.jobs.iter().enumerate().find_map(|(i, job)| {
            if !job.needs.iter().all(|need| self.is_done(*need)) {
                return None;
            }
            let states = self.record.jobs[i].tasks.iter().map(|(_, _, state)| *state).enumerate();
            let mut waiting =
                states.filter(|(task, state)| *state == TaskState::Waiting && !is_running(i, *task));
            waiting.next().map(|(task, _)| (i, task))
        })
    }

    fn log(&self, job: &Job, task: usize) -> PathBuf {
        self.logs.join(format!("{}_{task}.log", job.name))
    }

    fn start(&mut self, job: usize, task: usize) -> Result<(), SubmitError> {
        let of = &self.graph.jobs[job];
        let path = self.log(of, task);
        let log = OpenOptions::new().create(true).append(true).open(&path).map_err(SubmitError::io(&path))?;
        let errors = log.try_clone().map_err(SubmitError::io(&path))?;
        let mut command = Command::new(&self.options.program);
        command
            .args(&of.tasks[task].arguments)
            .args(["--progress", "plain"])
            .env("nnUNet_def_n_proc", self.options.threads.to_string())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        // Ctrl-C reaches this process only, which then asks each task once: a second request would not let it save.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn().map_err(SubmitError::io(&self.options.program))?;
        self.ctx.message(&format!("{}, {}: started, log {}", of.name, of.tasks[task].label, path.display()));
        self.running.push(Running { job, task, child, begun: Instant::now() });
        Ok(())
    }

    /// Notes what became of tasks that have ended; whether there were any.
    fn collect(&mut self) -> Result<bool, SubmitError> {
        let mut ended = Vec::new();
        for (i, running) in self.running.iter_mut().enumerate() {
            if let Some(status) = running.child.try_wait().map_err(SubmitError::io(&self.options.program))? {
                ended.push((i, status));
            }
        }
        for (i, status) in ended.iter().rev() {
            let Running { job, task, begun, .. } = self.running.remove(*i);
            let of = &self.graph.jobs[job];
            let what = format!("{}, {}", of.name, of.tasks[task].label);
            // A task that was interrupted goes on with the next run.
            let state = match status.code() {
                Some(0) => TaskState::Done,
                Some(130) if self.ctx.is_cancelled() => TaskState::Waiting,
                _ => TaskState::Failed,
            };
            self.record.jobs[job].tasks[task].2 = state;
            self.record.save(self.folder)?;
            match state {
                TaskState::Done => {
                    let done = self.states().filter(|state| *state == TaskState::Done).count();
                    let detail = format!("{what}: done after {:.0} s", begun.elapsed().as_secs_f64());
                    self.ctx.event(Event::Advanced { done: done as u64, detail: &detail });
                }
                TaskState::Failed => {
                    let log = self.log(of, task);
                    self.ctx.warning(&format!("{what}: failed with {status}, see {}", log.display()));
                }
                TaskState::Waiting => {}
            }
        }
        Ok(!ended.is_empty())
    }

    /// Asks the running tasks to save their state, and waits until they have.
    fn stop(&mut self) {
        for running in &mut self.running {
            ask_to_stop(&mut running.child);
        }
        while !self.running.is_empty() {
            match self.collect() {
                Ok(true) => {}
                Ok(false) => sleep(GLANCE),
                // Without a record they still have to end.
                Err(_) => self.running.drain(..).for_each(|mut running| drop(running.child.wait())),
            }
        }
    }

    fn first_failure(&self) -> Option<(String, PathBuf)> {
        self.record.jobs.iter().zip(&self.graph.jobs).find_map(|(recorded, job)| {
            let task = recorded.tasks.iter().position(|(_, _, state)| *state == TaskState::Failed)?;
            Some((format!("{}, {}", job.name, job.tasks[task].label), self.log(job, task)))
        })
    }
}

/// Asks a process of the program to save its state and end; where there is no way to ask, ends it. Sends SIGTERM, since the
/// standard library knows only how to kill.
#[cfg(unix)]
pub fn ask_to_stop(child: &mut Child) {
    let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).stderr(Stdio::null()).status();
    if !asked.is_ok_and(|status| status.success()) {
        // It has ended, or cannot be asked.
        let _ = child.kill();
    }
}

/// Ends a process: there is no way to ask it to save its state.
#[cfg(not(unix))]
pub fn ask_to_stop(child: &mut Child) {
    let _ = child.kill();
}
