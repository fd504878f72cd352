//! What the sites of a federation have agreed on: a TOML file that every site is given before it takes part.

use std::collections::BTreeSet;
use std::path::Path;

use nnunet::dataset::splits::Fold;
use nnunet::plan::PlannerOptions;
use nnunet::recipe::Recipe;
use serde::{Deserialize, Serialize};

use crate::error::FederatedError;
use crate::seal::sha256_hex;

/// Who messages of the server are from.
pub(crate) const SERVER: &str = "server";

/// What the sites of a federation have agreed on. Every message carries it; a site or server that was given other
/// settings refuses the message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Name of the federation: letters, digits, `-` and `_`.
    pub name: String,
    /// Names of the sites that may take part, in order. The first one gives the weights that all begin with.
    pub sites: Vec<String>,
    /// Configuration that is trained.
    #[serde(default = "defaults::configuration")]
    pub configuration: String,
    /// Fold of each site's own cross-validation, `0` to `4` or `all`.
    #[serde(default = "defaults::fold")]
    pub fold: String,
    /// Name of the plans.
    #[serde(default = "defaults::plans")]
    pub plans: String,
    /// Planner.
    #[serde(default = "defaults::planner")]
    pub planner: String,
    /// GPU memory in GB that a batch may need; the planner's own if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_memory_target: Option<f64>,
    /// Trainer; its number of epochs is replaced by that of the federation.
    #[serde(default = "defaults::trainer")]
    pub trainer: String,
    /// Rounds in which weights are averaged.
    pub rounds: usize,
    /// Epochs that a site trains in a round.
    #[serde(default = "defaults::one")]
    pub epochs_per_round: usize,
    /// Training iterations of an epoch; those of the trainer if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iterations_per_epoch: Option<usize>,
    /// Patches of an iteration; those of the plans if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<usize>,
    /// Seed of weights and batches.
    #[serde(default)]
    pub seed: u64,
    /// How one fingerprint is made of all.
    #[serde(default = "defaults::fingerprint")]
    pub fingerprint: FingerprintForm,
    /// Which tensors of different networks are the same.
    #[serde(default = "defaults::matching", rename = "match")]
    pub matching: Matching,
    /// How much each site counts in the average.
    #[serde(default = "defaults::weights")]
    pub weights: Weighting,
    /// Weight of FedProx's proximal term; 0 is plain averaging.
    #[serde(default)]
    pub proximal: f64,
    /// Whether normalisation layers stay local, as in FedBN.
    #[serde(default)]
    pub local_norms: bool,
    /// Fewest sites whose weights make a round; all by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_sites: Option<usize>,
    /// Minutes after which a site that has not finished a round is left out of it; 0 waits for all.
    #[serde(default)]
    pub wait_minutes: f64,
}

/// How one fingerprint is made of those of the sites.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FingerprintForm {
    /// As published: lists of all cases, and averages of the statistics weighted by cases.
    Paper,
    /// That of a central extraction, to the bit but for the order of cases. Sites send how often each intensity was drawn.
    Exact,
    /// From quantiles of each site only; an approximation.
    Private,
    /// None: each site plans from its own cases.
    Local,
}

/// Which tensors of different networks are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Matching {
    /// Those of one resolution level and role, whatever the depth of the network.
    Level,
    /// Those of one name in PyTorch, as in FednnU-Net: of decoders of other depth, these are other levels.
    Names,
}

/// How much each site counts in an average.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weighting {
    /// In proportion to its training cases, as in FedAvg.
    Cases,
    /// The same as every other, as FednnU-Net does.
    Equal,
}

mod defaults {
    use super::{FingerprintForm, Matching, PlannerOptions, Weighting};

    pub(super) fn configuration() -> String {
        "3d_fullres".to_owned()
    }
    pub(super) fn fold() -> String {
        "0".to_owned()
    }
    pub(super) fn plans() -> String {
        "nnUNetPlans".to_owned()
    }
    pub(super) fn planner() -> String {
        PlannerOptions::default().planner
    }
    pub(super) fn trainer() -> String {
        "nnUNetTrainer".to_owned()
    }
    pub(super) fn one() -> usize {
        1
    }
    pub(super) fn fingerprint() -> FingerprintForm {
        FingerprintForm::Exact
    }
    pub(super) fn matching() -> Matching {
        Matching::Level
    }
    pub(super) fn weights() -> Weighting {
        Weighting::Cases
    }
}

impl Settings {
    /// Reads the file.
    ///
    /// # Errors
    /// A file that cannot be read, unknown keys, values that make no sense.
    pub fn read(path: &Path) -> Result<Self, FederatedError> {
        let text = std::fs::read_to_string(path).map_err(FederatedError::io(path))?;
        let settings: Self = toml::from_str(&text).map_err(|error| FederatedError::Settings {
            path: path.to_owned(),
            problem: error.to_string().trim_end().to_owned(),
        })?;
        settings.check().map_err(|problem| FederatedError::Settings { path: path.to_owned(), problem })?;
        Ok(settings)
    }

    /// Checks the values.
    pub(crate) fn check(&self) -> Result<(), String> {
        for name in std::iter::once(&self.name).chain(&self.sites) {
            let valid = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if name.is_empty() || name.len() > 64 || !name.chars().all(valid) {
                return Err(format!("name {name:?}: expected up to 64 letters, digits, - and _"));
            }
        }
        let names: BTreeSet<&str> = self.sites.iter().map(String::as_str).collect();
        if names.len() != self.sites.len() || names.is_empty() || names.contains(SERVER) {
            return Err(format!(
                "sites {:?}: expected at least one, each with a name of its own other than {SERVER}",
                self.sites
            ));
        }
        let counts = [
            ("rounds", Some(self.rounds)),
            ("epochs_per_round", Some(self.epochs_per_round)),
            ("iterations_per_epoch", self.iterations_per_epoch),
            ("batch_size", self.batch_size),
            ("min_sites", self.min_sites),
        ];
        if let Some((key, _)) = counts.iter().find(|(_, count)| *count == Some(0)) {
            return Err(format!("{key} is 0; expected at least 1"));
        }
        if self.min_sites() > self.sites.len() {
            return Err(format!(
                "min_sites is {}, but there are {} sites",
                self.min_sites(),
                self.sites.len()
            ));
        }
        for (key, value) in [("proximal", self.proximal), ("wait_minutes", self.wait_minutes)] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(format!("{key} is {value}; expected a number of at least 0"));
            }
        }
        self.rounds.checked_mul(self.epochs_per_round).ok_or("rounds: too many")?;
        self.fold.parse::<Fold>().map_err(|problem| format!("fold: {problem}"))?;
        Ok(())
    }

    /// What distinguishes these settings from others: SHA-256 of all of them.
    pub fn id(&self) -> String {
        sha256_hex(&serde_json::to_vec(self).unwrap_or_default())
    }

    /// Fewest sites whose weights make a round.
    pub fn min_sites(&self) -> usize {
        self.min_sites.unwrap_or(self.sites.len())
    }

    /// Epochs of the whole training.
    pub fn epochs(&self) -> usize {
        self.rounds * self.epochs_per_round
    }

    /// Checks that `sender` may take part.
    pub(crate) fn check_site(&self, sender: &str) -> Result<(), FederatedError> {
        match self.sites.iter().any(|site| site == sender) {
            true => Ok(()),
            false => {
                Err(FederatedError::UnknownSite { site: sender.to_owned(), known: self.sites.join(", ") })
            }
        }
    }

    /// The trainer's recipe with the epochs and iterations of the federation.
    pub(crate) fn recipe(&self, base: Recipe) -> Recipe {
        let recipe = base.with_epochs(self.epochs());
        match self.iterations_per_epoch {
            Some(iterations) => recipe.with_iterations(iterations),
            None => recipe,
        }
    }

    /// How plans are made; `cases` is the number of all sites together.
    pub(crate) fn planner_options(&self, cases: Option<usize>) -> PlannerOptions {
        let default = PlannerOptions::default();
        PlannerOptions {
            planner: self.planner.clone(),
            gpu_memory_target_gb: self.gpu_memory_target,
            overwrite_plans_name: Some(self.plans.clone()),
            training_cases: cases,
            ..default
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Settings::read(file.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_short_file_is_enough_and_mistakes_are_named() {
        let settings = read("name = \"x\"\nsites = [\"a\", \"b\"]\nrounds = 3").unwrap();
        assert_eq!((settings.min_sites(), settings.epochs()), (2, 3));
        assert_eq!(settings.fingerprint, FingerprintForm::Exact);
        for (text, expected) in [
            ("name = \"x\"\nsites = [\"a\"]\nrounds = 3\nround = 2", "unknown field `round`"),
            ("name = \"x\"\nsites = [\"a\", \"a\"]\nrounds = 3", "a name of its own"),
            ("name = \"x\"\nsites = [\"server\"]\nrounds = 3", "other than server"),
            ("name = \"../x\"\nsites = [\"a\"]\nrounds = 3", "letters, digits"),
            ("name = \"x\"\nsites = [\"a\"]\nrounds = 0", "rounds is 0"),
            ("name = \"x\"\nsites = [\"a\"]\nrounds = 1\nmin_sites = 2", "there are 1 sites"),
            ("name = \"x\"\nsites = [\"a\"]\nrounds = 1\nproximal = -1.0", "proximal is -1"),
            ("name = \"x\"\nsites = [\"a\"]\nrounds = 1\nmatch = \"shape\"", "unknown variant `shape`"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn the_id_changes_with_any_setting() {
        let settings = read("name = \"x\"\nsites = [\"a\"]\nrounds = 3").unwrap();
        assert_eq!(settings.id(), settings.clone().id());
        assert_ne!(settings.id(), Settings { proximal: 0.01, ..settings.clone() }.id());
    }
}
