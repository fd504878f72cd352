//! Batch scripts for SLURM.

use std::path::Path;

use super::error::SubmitError;
use super::graph::Job;

/// What SLURM is asked for, for every job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlurmOptions {
    /// The partition.
    pub partition: Option<String>,
    /// The account that is charged.
    pub account: Option<String>,
    /// Time limit of a task as SLURM writes it, e.g. `1-00:00:00`.
    pub time: Option<String>,
    /// Cores of a task.
    pub cpus: Option<u32>,
    /// Memory of a task as SLURM writes it, e.g. `16G`.
    pub memory: Option<String>,
    /// Seconds before the time limit at which a training saves its state and is queued again.
    pub warning_seconds: u32,
    /// Further options, as they stand behind `#SBATCH`.
    pub extra: Vec<String>,
}

impl Default for SlurmOptions {
    fn default() -> Self {
        Self {
            partition: None,
            account: None,
            time: None,
            cpus: None,
            memory: None,
            warning_seconds: 120,
            extra: Vec::new(),
        }
    }
}

/// What runs the command, saves its state at the time limit, and puts the task back into the queue. Status 130 means that the
/// program has saved what there was to save.
const RESUMING: &str = r#"
# SLURM sends SIGUSR1 to this shell some time before the limit. SIGTERM it sends to the program itself, too.
stopped=no
trap 'stopped=yes; kill -USR1 "$child" 2>/dev/null' USR1
trap : TERM
"$program" "$@" &
child=$!
wait "$child"
status=$?
# A signal ends the wait, not the program.
while kill -0 "$child" 2>/dev/null; do
    wait "$child"
    status=$?
done
if [ "$status" -eq 130 ] && [ "$stopped" = yes ]; then
    echo "state saved at the time limit; back into the queue"
    scontrol requeue "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"
fi
exit "$status"
"#;

/// The script of a job, which runs `program` and writes logs to `logs`.
///
/// # Errors
/// Options with line breaks.
pub(super) fn script(
    job: &Job,
    program: &Path,
    logs: &Path,
    options: &SlurmOptions,
) -> Result<String, SubmitError> {
    let mut lines = vec!["#!/bin/bash".to_owned()];
    let mut option = |text: String| lines.push(format!("#SBATCH {text}"));
    option(format!("--job-name=nnunet_{}", job.name));
    let last = job.tasks.len() - 1;
    option(format!("--array=0-{last}"));
    option(format!("--output={}", quoted(&logs.join(format!("{}_%a.log", job.name)).display().to_string())));
    option("--open-mode=append".to_owned());
    option("--kill-on-invalid-dep=yes".to_owned());
    if job.resumes {
        option("--requeue".to_owned());
        option(format!("--signal=B:USR1@{}", options.warning_seconds));
    }
    let cpus = options.cpus.map(|cpus| cpus.to_string());
    let given = [
        ("--partition", &options.partition),
        ("--account", &options.account),
        ("--time", &options.time),
        ("--cpus-per-task", &cpus),
        ("--mem", &options.memory),
    ];
    for (name, value) in given {
        if let Some(value) = value {
            option(format!("{name}={}", one_line(name, value)?));
        }
    }
    for extra in &options.extra {
        option(one_line("--sbatch", extra)?.to_owned());
    }
    lines.push(format!("\nprogram={}", quoted(&program.display().to_string())));
    lines.push("export nnUNet_def_n_proc=\"${SLURM_CPUS_PER_TASK:-$(nproc)}\"".to_owned());
    lines.push("case \"${SLURM_ARRAY_TASK_ID:-0}\" in".to_owned());
    for (number, task) in job.tasks.iter().enumerate() {
        let words: Vec<String> = task.arguments.iter().map(|word| quoted(word)).collect();
        lines.push(format!("    # {}\n    {number}) set -- {} ;;", task.label, words.join(" ")));
    }
    lines.push("esac".to_owned());
    let end = if job.resumes { RESUMING } else { "\nexec \"$program\" \"$@\"\n" };
    Ok(lines.join("\n") + "\n" + end)
}

fn one_line<'a>(option: &'static str, value: &'a str) -> Result<&'a str, SubmitError> {
    match value.contains(char::is_control) {
        true => Err(SubmitError::SeveralLines { option, value: value.to_owned() }),
        false => Ok(value),
    }
}

/// A text as one word of a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,+@%".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::graph::Task;
    use super::*;

    fn job(resumes: bool) -> Job {
        let task = |fold: usize| Task {
            label: format!("fold {fold}"),
            arguments: ["train", "4", "2d", &fold.to_string(), "-tr", "it's mine.toml"]
                .map(str::to_owned)
                .into(),
        };
        Job { name: "train_2d".to_owned(), tasks: vec![task(0), task(1)], needs: vec![0], resumes }
    }

    #[test]
    fn a_script_says_what_it_asks_for_and_what_it_runs() {
        let options = SlurmOptions {
            partition: Some("gpu".to_owned()),
            time: Some("08:00:00".to_owned()),
            cpus: Some(12),
            extra: vec!["--gres=gpu:1".to_owned()],
            ..SlurmOptions::default()
        };
        let text = script(&job(true), Path::new("/opt/nn unet"), Path::new("/logs"), &options).unwrap();
        for line in [
            "#SBATCH --array=0-1",
            "#SBATCH --output=/logs/train_2d_%a.log",
            "#SBATCH --signal=B:USR1@120",
            "#SBATCH --partition=gpu",
            "#SBATCH --time=08:00:00",
            "#SBATCH --cpus-per-task=12",
            "#SBATCH --gres=gpu:1",
            "program='/opt/nn unet'",
            r"    1) set -- train 4 2d 1 -tr 'it'\''s mine.toml' ;;",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        assert!(text.contains("scontrol requeue"));
        let text = script(&job(false), Path::new("/opt/nnunet"), Path::new("/logs"), &options).unwrap();
        assert!(!text.contains("requeue") && text.ends_with("exec \"$program\" \"$@\"\n"), "{text}");
    }

    #[test]
    fn options_stay_within_their_line() {
        let options =
            SlurmOptions { extra: vec!["--comment=a\nrm -rf /".to_owned()], ..SlurmOptions::default() };
        let error = script(&job(true), Path::new("/p"), Path::new("/l"), &options).unwrap_err().to_string();
        assert!(error.contains("--sbatch") && error.contains("expected one line"), "{error}");
    }
}
