//! Which jobs there are, and which of them need which.

use std::path::{Path, PathBuf};

use nnunet_base::spelling::closest;
use nnunet_data::plan::Plans;
use nnunet_dataset::DatasetName;

use super::error::SubmitError;

/// The plans that the first job makes where there are none.
const DEFAULT_PLANS: &str = "nnUNetPlans";

/// What is to be planned, trained and predicted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmitRequest {
    /// The dataset.
    pub dataset: DatasetName,
    /// Name of the plans; they are made if they do not exist, and stay as they are otherwise.
    pub plans: String,
    /// The configurations; none: all of the plans.
    pub configurations: Vec<String>,
    /// The folds.
    pub folds: Vec<u32>,
    /// What `-tr` of the training gets: a name, or the file of a recipe.
    pub trainer: String,
    /// Name of the trainer in the results folder.
    pub trainer_name: String,
    /// Number of parts in which cases are preprocessed.
    pub parts: usize,
    /// Whether ensembles of two configurations are considered, for which trainings save probabilities.
    pub ensembling: bool,
    /// Images to segment with the best model, and the folder for the segmentations.
    pub predict: Option<(PathBuf, PathBuf)>,
    /// Arguments that every command gets: those of the folders.
    pub common: Vec<String>,
}

/// Jobs, each after those that it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobGraph {
    /// The jobs.
    pub jobs: Vec<Job>,
}

/// Tasks that can run at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its name, of letters, digits and underscores.
    pub name: String,
    /// The tasks.
    pub tasks: Vec<Task>,
    /// Indices of the jobs whose tasks all have to succeed before.
    pub needs: Vec<usize>,
    /// Whether a task that was stopped goes on where it was when it is run again.
    pub resumes: bool,
}

/// One command of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// What it does, within its job.
    pub label: String,
    /// The arguments of the program.
    pub arguments: Vec<String>,
}

impl JobGraph {
    pub(super) fn add(&mut self, name: String, needs: Vec<usize>, resumes: bool, tasks: Vec<Task>) -> usize {
        self.jobs.push(Job { name, tasks, needs, resumes });
        self.jobs.len() - 1
    }
}

/// The jobs of a request. `preprocessed` is the dataset's folder of preprocessed data.
///
/// # Errors
/// Plans that are neither there nor made by the first job; configurations that they do not have.
pub fn graph(request: &SubmitRequest, preprocessed: &Path) -> Result<JobGraph, SubmitError> {
    let file = preprocessed.join(format!("{}.json", request.plans));
    let plans = match file.is_file() {
        true => Some(Plans::read(&file)?),
        false if request.configurations.is_empty() => {
            return Err(SubmitError::NoConfigurations { plans: file });
        }
        false if request.plans != DEFAULT_PLANS => return Err(SubmitError::NoPlans { plans: file }),
        false => None,
    };
    let configurations = match (&plans, request.configurations.is_empty()) {
        (Some(plans), true) => plans.configuration_names().into_iter().map(|name| name.to_string()).collect(),
        _ => request.configurations.clone(),
    };
    let stages = stages(&configurations, plans.as_ref(), &file)?;
    let mut graph = JobGraph { jobs: Vec::new() };
    let words = Words(request);
    let planned = match plans {
        Some(_) => Vec::new(),
        None => {
            let plan =
                words.task("plans", &["plan-and-preprocess", "-d", request.dataset.as_str(), "--no_pp"]);
            vec![graph.add("plan".to_owned(), Vec::new(), false, vec![plan])]
        }
    };
    let preprocess = graph.add("preprocess".to_owned(), planned, true, words.preprocess(&stages));
    let mut trained: Vec<(usize, &Stage)> = Vec::new();
    // A previous stage may be listed after the stage that needs it.
    let mut waiting: Vec<&Stage> = stages.iter().collect();
    while !waiting.is_empty() {
        let is_waiting = |name: &String| waiting.iter().any(|stage| stage.name == *name);
        let at =
            waiting.iter().position(|stage| !stage.previous.as_ref().is_some_and(is_waiting)).unwrap_or(0);
        let stage = waiting.remove(at);
        let previous = trained.iter().find(|(_, done)| stage.previous.as_ref() == Some(&done.name));
        let needs = previous.map_or(preprocess, |(job, _)| *job);
        let job =
            graph.add(format!("train_{}", identifier(&stage.name)), vec![needs], true, words.train(stage));
        trained.push((job, stage));
    }
    let needs = trained.iter().map(|(job, _)| *job).collect();
    let best = graph.add("find_best".to_owned(), needs, false, vec![words.find_best(&configurations)]);
    if let Some((input, output)) = &request.predict {
        graph.add("predict".to_owned(), vec![best], false, vec![words.predict(input, output)]);
    }
    Ok(graph)
}

/// A configuration to train.
struct Stage {
    name: String,
    /// The configuration whose segmentations it gets.
    previous: Option<String>,
    /// The configuration whose preprocessed data it is trained with: in a cascade that of full resolution.
    data: String,
}

fn stages(names: &[String], plans: Option<&Plans>, file: &Path) -> Result<Vec<Stage>, SubmitError> {
    let stage = |name: &String| {
        let Some(plans) = plans else {
            // What the planner calls a cascade.
            let is_cascade = name == "3d_cascade_fullres";
            return Ok(Stage {
                name: name.clone(),
                previous: is_cascade.then(|| "3d_lowres".to_owned()),
                data: if is_cascade { "3d_fullres".to_owned() } else { name.clone() },
            });
        };
        if !plans.has_configuration(name) {
            let known: Vec<String> =
                plans.configuration_names().into_iter().map(|name| name.to_string()).collect();
            return Err(SubmitError::UnknownConfiguration {
                plans: file.to_owned(),
                name: name.clone(),
                closest: closest(name, known.iter().map(String::as_str)).map(str::to_owned),
                known: known.join(", "),
            });
        }
        let found = plans.configuration(name)?;
        let same_data = plans.configuration_names().into_iter().find(|other| {
            let other = plans.configuration(other);
            other.is_ok_and(|o| o.previous_stage.is_none() && o.data_identifier == found.data_identifier)
        });
        let data = same_data.map_or_else(|| name.clone(), |other| other.to_string());
        Ok(Stage { name: name.clone(), previous: found.previous_stage, data })
    };
    names.iter().map(stage).collect()
}

/// The letters, digits and underscores of a name.
pub(super) fn identifier(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// Puts command lines together.
struct Words<'a>(&'a SubmitRequest);

impl Words<'_> {
    fn task(&self, label: impl Into<String>, words: &[&str]) -> Task {
        let arguments = words.iter().map(|word| (*word).to_owned()).chain(self.0.common.iter().cloned());
        Task { label: label.into(), arguments: arguments.collect() }
    }

    /// A task for each part. Configurations that share their data are named once.
    fn preprocess(&self, stages: &[Stage]) -> Vec<Task> {
        let request = self.0;
        let mut data: Vec<&str> = Vec::new();
        for stage in stages {
            if !data.contains(&stage.data.as_str()) {
                data.push(&stage.data);
            }
        }
        let words = ["preprocess", "-d", request.dataset.as_str(), "-plans_name", &request.plans, "-c"];
        let words = [&words[..], &data].concat();
        let count = request.parts.to_string();
        let part = |part: usize| {
            let number = part.to_string();
            let words = match request.parts {
                1 => words.clone(),
                _ => [&words[..], &["--num-parts", &count, "--part-id", &number]].concat(),
            };
            self.task(format!("part {number}"), &words)
        };
        (0..request.parts).map(part).collect()
    }

    /// A task for each fold.
    fn train(&self, stage: &Stage) -> Vec<Task> {
        let request = self.0;
        let fold = |fold: &u32| {
            let number = fold.to_string();
            let mut words = vec!["train", request.dataset.as_str(), &stage.name, &number];
            words.extend(["-tr", &request.trainer, "-p", &request.plans, "--c"]);
            if request.ensembling {
                words.push("--npz");
            }
            self.task(format!("fold {number}"), &words)
        };
        request.folds.iter().map(fold).collect()
    }

    fn find_best(&self, configurations: &[String]) -> Task {
        let request = self.0;
        let folds: Vec<String> = request.folds.iter().map(u32::to_string).collect();
        let mut words = vec!["find-best-configuration", request.dataset.as_str()];
        words.extend(["-p", &request.plans, "-tr", &request.trainer_name, "-c"]);
        words.extend(configurations.iter().map(String::as_str));
        words.push("-f");
        words.extend(folds.iter().map(String::as_str));
        if !request.ensembling {
            words.push("--disable_ensembling");
        }
        self.task("best configuration", &words)
    }

    fn predict(&self, input: &Path, output: &Path) -> Task {
        let (input, output) = (input.display().to_string(), output.display().to_string());
        self.task("segmentations", &["predict-best", self.0.dataset.as_str(), "-i", &input, "-o", &output])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(configurations: &[&str]) -> SubmitRequest {
        SubmitRequest {
            dataset: DatasetName::new("Dataset004_Hippocampus").unwrap(),
            plans: DEFAULT_PLANS.to_owned(),
            configurations: configurations.iter().map(|name| (*name).to_owned()).collect(),
            folds: vec![0, 1],
            trainer: "/a/mine.toml".to_owned(),
            trainer_name: "mine".to_owned(),
            parts: 3,
            ensembling: true,
            predict: Some(("/in".into(), "/out".into())),
            common: vec!["--results".to_owned(), "/res".to_owned()],
        }
    }

    #[test]
    fn jobs_need_what_they_read() {
        let folder = tempfile::tempdir().unwrap();
        let graph = graph(&request(&["3d_cascade_fullres", "3d_lowres"]), folder.path()).unwrap();
        let jobs: Vec<(&str, &[usize], usize)> =
            graph.jobs.iter().map(|job| (job.name.as_str(), &job.needs[..], job.tasks.len())).collect();
        assert_eq!(
            jobs,
            [
                ("plan", &[][..], 1),
                ("preprocess", &[0], 3),
                ("train_3d_lowres", &[1], 2),
                ("train_3d_cascade_fullres", &[2], 2),
                ("find_best", &[2, 3], 1),
                ("predict", &[4], 1),
            ]
        );
        let line = |job: usize, task: usize| graph.jobs[job].tasks[task].arguments.join(" ");
        let dataset = "Dataset004_Hippocampus";
        assert_eq!(
            line(1, 2),
            format!(
                "preprocess -d {dataset} -plans_name nnUNetPlans -c 3d_fullres 3d_lowres --num-parts 3 --part-id 2 \
                 --results /res"
            )
        );
        assert_eq!(
            line(3, 1),
            format!(
                "train {dataset} 3d_cascade_fullres 1 -tr /a/mine.toml -p nnUNetPlans --c --npz --results /res"
            )
        );
        assert_eq!(
            line(4, 0),
            format!(
                "find-best-configuration {dataset} -p nnUNetPlans -tr mine -c 3d_cascade_fullres 3d_lowres -f 0 1 --results /res"
            )
        );
        assert_eq!(line(5, 0), format!("predict-best {dataset} -i /in -o /out --results /res"));
    }

    #[test]
    fn without_plans_the_configurations_have_to_be_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = graph(&request(&[]), folder.path()).unwrap_err().to_string();
        assert!(
            error.contains("nnUNetPlans.json: there are no plans yet") && error.contains("-c"),
            "{error}"
        );
        let other = SubmitRequest { plans: "mine".to_owned(), ..request(&["2d"]) };
        let error = graph(&other, folder.path()).unwrap_err().to_string();
        assert!(error.contains("mine.json: no such plans"), "{error}");
    }
}
