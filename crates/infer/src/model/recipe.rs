//! What a trainer's name stands for. In the reference a variant of the training is a class; here it
//! is a set of values, found by the same name, so that folders and checkpoints keep their names.

use thiserror::Error;

use nnunet_base::spelling::closest;

/// Every value of a training that a trainer decides.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// Name of the trainer, e.g. `nnUNetTrainer_5epochs`; part of the results folder's name.
    pub trainer: String,
    /// Number of epochs.
    pub epochs: usize,
    /// Training iterations of an epoch.
    pub iterations_per_epoch: usize,
    /// Validation iterations of an epoch.
    pub validation_iterations: usize,
    /// Learning rate of the first epoch.
    pub initial_learning_rate: f64,
    /// Weight decay, added to the gradient of all parameters.
    pub weight_decay: f64,
    /// Momentum (Nesterov).
    pub momentum: f64,
    /// Largest norm of the gradient of all parameters together.
    pub gradient_norm_limit: f64,
    /// Share of a batch that must contain foreground.
    pub foreground_oversampling: f64,
    /// Whether patches are mirrored in training and predictions averaged over mirrored inputs.
    pub mirroring: bool,
    /// Whether lower-resolution outputs take part in the loss.
    pub deep_supervision: bool,
    /// `checkpoint_latest.pth` is written after every so many epochs.
    pub save_every: usize,
}

/// The name is not one of the trainers.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "trainer {name:?} is not known{suggestion}; there are nnUNetTrainer, nnUNetTrainer_1epoch, nnUNetTrainer_Nepochs \
     with any other number N (e.g. nnUNetTrainer_250epochs), each also with _NoMirroring, and \
     nnUNetTrainerNoMirroring",
    suggestion = closest.as_ref().map_or_else(String::new, |name| format!(" (did you mean {name}?)"))
)]
pub struct UnknownTrainer {
    /// The name as given.
    pub name: String,
    /// The known name that it resembles most, if it does.
    pub closest: Option<String>,
}

impl UnknownTrainer {
    fn new(name: &str) -> Self {
        let of = |mirroring| {
            let recipe = Recipe { mirroring, ..Recipe::default_trainer() };
            reference_epochs(mirroring).iter().map(move |&epochs| recipe.clone().with_epochs(epochs).trainer)
        };
        let known: Vec<String> = of(true).chain(of(false)).collect();
        let closest = closest(name, known.iter().map(String::as_str)).map(str::to_owned);
        Self { name: name.to_owned(), closest }
    }
}

/// Numbers of epochs for which the reference (2.8.1) has a trainer.
fn reference_epochs(mirroring: bool) -> &'static [usize] {
    match mirroring {
        true => &[1, 5, 10, 20, 50, 100, 250, 500, 750, 1000, 2000, 4000, 8000],
        false => &[250, 1000, 2000, 4000, 8000],
    }
}

impl Recipe {
    /// nnU-Net's defaults.
    pub fn default_trainer() -> Self {
        Self {
            trainer: "nnUNetTrainer".to_owned(),
            epochs: 1000,
            iterations_per_epoch: 250,
            validation_iterations: 50,
            initial_learning_rate: 1e-2,
            weight_decay: 3e-5,
            momentum: 0.99,
            gradient_norm_limit: 12.0,
            foreground_oversampling: 0.33,
            mirroring: true,
            deep_supervision: true,
            save_every: 50,
        }
    }

    /// The recipe of a trainer's name. The number of epochs is any, but spelled as the reference spells its own:
    /// `nnUNetTrainer_5epoch` would be a folder that no other tool looks for.
    ///
    /// # Errors
    /// [`UnknownTrainer`] with the names that exist.
    pub fn by_name(name: &str) -> Result<Self, UnknownTrainer> {
        let unknown = || UnknownTrainer::new(name);
        let mut recipe = Self { trainer: name.to_owned(), ..Self::default_trainer() };
        let rest = name.strip_prefix("nnUNetTrainer").ok_or_else(unknown)?;
        let (rest, no_mirroring) = match rest.strip_suffix("_NoMirroring") {
            Some(rest) => (rest, true),
            None if rest == "NoMirroring" => ("", true),
            None => (rest, false),
        };
        recipe.mirroring = !no_mirroring;
        if !rest.is_empty() {
            let number = rest
                .strip_prefix('_')
                .and_then(|r| r.strip_suffix("epochs").or_else(|| r.strip_suffix("epoch")))
                .ok_or_else(unknown)?;
            recipe.epochs = number.parse().map_err(|_| unknown())?;
        }
        let spelled = recipe.clone().with_epochs(recipe.epochs).trainer;
        if recipe.epochs == 0 || spelled != name {
            let closest = (recipe.epochs > 0).then_some(spelled);
            return Err(UnknownTrainer { name: name.to_owned(), closest });
        }
        Ok(recipe)
    }

    /// The trainer for the checkpoint: Python looks its class up to load the file, and has classes for some
    /// numbers of epochs only. For others it is the class with the same behaviour in prediction.
    pub fn class_in_reference(&self) -> &str {
        let known = reference_epochs(self.mirroring);
        let usual_name = self.clone().with_epochs(self.epochs).trainer == self.trainer;
        match (usual_name && known.contains(&self.epochs), self.mirroring) {
            (true, _) => &self.trainer,
            (false, true) => "nnUNetTrainer",
            (false, false) => "nnUNetTrainerNoMirroring",
        }
    }

    /// The same training with another number of iterations per epoch; validation takes a fifth as many,
    /// at most the default's 50.
    #[must_use]
    pub fn with_iterations(mut self, iterations: usize) -> Self {
        self.iterations_per_epoch = iterations;
        self.validation_iterations = iterations.div_ceil(5).min(50);
        self
    }

    /// The same training with another number of epochs, under the name that the reference would give it:
    /// 1000 is the default and has no suffix, one epoch is `_1epoch`.
    #[must_use]
    pub fn with_epochs(mut self, epochs: usize) -> Self {
        let count = match epochs {
            1000 => String::new(),
            1 => "_1epoch".to_owned(),
            n => format!("_{n}epochs"),
        };
        let mirroring = match (self.mirroring, count.is_empty()) {
            (true, _) => "",
            (false, true) => "NoMirroring",
            (false, false) => "_NoMirroring",
        };
        self.trainer = format!("nnUNetTrainer{count}{mirroring}");
        self.epochs = epochs;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_reference_are_understood() {
        for (name, epochs, mirroring) in [
            ("nnUNetTrainer", 1000, true),
            ("nnUNetTrainer_1epoch", 1, true),
            ("nnUNetTrainer_5epochs", 5, true),
            ("nnUNetTrainer_8000epochs", 8000, true),
            ("nnUNetTrainerNoMirroring", 1000, false),
            ("nnUNetTrainer_250epochs_NoMirroring", 250, false),
        ] {
            let recipe = Recipe::by_name(name).unwrap();
            assert_eq!((recipe.epochs, recipe.mirroring, recipe.trainer.as_str()), (epochs, mirroring, name));
            assert_eq!(recipe.clone().with_epochs(epochs), recipe, "the name comes back from the number");
        }
    }

    #[test]
    fn checkpoints_name_a_class_that_python_has() {
        for (name, class) in [
            ("nnUNetTrainer", "nnUNetTrainer"),
            ("nnUNetTrainer_20epochs", "nnUNetTrainer_20epochs"),
            ("nnUNetTrainer_15epochs", "nnUNetTrainer"),
            ("nnUNetTrainer_250epochs_NoMirroring", "nnUNetTrainer_250epochs_NoMirroring"),
            ("nnUNetTrainer_20epochs_NoMirroring", "nnUNetTrainerNoMirroring"),
        ] {
            assert_eq!(Recipe::by_name(name).unwrap().class_in_reference(), class);
        }
    }

    #[test]
    fn unknown_names_are_errors_that_list_the_known_ones() {
        for name in [
            "nnUNet",
            "nnUNetTrainer_0epochs",
            "nnUNetTrainer_xepochs",
            "nnUNetTrainerFoo",
            "nnUNetTrainer_5",
        ] {
            let error = Recipe::by_name(name).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("nnUNetTrainer_Nepochs"), "{error}");
        }
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
        }
    }
}
