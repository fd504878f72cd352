//! The name of a trained model's folder: `TRAINER__PLANS__CONFIGURATION`.

use std::fmt;
use std::path::Path;

use nnunet_base::files::folders_in;

/// What a model was trained by, with and for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelName {
    /// Name of the trainer, e.g. `nnUNetTrainer`.
    pub trainer: String,
    /// Name of the plans, e.g. `nnUNetPlans`.
    pub plans: String,
    /// Name of the configuration, e.g. `3d_fullres`.
    pub configuration: String,
}

impl ModelName {
    /// Takes a folder's name apart; `None` if it is not one of a model.
    pub fn parse(folder: &str) -> Option<Self> {
        let parts: Vec<&str> = folder.split("__").collect();
        match parts[..] {
            [trainer, plans, configuration] if parts.iter().all(|part| !part.is_empty()) => Some(Self {
                trainer: trainer.to_owned(),
                plans: plans.to_owned(),
                configuration: configuration.to_owned(),
            }),
            _ => None,
        }
    }
}

/// The names of the models in the folder of a dataset, sorted; none if it cannot be read.
pub(crate) fn models_in(dataset: &Path) -> Vec<String> {
    let mut names = folders_in(dataset).unwrap_or_default();
    names.retain(|name| ModelName::parse(name).is_some());
    names
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}__{}__{}", self.trainer, self.plans, self.configuration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        let name = "nnUNetTrainer_5epochs__nnUNetResEncUNetMPlans__3d_cascade_fullres";
        let parsed = ModelName::parse(name).unwrap();
        assert_eq!(parsed.trainer, "nnUNetTrainer_5epochs");
        assert_eq!(parsed.to_string(), name);
        for other in ["ensembles", "a__b", "a__b__c__d", "a____c", "crossval_results_folds_0_1"] {
            assert_eq!(ModelName::parse(other), None, "{other}");
        }
    }
}
