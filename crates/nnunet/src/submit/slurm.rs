//! Hands a graph to SLURM.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nnunet_base::files::write_atomic;

use super::error::SubmitError;
use super::graph::JobGraph;
use super::record::Record;
use super::script::{SlurmOptions, script};

/// Writes the script of each job to `folder`, as `JOB.sh`, and returns their paths. Logs will be in its folder `logs`.
///
/// # Errors
/// Options with line breaks; files that cannot be written.
pub fn write_scripts(
    graph: &JobGraph,
    program: &Path,
    folder: &Path,
    options: &SlurmOptions,
) -> Result<Vec<PathBuf>, SubmitError> {
    let logs = folder.join("logs");
    std::fs::create_dir_all(&logs).map_err(SubmitError::io(&logs))?;
    let write = |job| {
        let text = script(job, program, &logs, options)?;
        let path = folder.join(format!("{}.sh", job.name));
        write_atomic(&path, text.as_bytes()).map_err(SubmitError::io(&path))?;
        Ok(path)
    };
    graph.jobs.iter().map(write).collect()
}

/// Writes the scripts and submits them, each after the jobs that it needs, and records the numbers of the jobs in
/// `folder`. If one cannot be submitted, those before it are cancelled.
///
/// # Errors
/// No SLURM here, or one that refuses a job; files that cannot be written.
pub fn submit(
    graph: &JobGraph,
    program: &Path,
    folder: &Path,
    options: &SlurmOptions,
) -> Result<Record, SubmitError> {
    let scripts = write_scripts(graph, program, folder, options)?;
    let mut record = Record::new(graph);
    let mut ids: Vec<String> = Vec::new();
    for (job, path) in graph.jobs.iter().zip(&scripts) {
        let needs: Vec<&str> = job.needs.iter().map(|need| ids[*need].as_str()).collect();
        match submit_one(path, &needs) {
            Ok(id) => {
                record.jobs[ids.len()].slurm_id = Some(id.clone());
                ids.push(id);
                record.save(folder)?;
            }
            Err(error) => {
                // What went wrong matters more than what could not be taken back.
                let _ = Command::new("scancel").args(&ids).output();
                record.jobs.iter_mut().for_each(|job| job.slurm_id = None);
                record.save(folder)?;
                return Err(error);
            }
        }
    }
    Ok(record)
}

/// Submits a script after jobs of the numbers `needs` and returns its number.
fn submit_one(script: &Path, needs: &[&str]) -> Result<String, SubmitError> {
    let mut command = Command::new("sbatch");
    command.arg("--parsable");
    if !needs.is_empty() {
        command.arg(format!("--dependency=afterok:{}", needs.join(":")));
    }
    let Output { status, stdout, stderr } =
        command.arg(script).output().map_err(|error| SubmitError::Slurm {
            program: "sbatch",
            problem: error.to_string(),
            advice: "; submit where SLURM is installed, or run the jobs here with --local",
        })?;
    let said = String::from_utf8_lossy(&stdout).trim().to_owned();
    // NUMBER, or NUMBER;CLUSTER.
    let id = said.split(';').next().unwrap_or_default();
    if !status.success() || id.is_empty() {
        let problem = format!("{}: {}", script.display(), String::from_utf8_lossy(&stderr).trim());
        return Err(SubmitError::Slurm { program: "sbatch", problem, advice: "" });
    }
    Ok(id.to_owned())
}
