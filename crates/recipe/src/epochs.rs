//! Names with a number of epochs: `nnUNetTrainer_250epochs` is `nnUNetTrainer` with another number.

use nnunet_base::parts::Named;
use nnunet_base::spelling::closest;

use crate::built_in::recipes;
use crate::error::UnknownTrainer;
use crate::recipe::Recipe;

/// The default trainer without mirroring puts the number before the last part of its name.
const NO_MIRRORING: (&str, &str) = ("nnUNetTrainerNoMirroring", "_NoMirroring");

/// The recipe called `name` among `known`, or one of them with another number of epochs.
///
/// # Errors
/// [`UnknownTrainer`] with the names that exist, closest first.
pub fn find(name: &str, known: &Named<Recipe>) -> Result<Recipe, UnknownTrainer> {
    if let Ok(recipe) = known.get(name) {
        return Ok(recipe.clone());
    }
    let Some((stem, epochs)) = split(name) else { return Err(unknown(name, known)) };
    let Ok(base) = known.get(&stem) else { return Err(unknown(name, known)) };
    if epochs == 0 {
        return Err(UnknownTrainer { closest: None, ..unknown(name, known) });
    }
    let recipe = numbered(base, epochs, known);
    if recipe.name == name {
        Ok(recipe)
    } else {
        Err(UnknownTrainer { closest: Some(recipe.name), ..unknown(name, known) })
    }
}

impl Recipe {
    /// The same training with another number of epochs, under the name that the reference would give it: one epoch is
    /// `_1epoch`, and the number that the trainer has by itself is not written.
    #[must_use]
    pub fn with_epochs(self, epochs: usize) -> Self {
        if epochs == self.epochs {
            return self;
        }
        let known = recipes();
        let stem = split(&self.name).and_then(|(stem, _)| known.get(&stem).ok());
        match stem {
            // Anything else that was changed stays.
            Some(stem) => {
                let Self { name, python_class, epochs, .. } = numbered(stem, epochs, &known);
                Self { name, python_class, epochs, ..self }
            }
            None => numbered(&self, epochs, &known),
        }
    }
}

/// `base` with another number of epochs.
fn numbered(base: &Recipe, epochs: usize, known: &Named<Recipe>) -> Recipe {
    let count = match epochs {
        n if n == base.epochs => String::new(),
        1 => "_1epoch".to_owned(),
        n => format!("_{n}epochs"),
    };
    let name = match base.name == NO_MIRRORING.0 && !count.is_empty() {
        true => format!("nnUNetTrainer{count}{}", NO_MIRRORING.1),
        false => format!("{}{count}", base.name),
    };
    // Python has classes for some numbers; for others it is the class with the same behaviour in prediction.
    let python_class =
        known.get(&name).map_or_else(|_| base.python_class.clone(), |known| known.python_class.clone());
    Recipe { name, python_class, epochs, ..base.clone() }
}

/// The name without its number of epochs, and the number.
fn split(name: &str) -> Option<(String, usize)> {
    let (name, stem_of): (&str, fn(&str) -> String) = match name.strip_suffix(NO_MIRRORING.1) {
        Some("nnUNetTrainer") => return Some((NO_MIRRORING.0.to_owned(), Recipe::default_trainer().epochs)),
        Some(rest) if rest.starts_with("nnUNetTrainer_") => (rest, |_| NO_MIRRORING.0.to_owned()),
        _ => (name, str::to_owned),
    };
    let (stem, count) = name.rsplit_once('_')?;
    let number = count.strip_suffix("epochs").or_else(|| count.strip_suffix("epoch"))?;
    Some((stem_of(stem), number.parse().ok()?))
}

fn unknown(name: &str, known: &Named<Recipe>) -> UnknownTrainer {
    let error = UnknownTrainer::from(known.unknown(name));
    // A misspelt stem before a number.
    let closest = error.closest.clone().or_else(|| {
        let (stem, epochs) = split(name)?;
        let stem = closest(&stem, known.names())?;
        Some(numbered(known.get(stem).ok()?, epochs, known).name).filter(|_| epochs > 0)
    });
    UnknownTrainer { closest, ..error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_epochs_are_understood() {
        for (name, epochs, class) in [
            ("nnUNetTrainer", 1000, "nnUNetTrainer"),
            ("nnUNetTrainer_1epoch", 1, "nnUNetTrainer_1epoch"),
            ("nnUNetTrainer_5epochs", 5, "nnUNetTrainer_5epochs"),
            ("nnUNetTrainer_15epochs", 15, "nnUNetTrainer"),
            ("nnUNetTrainer_8000epochs", 8000, "nnUNetTrainer_8000epochs"),
            ("nnUNetTrainerNoMirroring", 1000, "nnUNetTrainerNoMirroring"),
            ("nnUNetTrainer_250epochs_NoMirroring", 250, "nnUNetTrainer_250epochs_NoMirroring"),
            ("nnUNetTrainer_20epochs_NoMirroring", 20, "nnUNetTrainerNoMirroring"),
            ("nnUNetTrainerBN_20epochs", 20, "nnUNetTrainerBN"),
            ("nnUNetTrainer_onlyMirror01_1500ep", 1500, "nnUNetTrainer_onlyMirror01_1500ep"),
        ] {
            let recipe = Recipe::by_name(name).unwrap();
            assert_eq!(
                (recipe.epochs, recipe.name.as_str(), recipe.python_class.as_str()),
                (epochs, name, class)
            );
            assert_eq!(recipe.clone().with_epochs(epochs), recipe);
            let other = recipe.clone().with_epochs(33).with_epochs(epochs);
            assert_eq!(other, recipe, "the name comes back from the number");
        }
        let batch_norm = Recipe::by_name("nnUNetTrainerBN_20epochs").unwrap();
        assert_eq!(batch_norm.network.norm.as_deref(), Some("batch"));
        assert_eq!(batch_norm.clone().with_epochs(1000).name, "nnUNetTrainerBN");
        let changed = Recipe { save_every: 1, ..batch_norm }.with_epochs(7);
        assert_eq!((changed.name.as_str(), changed.save_every), ("nnUNetTrainerBN_7epochs", 1));
        let mine = Recipe { name: "mine".to_owned(), ..Recipe::default_trainer() }.with_epochs(3);
        assert_eq!((mine.name.as_str(), mine.epochs), ("mine_3epochs", 3));
    }

    #[test]
    fn unknown_names_come_with_the_one_that_was_meant() {
        for (name, meant) in [
            ("nnUNetTrainer_5epoch", Some("nnUNetTrainer_5epochs")),
            ("nnUNetTrainer_1epochs", Some("nnUNetTrainer_1epoch")),
            ("nnUNetTrainer_30epoch", Some("nnUNetTrainer_30epochs")),
            ("nnUNetTrainer_010epochs", Some("nnUNetTrainer_10epochs")),
            ("nnUNetTrainer_1000epochs", Some("nnUNetTrainer")),
            ("nnUNetTrainer_NoMirroring", Some("nnUNetTrainerNoMirroring")),
            ("nnUnetTrainer_250epoch_NoMirroring", Some("nnUNetTrainer_250epochs_NoMirroring")),
            ("nnUNetTrainr", Some("nnUNetTrainer")),
            ("nnUNetTrainer_0epochs", None),
            ("MyOwn", None),
        ] {
            let error = Recipe::by_name(name).unwrap_err();
            assert_eq!(error.closest.as_deref(), meant, "{name}");
            assert_eq!(error.to_string().contains("did you mean"), meant.is_some(), "{error}");
            assert!(error.to_string().contains("nnUNetTrainer_Nepochs"), "{error}");
        }
        for name in ["nnUNet", "nnUNetTrainer_xepochs", "nnUNetTrainerFoo", "nnUNetTrainer_5"] {
            assert!(Recipe::by_name(name).is_err(), "{name}");
        }
    }
}
