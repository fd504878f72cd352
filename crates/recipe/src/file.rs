//! Recipes as files: `.toml` and `.json`.

use std::path::Path;

use nnunet_base::parts::Named;
use serde_json::{Map, Value};

use crate::error::RecipeError;
use crate::recipe::Recipe;

/// Whether `text` is meant as the file of a recipe instead of a trainer's name.
pub fn is_file_name(text: &str) -> bool {
    Path::new(text).extension().is_some_and(|ending| ending == "toml" || ending == "json")
}

/// Reads the recipe in `path`, TOML or JSON by its ending, based on one of `known`. Its name is that of the file unless it
/// says another one.
///
/// # Errors
/// See [`Recipe::from_document`]; a file that cannot be read.
pub fn read_file(path: &Path, known: &Named<Recipe>) -> Result<Recipe, RecipeError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| RecipeError::Io { path: path.to_owned(), source })?;
    let document = match path.extension().is_some_and(|ending| ending == "json") {
        true => serde_json::from_str(&text).map_err(|e| RecipeError::Syntax { problem: e.to_string() }),
        false => from_toml(&text),
    };
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    document
        .and_then(|document| Recipe::from_document(&document, &name, known))
        .map_err(|source| RecipeError::InFile { path: path.to_owned(), source: Box::new(source) })
}

/// The document in a TOML text.
///
/// # Errors
/// Anything that is not TOML.
pub(crate) fn from_toml(text: &str) -> Result<Map<String, Value>, RecipeError> {
    toml::from_str(text).map_err(|e| RecipeError::Syntax { problem: e.to_string() })
}

impl Recipe {
    /// Key of checkpoints under which the recipe stands as TOML. Python ignores it.
    pub const CHECKPOINT_KEY: &'static str = "nnunet_recipe";

    /// The recipe in full as TOML.
    pub fn to_toml(&self) -> String {
        // Documents hold texts, numbers, truths, lists and tables only, which all can be written.
        toml::to_string(&self.to_document()).unwrap_or_default()
    }

    /// Reads what [`Recipe::to_toml`] wrote, which is based on no other recipe.
    ///
    /// # Errors
    /// See [`Recipe::from_toml`].
    pub fn from_full_toml(text: &str, default_name: &str) -> Result<Self, RecipeError> {
        Self::from_toml(text, default_name, &Named::new("trainer"))
    }

    /// Reads TOML; see [`Recipe::from_document`].
    ///
    /// # Errors
    /// Text that is not TOML, and what [`Recipe::from_document`] refuses.
    pub fn from_toml(text: &str, default_name: &str, known: &Named<Self>) -> Result<Self, RecipeError> {
        Self::from_document(&from_toml(text)?, default_name, known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipes;

    #[test]
    fn a_file_is_a_recipe_in_either_form() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            read_file(&path, &recipes())
        };
        let toml = "base = \"nnUNetTrainer_5epochs\"\nloss = { kind = \"focal\", gamma = 2 }\n[optimiser]\nkind = \"adamw\"\n";
        let one = read("mine.toml", toml).unwrap();
        let json = r#"{"base": "nnUNetTrainer_5epochs", "loss": {"kind": "focal", "gamma": 2}, "optimiser": "adamw"}"#;
        assert_eq!(read("mine.json", json).unwrap(), one);
        assert_eq!((one.name.as_str(), one.epochs), ("mine", 5));
        let error = read("wrong.toml", "epochs = \n").unwrap_err().to_string();
        assert!(error.contains("wrong.toml: not a recipe: TOML parse error at line 1"), "{error}");
        let error = read("wrong.toml", "epoch = 3").unwrap_err().to_string();
        assert!(error.contains("wrong.toml: recipe: there is no option \"epoch\""), "{error}");
        assert!(
            read_file(&folder.path().join("none.toml"), &recipes())
                .unwrap_err()
                .to_string()
                .contains("none.toml: ")
        );
        assert!(is_file_name("a/b.toml") && is_file_name("b.json") && !is_file_name("nnUNetTrainer"));
    }

    #[test]
    fn recipes_in_full_come_back_from_toml() {
        for (name, _, recipe) in recipes().iter() {
            let text = recipe.to_toml();
            assert_eq!(&Recipe::from_toml(&text, "", &recipes()).unwrap(), recipe, "{name}: {text}");
        }
    }
}
