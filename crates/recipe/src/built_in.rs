//! The trainers of nnU-Net 2.8.1 as recipes, read from `trainers.toml`.

use nnunet_base::parts::Named;
use serde_json::Value;

use crate::file::from_toml;
use crate::recipe::Recipe;

/// One table per trainer: a summary, the recipe it is based on, and what differs.
const TRAINERS: &str = include_str!("trainers.toml");

/// The built-in recipes by name, `nnUNetTrainer` first.
pub fn recipes() -> Named<Recipe> {
    let default = Recipe::default_trainer();
    let mut recipes =
        Named::new("trainer").with(&default.name.clone(), "nnU-Net's default training", default);
    for (name, document) in from_toml(TRAINERS).unwrap_or_default() {
        if let Some((summary, recipe)) = entry(&name, document, &recipes) {
            recipes = recipes.with(&name, &summary, recipe);
        }
    }
    recipes
}

/// An entry of the table. The test below proves that each one can be read.
fn entry(name: &str, document: Value, known: &Named<Recipe>) -> Option<(String, Recipe)> {
    let Value::Object(mut document) = document else { return None };
    let summary = document.shift_remove("summary")?.as_str()?.to_owned();
    document.entry("python_class").or_insert_with(|| name.into());
    let recipe = Recipe::from_document(&document, name, known).ok()?;
    Some((summary, recipe))
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;

    #[test]
    fn every_entry_of_the_table_is_a_recipe() {
        let table: Map<String, Value> = from_toml(TRAINERS).unwrap();
        let recipes = recipes();
        for (name, document) in table {
            assert!(recipes.contains(&name), "{name}");
            let summary = recipes.iter().find(|(known, ..)| *known == name).unwrap().1.to_owned();
            assert!(!summary.is_empty() && !summary.ends_with('.'), "{name}: {summary}");
            let mut document = document.as_object().unwrap().clone();
            document.shift_remove("summary");
            assert_eq!(
                &Recipe::from_document(&document, &name, &recipes).unwrap().epochs,
                &recipes.get(&name).unwrap().epochs
            );
        }
        assert_eq!(recipes.names().next(), Some("nnUNetTrainer"));
    }
}
