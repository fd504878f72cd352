//! A trained model on disk: plans.json, dataset.json and a checkpoint per fold.
//!
//! ```text
//! TRAINER__PLANS__CONFIGURATION/{plans.json, dataset.json, fold_0/checkpoint_final.pth, ...}
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nnunet_checkpoint::Checkpoint;
use nnunet_graph::{Graph, Parameters};
use nnunet_pyformats::pickle::Value;

use super::error::PredictError;
use crate::model::{ModelSpec, models_in, with_network};
use nnunet_base::hint::Hint;
use nnunet_base::parts::Named;
use nnunet_base::spelling::closest;
use nnunet_data::Parts;
use nnunet_data::plan::Plans;
use nnunet_dataset::DatasetJson;
use nnunet_dataset::splits::Fold;
use nnunet_recipe::{Recipe, find};

/// A model as its folder has it.
pub struct Model {
    /// Its folder.
    pub folder: PathBuf,
    /// What it is.
    pub spec: Arc<ModelSpec>,
    /// Its weights, for each fold.
    pub weights: Vec<Parameters>,
    /// What the user should know about the model.
    pub remarks: Vec<String>,
    /// Whether channels were taken away in training, so that it can do without some.
    pub learnt_without_channels: bool,
}

impl Model {
    /// Reads `folds` of the model in `folder`, each from the file `checkpoint`. No folds: those that
    /// are there. What its plans name is among `parts`, its trainer among `recipes`.
    ///
    /// # Errors
    /// Missing or damaged files, parts that are not known, or weights that do not fit the plans.
    pub fn load(
        folder: &Path,
        folds: &[Fold],
        checkpoint: &str,
        parts: &Parts,
        recipes: &Named<Recipe>,
    ) -> Result<Self, PredictError> {
        if let Some(model) = model_around(folder) {
            return Err(PredictError::PartOfModel {
                path: folder.to_owned(),
                model,
                hint: Hint::NameModelFolder,
            });
        }
        if !folder.join("plans.json").is_file() {
            return Err(PredictError::NoModel { path: folder.to_owned(), there: models_near(folder) });
        }
        let plans = Plans::read(folder.join("plans.json"))?;
        let dataset = DatasetJson::load(&folder.join("dataset.json"))?;
        let folds = if folds.is_empty() { present_folds(folder, checkpoint) } else { folds.to_vec() };
        let no_folds = || PredictError::NoFolds {
            path: folder.to_owned(),
            checkpoint: checkpoint.to_owned(),
            there: present_files(folder),
            hint: Hint::TrainOrNameCheckpoint,
        };
        if folds.is_empty() {
            return Err(no_folds());
        }
        let mut spec: Option<(ModelSpec, Graph)> = None;
        let mut weights = Vec::with_capacity(folds.len());
        let mut remarks = Vec::new();
        let mut learnt_without_channels = false;
        for fold in folds {
            let path = folder.join(format!("fold_{fold}")).join(checkpoint);
            if !path.is_file() {
                return Err(PredictError::NoCheckpoint {
                    path,
                    there: present_files(folder),
                    hint: Hint::NameFoldsAndCheckpoint,
                });
            }
            let file = Checkpoint::read_for_inference(&path)?;
            let (_, graph) = match &mut spec {
                Some(spec) => spec,
                None => {
                    let name = configuration_name(&file.init_args, folder);
                    let (recipe, odd) = recipe_of(&file, &path, recipes)?;
                    remarks = odd;
                    learnt_without_channels = recipe.augmentation.mentions("drop_channels");
                    let configuration = with_network(plans.configuration(&name)?, &recipe.network)
                        .map_err(|source| PredictError::NetworkOverride { path: path.clone(), source })?;
                    let axes = file.mirroring_axes.clone().unwrap_or_default();
                    let trainer = file.trainer_name.clone();
                    let made = ModelSpec::new(
                        plans.clone(),
                        configuration,
                        dataset.clone(),
                        trainer,
                        axes,
                        parts.clone(),
                    )?;
                    let graph = made.graph()?;
                    spec.insert((made, graph))
                }
            };
            let parameters = file.weights.into_parameters(graph);
            let misfit = |source| PredictError::Weights { path, remark: reason(&remarks), source };
            weights.push(parameters.map_err(misfit)?);
        }
        let (spec, _) = spec.ok_or_else(no_folds)?;
        Ok(Self {
            folder: folder.to_owned(),
            spec: Arc::new(spec),
            weights,
            remarks,
            learnt_without_channels,
        })
    }
}

/// The model that `path` is a part of: the folder of a fold, or a file or folder in it.
fn model_around(path: &Path) -> Option<PathBuf> {
    let path = path.canonicalize().ok()?;
    let is_model =
        |folder: &Path| folder.join("plans.json").is_file() && folder.join("dataset.json").is_file();
    if is_model(&path) {
        return None;
    }
    path.ancestors().skip(1).take(2).find(|folder| is_model(folder)).map(Path::to_owned)
}

/// The configuration that the checkpoint names, else the last part of the folder's name.
fn configuration_name(init_args: &Value, folder: &Path) -> String {
    match init_args.get("configuration").and_then(Value::as_str) {
        Some(name) => name.to_owned(),
        None => {
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            name.rsplit("__").next().unwrap_or_default().to_owned()
        }
    }
}

/// The recipe that a checkpoint was trained by: the one it holds, else the one that its trainer's name stands for. Where
/// neither is known, the default one, with a remark that says so.
fn recipe_of(
    file: &Checkpoint,
    path: &Path,
    known: &Named<Recipe>,
) -> Result<(Recipe, Vec<String>), PredictError> {
    let trainer = file.trainer_name.as_str();
    if let Some(text) = file.other.get(Recipe::CHECKPOINT_KEY).and_then(Value::as_str) {
        let recipe = Recipe::from_full_toml(text, trainer)
            .map_err(|source| PredictError::Recipe { path: path.to_owned(), source })?;
        return Ok((recipe, Vec::new()));
    }
    let problem = match find(trainer, known) {
        Ok(recipe) => return Ok((recipe, Vec::new())),
        Err(_) if trainer.is_empty() => "the checkpoint does not name its trainer".to_owned(),
        Err(_) => format!("trainer {trainer} is not known here"),
    };
    let remark = format!("{problem}; the model predicts with the default behaviour");
    Ok((Recipe::default_trainer(), vec![remark]))
}

/// The remarks on a model as the possible reason for weights that do not fit.
fn reason(remarks: &[String]) -> String {
    if remarks.is_empty() { String::new() } else { format!(" ({})", remarks.join("; ")) }
}

/// Folds that have the checkpoint, in order; `fold_all` only if there is no other.
pub fn present_folds(folder: &Path, checkpoint: &str) -> Vec<Fold> {
    let has = |fold: Fold| folder.join(format!("fold_{fold}")).join(checkpoint).is_file();
    let numbered: Vec<Fold> = (0..100).map(Fold::Number).filter(|f| has(*f)).collect();
    if numbered.is_empty() && has(Fold::All) { vec![Fold::All] } else { numbered }
}

/// The models in `folder` or, if it does not exist, beside it, for error messages.
fn models_near(folder: &Path) -> String {
    let searched = if folder.is_dir() { folder } else { folder.parent().unwrap_or(folder) };
    // The current folder has no name in a relative path.
    let searched = if searched.as_os_str().is_empty() { Path::new(".") } else { searched };
    let names = models_in(searched);
    let wanted = folder.file_name().unwrap_or_default().to_string_lossy();
    let meant = closest(&wanted, names.iter().map(String::as_str));
    let hint = meant.map_or_else(String::new, |meant| format!(" (did you mean {meant}?)"));
    match names.as_slice() {
        [] => format!("{} has no models", searched.display()),
        names => format!("{} has the models {}{hint}", searched.display(), names.join(", ")),
    }
}

/// The checkpoints of a model, for error messages.
fn present_files(folder: &Path) -> String {
    let mut files: Vec<PathBuf> = Vec::new();
    for fold in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if fold.file_name().to_string_lossy().starts_with("fold_") {
            let inside = std::fs::read_dir(fold.path()).into_iter().flatten().flatten();
            files.extend(inside.map(|f| f.path()).filter(|p| p.extension().is_some_and(|e| e == "pth")));
        }
    }
    files.sort();
    let names: Vec<_> =
        files.iter().map(|p| p.strip_prefix(folder).unwrap_or(p).display().to_string()).collect();
    if names.is_empty() { "no checkpoint at all".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nnunet_recipe::recipes;
    use nnunet_testkit::model::ball_model;

    #[test]
    fn a_folder_that_is_no_model_is_answered_with_the_models_there_are() {
        let dataset = tempfile::tempdir().unwrap();
        let load = |name: &str| {
            let folder = dataset.path().join(name);
            let model = Model::load(&folder, &[], "checkpoint_final.pth", &Parts::default(), &recipes());
            model.err().unwrap().to_string()
        };
        assert!(load("nnUNetTrainer__nnUNetPlans__2d").contains("has no models"));
        std::fs::create_dir(dataset.path().join("nnUNetTrainer__nnUNetPlans__3d_fullres")).unwrap();
        std::fs::create_dir(dataset.path().join("ensembles")).unwrap();
        let message = load("nnUNetTrainer__nnUNetPlans__3d-fullres");
        let expected = "has the models nnUNetTrainer__nnUNetPlans__3d_fullres (did you mean nnUNetTrainer__nnUNetPlans__3d_fullres?). A model";
        assert!(message.contains(expected), "{message}");
        // The folder of the dataset in place of a model's.
        let message = load(".");
        assert!(message.contains("has the models nnUNetTrainer__nnUNetPlans__3d_fullres"), "{message}");
    }

    #[test]
    fn the_trainer_of_a_checkpoint_is_one_of_those_that_the_caller_knows() {
        let load = |recipes: &Named<Recipe>| {
            Model::load(&ball_model(), &[], "checkpoint_final.pth", &Parts::default(), recipes)
        };
        let known = load(&recipes()).unwrap();
        assert_eq!(known.remarks, [""; 0]);
        let trainer = known.spec.trainer.clone();
        let unknown = load(&Named::new("trainer")).unwrap();
        assert!(unknown.remarks[0].starts_with(&format!("trainer {trainer} is not known here")));
        let mut recipe = Recipe::default_trainer();
        recipe.network.class = Some("PlainConvUnet".to_owned());
        let own = Named::new("trainer").with(&trainer, "another network than the plans'", recipe);
        let error = load(&own).err().unwrap().to_string();
        assert!(error.contains("\"PlainConvUnet\" is not known (did you mean PlainConvUNet?)"), "{error}");
    }
}
