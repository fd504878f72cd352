//! What this machine and these folders offer, and what would be missing or slow.

use std::path::{Path, PathBuf};

use nnunet_base::file_system::FileSystem;
use nnunet_base::files::ensure_writable_folder;
use nnunet_base::memory::{Memory, gigabytes};
use nnunet_dataset::splits::Fold;
use nnunet_dataset::{DatasetName, Folders};
use nnunet_infer::model::ModelName;
use nnunet_infer::model_store::{InstalledModel, installed_models};
use nnunet_infer::predict::Model;

use super::Project;
use crate::backend::CpuLevel;

/// Below this a training of the usual patches does not fit.
const LITTLE_MEMORY: u64 = 8_000_000_000;
/// Below this a preprocessed dataset or a model may not fit.
const LITTLE_SPACE: u64 = 10_000_000_000;
/// Checkpoints of a fold, the one that predictions take first.
const CHECKPOINTS: [&str; 3] = ["checkpoint_final.pth", "checkpoint_best.pth", "checkpoint_latest.pth"];

/// What [`Project::doctor`] has found.
#[derive(Debug, Clone)]
pub struct Diagnosis {
    /// The CPU.
    pub cpu: CpuState,
    /// The main memory that this process may use.
    pub memory: Memory,
    /// Devices of this build, the best first: name and description.
    pub devices: Vec<(String, String)>,
    /// The three folders: raw, preprocessed, results.
    pub folders: Vec<FolderState>,
    /// The models in the results folder.
    pub models: Vec<ModelState>,
    /// What is missing, in the way or slow.
    pub findings: Vec<Finding>,
}

/// The CPU, and what of it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuState {
    /// The best instruction set of the machine that the kernels know.
    pub detected: CpuLevel,
    /// The one that is used.
    pub in_use: CpuLevel,
    /// Logical cores of the machine; only Linux says it.
    pub cores: Option<usize>,
    /// Cores that this process may use: affinity and the quota of its control group count.
    pub usable_cores: usize,
}

/// One of the three folders.
#[derive(Debug, Clone)]
pub struct FolderState {
    /// Its name in nnU-Net: `nnUNet_raw`.
    pub name: &'static str,
    /// Where it is, if it is set.
    pub path: Option<PathBuf>,
    /// Whether there is a folder.
    pub exists: bool,
    /// Why no files can be written to it; `None` if they can, or it is not set.
    pub unwritable: Option<String>,
    /// What it is on, if it is set.
    pub file_system: Option<FileSystem>,
    /// Datasets in it.
    pub datasets: usize,
}

/// A model in the results folder.
#[derive(Debug, Clone)]
pub struct ModelState {
    /// The dataset it was trained on.
    pub dataset: DatasetName,
    /// Its trainer, plans and configuration.
    pub name: ModelName,
    /// Folds that have a checkpoint.
    pub folds: Vec<String>,
    /// Why it cannot predict; `None` if its first fold can be loaded.
    pub problem: Option<String>,
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingKind {
    /// Something is not there that many verbs need.
    Missing,
    /// Something fails.
    Broken,
    /// Something works, but slowly, or only just.
    Slow,
}

impl FindingKind {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Broken => "broken",
            Self::Slow => "slow",
        }
    }
}

/// Something that the user may want to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub kind: FindingKind,
    /// A sentence with the reason.
    pub text: String,
}

impl Project {
    /// Looks at the machine, the folders and the models. `cpu_level` is the instruction set that is used, which may be lower than
    /// that of the machine. Of each model the first fold is loaded, which reads its checkpoint; nothing is left behind.
    ///
    /// ```no_run
    /// # use nnunet::{Folders, Project, backend::CpuLevel};
    /// # let project = Project::new(Folders::default());
    /// for finding in project.doctor(CpuLevel::detect()).findings {
    ///     println!("{}: {}", finding.kind.name(), finding.text);
    /// }
    /// ```
    pub fn doctor(&self, cpu_level: CpuLevel) -> Diagnosis {
        let detected = CpuLevel::detect();
        let mut diagnosis = Diagnosis {
            cpu: CpuState {
                detected,
                in_use: cpu_level.min(detected),
                cores: cores_of_machine(),
                usable_cores: std::thread::available_parallelism().map_or(1, usize::from),
            },
            memory: Memory::of_this_process(),
            devices: self
                .registry
                .devices
                .iter()
                .map(|(name, what, _)| (name.to_owned(), what.to_owned()))
                .collect(),
            folders: folder_states(&self.folders),
            models: self.model_states(),
            findings: Vec::new(),
        };
        diagnosis.findings = findings(&diagnosis);
        diagnosis
    }

    fn model_states(&self) -> Vec<ModelState> {
        let Some(results) = &self.folders.results else { return Vec::new() };
        // A folder that cannot be listed is said of the folder.
        let models = installed_models(results).unwrap_or_default();
        models.into_iter().map(|model| self.model_state(results, model)).collect()
    }

    fn model_state(&self, results: &Path, model: InstalledModel) -> ModelState {
        let folder = results.join(model.dataset.as_str()).join(model.name.to_string());
        let problem = match (&model.about, model.folds.first()) {
            (Err(problem), _) => Some(problem.clone()),
            (Ok(_), None) => Some(format!("{}: no fold has a checkpoint", folder.display())),
            (Ok(_), Some(fold)) => self.loaded(&folder, fold).err(),
        };
        ModelState { dataset: model.dataset, name: model.name, folds: model.folds, problem }
    }

    /// Loads a fold of a model, for what is wrong with it.
    fn loaded(&self, folder: &Path, fold: &str) -> Result<(), String> {
        let within = folder.join(format!("fold_{fold}"));
        let checkpoint = CHECKPOINTS.into_iter().find(|name| within.join(name).is_file());
        let checkpoint =
            checkpoint.ok_or_else(|| format!("{}: none of {}", within.display(), CHECKPOINTS.join(", ")))?;
        let fold: Fold = fold.parse()?;
        let model = Model::load(folder, &[fold], checkpoint, &self.registry.data, &self.registry.recipes);
        model.map(|_| ()).map_err(|error| error.to_string())
    }
}

/// The logical cores of the machine.
fn cores_of_machine() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let count = text.lines().filter(|line| line.starts_with("processor")).count();
    (count > 0).then_some(count)
}

fn folder_states(folders: &Folders) -> Vec<FolderState> {
    [
        ("nnUNet_raw", &folders.raw),
        ("nnUNet_preprocessed", &folders.preprocessed),
        ("nnUNet_results", &folders.results),
    ]
    .map(|(name, path)| FolderState {
        name,
        exists: path.as_ref().is_some_and(|path| path.is_dir()),
        unwritable: path
            .as_ref()
            .and_then(|path| ensure_writable_folder(path).err())
            .map(|error| error.to_string()),
        file_system: path.as_deref().map(FileSystem::of),
        datasets: path.as_deref().map_or(0, datasets_in),
        path: path.clone(),
    })
    .into()
}

fn datasets_in(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| DatasetName::new(&entry.file_name().to_string_lossy()).is_ok()).count()
}

/// What to say of it all, the folders first.
fn findings(found: &Diagnosis) -> Vec<Finding> {
    let mut list: Vec<Finding> = found.folders.iter().flat_map(of_folder).collect();
    let mut add = |kind, text: String| list.push(Finding { kind, text });
    let cpu = found.cpu;
    if cpu.in_use < cpu.detected {
        let text = format!(
            "the CPU level is lowered to {}, this machine has {}: {}",
            cpu.in_use.name(),
            cpu.detected.name(),
            speed_of(cpu.in_use)
        );
        add(FindingKind::Slow, text);
    } else if cpu.in_use < CpuLevel::Avx512 {
        add(FindingKind::Slow, format!("CPU level {}: {}", cpu.in_use.name(), speed_of(cpu.in_use)));
    }
    if let Some(cores) = cpu.cores.filter(|cores| *cores > cpu.usable_cores) {
        let text = format!(
            "this process may use {} of {cores} cores (affinity, or the quota of a batch job or container)",
            cpu.usable_cores
        );
        add(FindingKind::Slow, text);
    }
    if let Some(total) = found.memory.total.filter(|total| *total < LITTLE_MEMORY) {
        let text = format!(
            "{} of memory ({}): trainings with large patches and predictions of large images may be refused",
            gigabytes(total),
            found.memory.limited_by
        );
        add(FindingKind::Slow, text);
    }
    for model in &found.models {
        if let Some(problem) = &model.problem {
            add(
                FindingKind::Broken,
                format!("model {}/{} cannot predict: {problem}", model.dataset, model.name),
            );
        }
    }
    list
}

/// What to say of a folder.
fn of_folder(folder: &FolderState) -> Vec<Finding> {
    let mut list = Vec::new();
    let mut add = |kind, text: String| list.push(Finding { kind, text: format!("{}: {text}", folder.name) });
    let Some(path) = &folder.path else {
        add(FindingKind::Missing, "not set".to_owned());
        return list;
    };
    let place = path.display();
    match (&folder.unwritable, folder.exists) {
        (Some(problem), _) => {
            add(FindingKind::Broken, format!("{place}: files cannot be written there: {problem}"))
        }
        (None, false) => {
            add(FindingKind::Missing, format!("{place} does not exist yet; it is created when it is needed"))
        }
        (None, true) => {}
    }
    if let Some(system) = &folder.file_system {
        if system.is_network {
            let kind = system.kind.as_deref().unwrap_or("network");
            let text = match folder.name {
                "nnUNet_preprocessed" => format!(
                    "{place} is on a network file system ({kind}): training reads every batch from there; a local disk \
                     is faster"
                ),
                _ => format!("{place} is on a network file system ({kind})"),
            };
            add(FindingKind::Slow, text);
        }
        if let Some(free) = system.free.filter(|free| *free < LITTLE_SPACE && folder.name != "nnUNet_raw") {
            add(FindingKind::Slow, format!("{place}: only {} are free", gigabytes(free)));
        }
    }
    list
}

/// What a CPU level means for the speed of networks.
pub fn speed_of(level: CpuLevel) -> &'static str {
    match level {
        CpuLevel::Portable => "code without wide vectors; made for tests, slow for training",
        CpuLevel::Avx2 => "vectors of 8 numbers, half as many at once as with AVX-512",
        CpuLevel::Avx512 => "vectors of 16 numbers; bf16 saves memory, but hardly any time",
        CpuLevel::Avx512Bf16 => "vectors of 16 numbers, and direct products of bf16 values",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(project: &Project) -> Vec<(FindingKind, String)> {
        project.doctor(CpuLevel::detect()).findings.into_iter().map(|f| (f.kind, f.text)).collect()
    }

    #[test]
    fn folders_that_are_not_set_missing_or_unwritable_are_told_apart() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("file"), "").unwrap();
        let project = Project::new(Folders {
            raw: None,
            preprocessed: Some(root.path().join("new")),
            results: Some(root.path().join("file/results")),
        });
        let found = project.doctor(CpuLevel::detect());
        let [raw, preprocessed, results] = found.folders.as_slice() else { panic!("three folders") };
        assert!(raw.path.is_none() && raw.unwritable.is_none() && raw.file_system.is_none());
        assert!(!preprocessed.exists && preprocessed.unwritable.is_none());
        assert!(!results.exists && results.unwritable.as_ref().unwrap().contains("file"));
        let texts = texts(&project);
        let has = |kind: FindingKind, words: &str| texts.iter().any(|(w, t)| *w == kind && t.contains(words));
        assert!(has(FindingKind::Missing, "nnUNet_raw: not set"), "{texts:?}");
        assert!(has(FindingKind::Missing, "new does not exist yet"), "{texts:?}");
        assert!(has(FindingKind::Broken, "files cannot be written there"), "{texts:?}");
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn a_model_that_cannot_be_loaded_says_why() {
        let root = tempfile::tempdir().unwrap();
        let model = root.path().join("Dataset007_Balls/nnUNetTrainer__nnUNetPlans__2d/fold_0");
        std::fs::create_dir_all(&model).unwrap();
        std::fs::write(model.join("checkpoint_final.pth"), "no zip").unwrap();
        let project = Project::new(Folders { results: Some(root.path().to_owned()), ..Folders::default() });
        let found = project.doctor(CpuLevel::detect());
        assert_eq!(found.models.len(), 1);
        assert!(found.models[0].problem.as_ref().unwrap().contains("dataset.json"), "{:?}", found.models[0]);
        assert!(
            found.findings.iter().any(|f| f.kind == FindingKind::Broken && f.text.contains("cannot predict"))
        );
    }

    #[test]
    fn a_lowered_level_is_said_to_be_slow() {
        let found = Project::new(Folders::default()).doctor(CpuLevel::Portable);
        assert_eq!(found.cpu.in_use, CpuLevel::Portable);
        assert!(found.findings.iter().any(|f| f.kind == FindingKind::Slow && f.text.contains("portable")));
    }
}
