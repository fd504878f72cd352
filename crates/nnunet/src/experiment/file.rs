//! The file of an experiment.

use std::path::{Path, PathBuf};

use nnunet_base::parts::Options;
use nnunet_recipe::{Recipe, RecipeError, find, is_file_name, read_file};
use serde_json::{Map, Value};

use super::error::ExperimentError;
use crate::registry::Registry;

/// Recipes that are trained on the same folds.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiment {
    /// The file it was read from.
    pub path: PathBuf,
    /// The dataset by id or name.
    pub dataset: String,
    /// Name of the plans.
    pub plans: String,
    /// The configurations, in the order in which they are trained: the previous stage of a cascade comes before it.
    pub configurations: Vec<String>,
    /// The folds.
    pub folds: Vec<u32>,
    /// Seed of every training.
    pub seed: u64,
    /// The base, then its variants in their order.
    pub recipes: Vec<Recipe>,
}

/// What a variant inherits or is called by, and so cannot say.
const RESERVED: [&str; 2] = ["base", "name"];

impl Experiment {
    /// Reads an experiment. Recipes are based on those of `registry`, and the parts that they name are looked up there.
    ///
    /// # Errors
    /// A file that cannot be read; keys, values, trainers and parts that do not exist, with the closest ones that do; names
    /// of other trainers.
    pub fn read(path: &Path, registry: &Registry) -> Result<Self, ExperimentError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ExperimentError::Io { path: path.to_owned(), source })?;
        let document: Map<String, Value> = toml::from_str(&text)
            .map_err(|e| ExperimentError::Syntax { path: path.to_owned(), problem: e.to_string() })?;
        File { path, registry }.experiment(&document)
    }
}

/// A file that is being read.
struct File<'a> {
    path: &'a Path,
    registry: &'a Registry,
}

impl File<'_> {
    fn experiment(&self, document: &Map<String, Value>) -> Result<Experiment, ExperimentError> {
        let wrong = |source| ExperimentError::Option { path: self.path.to_owned(), source };
        let mut options = Options::new("experiment", document);
        let dataset = |value: &Value| match value {
            Value::String(name) => Some(name.clone()),
            Value::Number(id) => id.as_u64().map(|id| id.to_string()),
            _ => None,
        };
        let dataset = options.read("dataset", "the id or the name of a dataset", dataset).map_err(wrong)?;
        let plans = options.optional_text("plans").map_err(wrong)?;
        let configurations =
            options.read("configurations", "a list of names, e.g. [\"3d_fullres\"]", texts).map_err(wrong)?;
        let folds = options.read("folds", "a list of folds, e.g. [0, 1, 2]", numbers).map_err(wrong)?;
        let seed = options
            .read("seed", "a whole number of at least 0", Value::as_u64)
            .map_err(wrong)?
            .unwrap_or_default();
        let base = options
            .read("base", "a trainer's name, the file of a recipe, or a table", |value| {
                (value.is_string() || value.is_object()).then(|| value.clone())
            })
            .map_err(wrong)?;
        let variants = options
            .read("variants", "a table for each variant, e.g. [variants.focal]", tables)
            .map_err(wrong)?
            .unwrap_or_default();
        let dataset =
            dataset.ok_or_else(|| wrong(options.invalid("dataset", "the id or the name of a dataset")))?;
        options.finish().map_err(wrong)?;
        let base = self.base(base.as_ref())?;
        let recipes = [Ok(base.clone())].into_iter();
        let recipes =
            recipes.chain(variants.iter().map(|(name, variant)| self.variant(name, variant, &base)));
        Ok(Experiment {
            path: self.path.to_owned(),
            dataset,
            plans: plans.unwrap_or_else(|| "nnUNetPlans".to_owned()),
            configurations: configurations.unwrap_or_else(|| vec!["3d_fullres".to_owned()]),
            folds: folds.unwrap_or_else(|| (0..5).collect()),
            seed,
            recipes: recipes.collect::<Result<_, _>>()?,
        })
    }

    fn base(&self, given: Option<&Value>) -> Result<Recipe, ExperimentError> {
        let known = &self.registry.recipes;
        let recipe = match given {
            None => Ok(Recipe::default_trainer()),
            Some(Value::Object(table)) => {
                let name = self.path.file_stem().unwrap_or_default().to_string_lossy();
                Recipe::from_document(table, &name, known)
            }
            Some(name) => {
                let name = name.as_str().unwrap_or_default();
                match is_file_name(name) {
                    true => read_file(&self.path.parent().unwrap_or(Path::new("")).join(name), known),
                    false => find(name, known).map_err(RecipeError::Base),
                }
            }
        };
        self.checked("base", recipe)
    }

    fn variant(
        &self,
        name: &str,
        table: &Map<String, Value>,
        base: &Recipe,
    ) -> Result<Recipe, ExperimentError> {
        if let Some(key) = RESERVED.into_iter().find(|key| table.contains_key(*key)) {
            return Err(ExperimentError::Reserved { path: self.path.to_owned(), name: name.to_owned(), key });
        }
        if name == base.name {
            return Err(ExperimentError::NameTaken { path: self.path.to_owned(), name: name.to_owned() });
        }
        self.checked(&format!("variants.{name}"), base.variant(name, table))
    }

    /// The recipe, if all its parts exist and its name is not that of another one.
    fn checked(&self, what: &str, recipe: Result<Recipe, RecipeError>) -> Result<Recipe, ExperimentError> {
        let path = || self.path.to_owned();
        let recipe = recipe.map_err(|source| ExperimentError::Recipe {
            path: path(),
            name: what.to_owned(),
            source,
        })?;
        if find(&recipe.name, &self.registry.recipes).is_ok_and(|known| known != recipe) {
            return Err(ExperimentError::NameTaken { path: path(), name: recipe.name });
        }
        self.registry.train.check(&recipe).map_err(|source| ExperimentError::Part {
            path: path(),
            name: what.to_owned(),
            source: Box::new(source),
        })?;
        Ok(recipe)
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    let texts: Vec<String> =
        value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect::<Option<_>>()?;
    (!texts.is_empty()).then_some(texts)
}

fn numbers(value: &Value) -> Option<Vec<u32>> {
    let numbers: Vec<u32> =
        value.as_array()?.iter().map(|n| n.as_u64()?.try_into().ok()).collect::<Option<_>>()?;
    (!numbers.is_empty()).then_some(numbers)
}

fn tables(value: &Value) -> Option<Vec<(String, Map<String, Value>)>> {
    value.as_object()?.iter().map(|(name, table)| Some((name.clone(), table.as_object()?.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use nnunet_base::parts::Choice;

    use super::*;

    fn read(text: &str) -> Result<Experiment, ExperimentError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("losses.toml");
        std::fs::write(folder.path().join("mine.toml"), "epochs = 7").unwrap();
        std::fs::write(&path, text).unwrap();
        Experiment::read(&path, &Registry::default())
    }

    #[test]
    fn variants_have_what_differs_from_the_base() {
        let text = "dataset = 4\nfolds = [0, 2]\n[base]\nbase = \"nnUNetTrainerBN\"\nepochs = 5\n\
                    [variants.focal]\nloss = { kind = \"focal\", gamma = 2 }\n[variants.adam]\noptimiser = \"adamw\"\n";
        let found = read(text).unwrap();
        assert_eq!((found.dataset.as_str(), &found.folds[..]), ("4", &[0, 2][..]));
        assert_eq!(
            (&found.configurations[..], found.plans.as_str()),
            (&["3d_fullres".to_owned()][..], "nnUNetPlans")
        );
        let [base, focal, adam] = &found.recipes[..] else { panic!("{:?}", found.recipes) };
        assert_eq!((base.name.as_str(), base.epochs), ("losses", 5));
        assert_eq!((focal.name.as_str(), focal.epochs), ("focal", 5));
        assert_eq!(focal.loss, Choice::new("focal").with("gamma", 2));
        assert_eq!((adam.network.norm.as_deref(), &adam.loss), (Some("batch"), &base.loss));
        assert_eq!(read("dataset = \"4\"\nbase = \"mine.toml\"").unwrap().recipes[0].epochs, 7);
        assert_eq!(read("dataset = \"4\"").unwrap().recipes, [Recipe::default_trainer()]);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, words) in [
            ("dataset = ", "losses.toml: not an experiment: TOML parse error"),
            ("folds = [0]", "dataset is null, expected the id or the name of a dataset"),
            ("dataset = 4\nfold = [0]", "no option \"fold\" (did you mean folds?)"),
            ("dataset = 4\nfolds = []", "folds is [], expected a list of folds"),
            ("dataset = 4\nbase = \"nnUNetTrainerBM\"", "(did you mean nnUNetTrainerBN?)"),
            ("dataset = 4\n[variants.a]\nepoch = 3", "variants.a: recipe: there is no option \"epoch\""),
            (
                "dataset = 4\n[variants.a]\nloss = \"focl\"",
                "variants.a: recipe: loss \"focl\" is not known (did you mean focal?)",
            ),
            ("dataset = 4\n[variants.a]\nbase = \"x\"", "variants.a: base cannot be set here"),
            (
                "dataset = 4\n[variants.nnUNetTrainerBN]\nepochs = 3",
                "\"nnUNetTrainerBN\" is the name of a trainer",
            ),
            ("dataset = 4\n[variants.a__b]\nepochs = 3", "recipe name \"a__b\""),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
