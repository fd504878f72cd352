//! A federation on one machine: each site is a process with folders of its own, this one is the server.
//!
//! ```text
//! FOLDER/sites/NAME/{raw,preprocessed,results}   what a site has; nothing else of the folder is given to it but messages
//! FOLDER/exchange/STEP/NAME                      answers of the sites
//! FOLDER/exchange/STEP_merged, global_NNN        messages of the server
//! FOLDER/logs/NAME.log                           what the processes said
//! FOLDER/rounds.jsonl                            bytes, seconds and losses of each round
//! ```
//!
//! Messages are checkpoints: a simulation that is started again goes on after the last one.

mod division;
mod processes;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nnunet::files::write_atomic;
use nnunet::progress::{Event, Interrupted};
use nnunet::{Ctx, DatasetName, Folders, Project};
use serde_json::{Map, Value, json};

use crate::aggregate::{Aggregated, aggregate};
use crate::error::FederatedError;
use crate::merge::merge;
use crate::message::{Body, Message, SiteValidation, bytes_of};
use crate::seal::Key;
use crate::settings::{FingerprintForm, Settings};

use division::divide;
use processes::{Ending, Processes, Task};

/// A federation to simulate.
#[derive(Debug, Clone)]
pub struct SimulateJob {
    /// The file of settings.
    pub settings: PathBuf,
    /// Where everything goes.
    pub folder: PathBuf,
    /// A dataset of the project whose patients are dealt out to the sites; without it, each site has a dataset in its raw
    /// folder already.
    pub dataset: Option<DatasetName>,
    /// The program that sites run.
    pub program: PathBuf,
    /// Sites that run at once.
    pub at_once: usize,
    /// Arguments that every process gets, such as that for threads.
    pub arguments: Vec<String>,
    /// Arguments that processes with networks get, such as that for precision.
    pub network_arguments: Vec<String>,
    /// The file of the federation's key, if it has one.
    pub key: Option<PathBuf>,
}

/// What came of a simulation.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulated {
    /// Each site that has validated the last weights.
    pub sites: Vec<SiteScore>,
    /// All of them together.
    pub all: SiteValidation,
}

/// A site's validation of the last weights.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteScore {
    /// Its name.
    pub site: String,
    /// Dice on its validation cases.
    pub validation: SiteValidation,
}

/// Runs a federation: fingerprints, plans, preprocessing, all rounds, validation. A site whose process fails or is late is
/// left out of the round and comes back in the next one; where all sites are needed, it ends the simulation.
///
/// # Errors
/// Settings, datasets or folders that cannot be used; a site without which nothing goes on; interrupted, once the
/// processes have saved their state.
pub fn simulate(project: &Project, job: &SimulateJob, ctx: Ctx<'_>) -> Result<Simulated, FederatedError> {
    let settings = Settings::read(&job.settings)?;
    let key = job.key.as_deref().map(Key::read).transpose()?;
    let agreed = keep_settings(job, &settings)?;
    if let Some(dataset) = &job.dataset {
        divide(project, dataset, &settings, &job.folder, ctx)?;
    }
    let sites = settings.sites.iter().map(|name| Member::new(&job.folder, name)).collect::<Result<_, _>>()?;
    let simulation = Simulation { job, settings: &settings, agreed: &agreed, key: key.as_ref(), sites, ctx };
    let planned = simulation.plan()?;
    let last = simulation.train(planned)?;
    simulation.validate(&last)
}

/// Copies the settings into the folder, where every site is given them.
fn keep_settings(job: &SimulateJob, settings: &Settings) -> Result<PathBuf, FederatedError> {
    let kept = job.folder.join("federation.toml");
    if kept.exists() {
        if Settings::read(&kept)? != *settings {
            let problem =
                "a federation with other settings was simulated here; name another folder".to_owned();
            return Err(FederatedError::Settings { path: kept, problem });
        }
        return Ok(kept);
    }
    let text = std::fs::read(&job.settings).map_err(FederatedError::io(&job.settings))?;
    write_atomic(&kept, &text).map_err(FederatedError::io(&kept))?;
    Ok(kept)
}

/// A site with its folders.
struct Member {
    name: String,
    dataset: DatasetName,
    folder: PathBuf,
}

impl Member {
    fn new(folder: &Path, name: &str) -> Result<Self, FederatedError> {
        let folder = folder.join("sites").join(name);
        let raw = Folders { raw: Some(folder.join("raw")), ..Folders::default() };
        let mut datasets = raw.datasets().into_keys();
        match (datasets.next(), datasets.next()) {
            (Some(dataset), None) => Ok(Self { name: name.to_owned(), dataset, folder }),
            (first, _) => Err(FederatedError::OtherMessage {
                path: folder.join("raw"),
                found: if first.is_some() { "several datasets" } else { "no dataset" }.to_owned(),
                expected: "the dataset of the site".to_owned(),
            }),
        }
    }

    /// Arguments that say which site and folders these are.
    fn folders(&self) -> Vec<String> {
        let folder = |name: &str| self.folder.join(name).display().to_string();
        [
            "--raw".to_owned(),
            folder("raw"),
            "--preprocessed".to_owned(),
            folder("preprocessed"),
            "--results".to_owned(),
        ]
        .into_iter()
        .chain([folder("results")])
        .collect()
    }
}

struct Simulation<'a> {
    job: &'a SimulateJob,
    settings: &'a Settings,
    agreed: &'a Path,
    key: Option<&'a Key>,
    sites: Vec<Member>,
    ctx: Ctx<'a>,
}

impl Simulation<'_> {
    fn exchange(&self, step: &str) -> PathBuf {
        self.job.folder.join("exchange").join(step)
    }

    /// Fingerprints, plans and preprocessed cases; returns the message that round 0 begins with.
    fn plan(&self) -> Result<PathBuf, FederatedError> {
        let mut input = self.agreed.to_owned();
        let form = self.settings.fingerprint;
        if matches!(form, FingerprintForm::Exact | FingerprintForm::Local) {
            input = self.merged("fingerprint", "size", &input)?;
        }
        if form != FingerprintForm::Local {
            input = self.merged("fingerprint", "fingerprint", &input)?;
        }
        let planned = self.merged("plan", "plan", &input)?;
        let Settings { plans, configuration, .. } = self.settings;
        let task = |site: &Member| {
            let words =
                ["preprocess", "-d", site.dataset.as_str(), "-plans_name", plans, "-c", configuration];
            self.task(site, "preprocessing", words.map(str::to_owned).to_vec())
        };
        self.all(self.sites.iter().map(task).collect())?;
        Ok(planned)
    }

    /// All rounds; returns the last weights.
    fn train(&self, planned: PathBuf) -> Result<PathBuf, FederatedError> {
        let rounds = self.settings.rounds;
        self.ctx.event(Event::Started { stage: "rounds", total: rounds as u64 });
        let mut input = planned;
        for round in 0..=rounds {
            let global = self.exchange(&format!("global_{round:03}"));
            if !global.exists() {
                let begun = Instant::now();
                let aggregated = self.round(round, &input, &global)?;
                let seconds = begun.elapsed().as_secs_f64();
                self.record(round, &input, &global, &aggregated, seconds)?;
                self.say(round, &aggregated, seconds);
            }
            input = global;
        }
        self.ctx.event(Event::Finished);
        Ok(input)
    }

    fn round(&self, round: usize, input: &Path, global: &Path) -> Result<Aggregated, FederatedError> {
        let step = format!("round_{round:03}");
        let tasks = self.answers("round", &step, input);
        if round == 0 {
            self.all(tasks)?;
        } else {
            let wait = (self.settings.wait_minutes > 0.0).then_some(60.0 * self.settings.wait_minutes);
            for (site, ending) in self.run(tasks, wait)? {
                if let Some(why) = ending.failure() {
                    let log = self.log(&site);
                    self.ctx.warning(&format!(
                        "round {round}: site {site} is left out, its process {why}, see {}",
                        log.display()
                    ));
                }
            }
        }
        aggregate(&self.exchange(&step), global, self.key)
    }

    fn say(&self, round: usize, aggregated: &Aggregated, seconds: f64) {
        let global = &aggregated.global;
        let loss =
            aggregated.train_loss.map_or_else(String::new, |loss| format!(", training loss {loss:.4}"));
        let detail = format!(
            "round {round}: {} sites, {} tensors{loss}, {seconds:.0} s",
            global.sites.len(),
            aggregated.tensors
        );
        self.ctx.event(Event::Advanced { done: round as u64, detail: &detail });
    }

    /// Adds a round to `rounds.jsonl`.
    fn record(
        &self,
        round: usize,
        input: &Path,
        global: &Path,
        aggregated: &Aggregated,
        seconds: f64,
    ) -> Result<(), FederatedError> {
        let received = if round == 0 { 0 } else { bytes_of(input) };
        let answers = self.exchange(&format!("round_{round:03}"));
        let bytes: Map<String, Value> = aggregated
            .global
            .sites
            .iter()
            .map(|site| {
                let sent = bytes_of(&answers.join(site));
                (site.clone(), json!({ "bytes_sent": sent, "bytes_received": received }))
            })
            .collect();
        let line = json!({
            "round": round,
            "sites": bytes,
            "left_out": aggregated.global.left_out,
            "weights": global,
            "train_loss": aggregated.train_loss,
            "seconds": seconds,
        });
        let path = self.job.folder.join("rounds.jsonl");
        let failed = || FederatedError::io(&path);
        let mut file = OpenOptions::new().create(true).append(true).open(&path).map_err(failed())?;
        file.write_all(format!("{line}\n").as_bytes()).map_err(failed())
    }

    /// The last weights on the cases of every site.
    fn validate(&self, last: &Path) -> Result<Simulated, FederatedError> {
        for (site, ending) in self.run(self.answers("validate", "validation", last), None)? {
            if let Some(why) = ending.failure() {
                let log = self.log(&site);
                self.ctx.warning(&format!(
                    "site {site} has not validated: its process {why}, see {}",
                    log.display()
                ));
            }
        }
        let answers = self.exchange("validation");
        let merged = merge(&answers, &self.exchange("validation_merged"), self.key)?;
        let mut sites = Vec::new();
        for site in merged.sites {
            if let Body::Validation(validation) = Message::read(&answers.join(&site), self.key)?.body {
                sites.push(SiteScore { site, validation });
            }
        }
        let path = self.exchange("validation_merged");
        match merged.body {
            Body::MergedValidation(all) => Ok(Simulated { sites, all }),
            other => Err(FederatedError::OtherMessage {
                path,
                found: other.what(),
                expected: "validations".to_owned(),
            }),
        }
    }

    /// The answers of all sites in a step, merged; what is there already is kept.
    fn merged(&self, action: &str, step: &str, input: &Path) -> Result<PathBuf, FederatedError> {
        let merged = self.exchange(&format!("{step}_merged"));
        if !merged.exists() {
            self.all(self.answers(action, step, input))?;
            merge(&self.exchange(step), &merged, self.key)?;
        }
        Ok(merged)
    }

    /// The processes of the sites that have not answered yet.
    fn answers(&self, action: &str, step: &str, input: &Path) -> Vec<Task> {
        let folder = self.exchange(step);
        let waiting = self.sites.iter().filter(|site| !folder.join(&site.name).exists());
        waiting
            .map(|site| {
                let text = |path: &Path| path.display().to_string();
                let mut words = vec!["federated".to_owned(), action.to_owned(), text(input)];
                words.push(text(&folder.join(&site.name)));
                words.extend(["--site".to_owned(), site.name.clone(), "-d".to_owned()]);
                words.extend([site.dataset.as_str().to_owned(), "--settings".to_owned(), text(self.agreed)]);
                if let Some(key) = &self.job.key {
                    words.extend(["--key".to_owned(), text(key)]);
                }
                words.extend(self.job.network_arguments.iter().cloned());
                self.task(site, step, words)
            })
            .collect()
    }

    fn task(&self, site: &Member, what: &str, mut words: Vec<String>) -> Task {
        words.extend(site.folders());
        words.extend(self.job.arguments.iter().cloned());
        Task { site: site.name.clone(), what: what.to_owned(), words, log: self.log(&site.name) }
    }

    fn log(&self, site: &str) -> PathBuf {
        self.job.folder.join("logs").join(format!("{site}.log"))
    }

    /// Runs tasks of which none may fail.
    fn all(&self, tasks: Vec<Task>) -> Result<(), FederatedError> {
        let whats: Vec<String> = tasks.iter().map(|task| task.what.clone()).collect();
        for ((site, ending), what) in self.run(tasks, None)?.into_iter().zip(whats) {
            if let Some(status) = ending.failure() {
                let log = self.log(&site);
                return Err(FederatedError::SiteFailed { site, what, status, log });
            }
        }
        Ok(())
    }

    /// Runs tasks, for `seconds` at most, and says how each ended, in their order.
    fn run(&self, tasks: Vec<Task>, seconds: Option<f64>) -> Result<Vec<(String, Ending)>, FederatedError> {
        let processes = Processes { program: &self.job.program, at_once: self.job.at_once, seconds };
        let endings = processes.run(&tasks, self.ctx)?;
        if self.ctx.is_cancelled() {
            return Err(FederatedError::Interrupted { path: self.job.folder.clone(), source: Interrupted });
        }
        Ok(tasks.into_iter().map(|task| task.site).zip(endings).collect())
    }
}
