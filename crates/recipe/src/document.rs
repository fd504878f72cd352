//! Recipes as documents: TOML tables and JSON objects have the same keys.

use nnunet_base::parts::{Choice, Named, Options};
use serde_json::{Map, Value};

use crate::epochs::find;
use crate::error::RecipeError;
use crate::fine_tuning::FineTuning;
use crate::network::NetworkOverride;
use crate::recipe::{EpochLog, GroupRule, Recipe, ValidatedCheckpoint};

/// Key of the recipe that a document is based on.
const BASE: &str = "base";

impl Recipe {
    /// Reads a recipe: a document that names its `base` among `known` (else it is `nnUNetTrainer`) and what differs from it,
    /// or one in full. A document without a `name` has that of `default_name`.
    ///
    /// # Errors
    /// Unknown keys, values that cannot be, an unknown base.
    pub fn from_document(
        document: &Map<String, Value>,
        default_name: &str,
        known: &Named<Self>,
    ) -> Result<Self, RecipeError> {
        let mut options = Options::new("recipe", document);
        let base = match options.optional_text(BASE)? {
            Some(base) => find(&base, known).map_err(RecipeError::Base)?,
            None => Self::default_trainer(),
        };
        let name = options.optional_text("name")?.unwrap_or_else(|| default_name.to_owned());
        let recipe = Self { name, ..base };
        let recipe = recipe.changed_by(&mut options)?;
        options.finish()?;
        check_name(&recipe.name)?;
        Ok(recipe)
    }

    /// The recipe called `name` that differs from this one in what `document` says.
    ///
    /// # Errors
    /// Unknown keys, values that cannot be, a name that cannot be part of a folder's name.
    pub fn variant(&self, name: &str, document: &Map<String, Value>) -> Result<Self, RecipeError> {
        let mut options = Options::new("recipe", document);
        let recipe = Self { name: name.to_owned(), ..self.clone() }.changed_by(&mut options)?;
        options.finish()?;
        check_name(&recipe.name)?;
        Ok(recipe)
    }

    /// The same with what `options` say.
    fn changed_by(self, options: &mut Options<'_>) -> Result<Self, RecipeError> {
        let weights = options.optional_numbers("deep_supervision_weights")?;
        let validated = self.validated_checkpoint.word();
        Ok(Self {
            name: self.name,
            python_class: options.optional_text("python_class")?.unwrap_or(self.python_class),
            epochs: at_least_one(options, "epochs")?.unwrap_or(self.epochs),
            iterations_per_epoch: at_least_one(options, "iterations_per_epoch")?
                .unwrap_or(self.iterations_per_epoch),
            validation_iterations: at_least_one(options, "validation_iterations")?
                .unwrap_or(self.validation_iterations),
            batch_size: at_least_one(options, "batch_size")?.or(self.batch_size),
            initial_learning_rate: above_zero(options, "initial_learning_rate", self.initial_learning_rate)?,
            schedule: choice(options, "schedule", self.schedule)?,
            optimiser: choice(options, "optimiser", self.optimiser)?,
            gradient_norm_limit: above_zero(options, "gradient_norm_limit", self.gradient_norm_limit)?,
            parameter_groups: options
                .read("parameter_groups", GROUPS, groups)?
                .unwrap_or(self.parameter_groups),
            fine_tuning: FineTuning::read(options, self.fine_tuning)?,
            loss: choice(options, "loss", self.loss)?,
            deep_supervision: options.switch("deep_supervision", self.deep_supervision)?,
            deep_supervision_weights: weights.or(self.deep_supervision_weights),
            augmentation: choice(options, "augmentation", self.augmentation)?,
            sampling: choice(options, "sampling", self.sampling)?,
            network: network(options, self.network)?,
            save_every: at_least_one(options, "save_every")?.unwrap_or(self.save_every),
            save_minutes: above_zero(options, "save_minutes", self.save_minutes)?,
            ema: ema(options, self.ema)?,
            log: options.read("log", "a list of tensorboard and jsonl", logs)?.unwrap_or(self.log),
            picture_epochs: options.count("picture_epochs", self.picture_epochs)?,
            loader_threads: at_least_one(options, "loader_threads")?.or(self.loader_threads),
            validated_checkpoint: options
                .read("validated_checkpoint", "final or best", ValidatedCheckpoint::from_value)?
                .unwrap_or(ValidatedCheckpoint::from_word(validated)),
            benchmark: options.switch("benchmark", self.benchmark)?,
            random_batch: options.switch("random_batch", self.random_batch)?,
        })
    }

    /// The recipe in full. What is absent is as in the plans, or computed by default.
    pub fn to_document(&self) -> Map<String, Value> {
        let groups: Vec<Value> = self.parameter_groups.iter().map(GroupRule::to_value).collect();
        let logs: Vec<Value> = self.log.iter().map(|log| log.word().into()).collect();
        let entries = [
            ("name", Some(Value::from(self.name.as_str()))),
            ("python_class", Some(self.python_class.as_str().into())),
            ("epochs", Some(self.epochs.into())),
            ("iterations_per_epoch", Some(self.iterations_per_epoch.into())),
            ("validation_iterations", Some(self.validation_iterations.into())),
            ("batch_size", self.batch_size.map(Value::from)),
            ("initial_learning_rate", Some(self.initial_learning_rate.into())),
            ("gradient_norm_limit", Some(self.gradient_norm_limit.into())),
            ("deep_supervision", Some(self.deep_supervision.into())),
            ("deep_supervision_weights", self.deep_supervision_weights.clone().map(Value::from)),
            ("save_every", Some(self.save_every.into())),
            ("save_minutes", Some(self.save_minutes.into())),
            ("log", (!logs.is_empty()).then_some(Value::Array(logs))),
            ("picture_epochs", Some(self.picture_epochs.into())),
            ("loader_threads", self.loader_threads.map(Value::from)),
            ("validated_checkpoint", Some(self.validated_checkpoint.word().into())),
            ("benchmark", Some(self.benchmark.into())),
            ("random_batch", Some(self.random_batch.into())),
            ("ema", self.ema.map(|decay| serde_json::json!({ "decay": decay }))),
            ("schedule", Some(self.schedule.to_value())),
            ("optimiser", Some(self.optimiser.to_value())),
            ("loss", Some(self.loss.to_value())),
            ("sampling", Some(self.sampling.to_value())),
            ("augmentation", Some(self.augmentation.to_value())),
            ("network", (!self.network.is_empty()).then(|| self.network.to_value())),
            ("fine_tuning", self.fine_tuning.to_value()),
            ("parameter_groups", (!groups.is_empty()).then_some(Value::Array(groups))),
        ];
        entries.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
    }

    /// What makes `other` another training than this earlier one, key by key. How often states are saved, what is recorded, which
    /// checkpoint is validated and what the recipe is called does not.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        const OTHERWISE_EQUAL: [&str; 8] = [
            "name",
            "python_class",
            "save_every",
            "save_minutes",
            "log",
            "picture_epochs",
            "loader_threads",
            "validated_checkpoint",
        ];
        let (own, others) = (self.to_document(), other.to_document());
        let shown = |document: &Map<String, Value>, key: &str| {
            document.get(key).map_or_else(|| "not set".to_owned(), Value::to_string)
        };
        let mut keys: Vec<&String> = own.keys().chain(others.keys()).collect();
        keys.dedup();
        let mut seen = Vec::new();
        keys.retain(|key| {
            let is_new = !seen.contains(key);
            seen.push(*key);
            is_new && !OTHERWISE_EQUAL.contains(&key.as_str()) && own.get(*key) != others.get(*key)
        });
        keys.iter().map(|key| format!("{key} was {}, is {}", shown(&own, key), shown(&others, key))).collect()
    }
}

impl ValidatedCheckpoint {
    fn word(self) -> &'static str {
        match self {
            Self::Final => "final",
            Self::Best => "best",
        }
    }

    fn from_word(word: &str) -> Self {
        if word == "best" { Self::Best } else { Self::Final }
    }

    fn from_value(value: &Value) -> Option<Self> {
        value.as_str().filter(|word| ["final", "best"].contains(word)).map(Self::from_word)
    }
}

const GROUPS: &str = "a list of { prefixes = [\"encoder\"], rate_factor = 0.1 }";

impl GroupRule {
    fn from_value(value: &Value) -> Option<Self> {
        let object = value.as_object().filter(|object| object.len() == 2)?;
        let prefixes = object.get("prefixes")?.as_array()?;
        let prefixes = prefixes.iter().map(|prefix| prefix.as_str().map(str::to_owned));
        let rate_factor = object.get("rate_factor")?.as_f64().filter(|factor| *factor >= 0.0)?;
        Some(Self { prefixes: prefixes.collect::<Option<_>>()?, rate_factor })
    }

    fn to_value(&self) -> Value {
        serde_json::json!({"prefixes": self.prefixes, "rate_factor": self.rate_factor})
    }
}

fn groups(value: &Value) -> Option<Vec<GroupRule>> {
    value.as_array()?.iter().map(GroupRule::from_value).collect()
}

impl NetworkOverride {
    fn to_value(&self) -> Value {
        let mut object = Map::new();
        let texts = [("class", &self.class), ("norm", &self.norm)];
        object
            .extend(texts.into_iter().filter_map(|(key, text)| Some((key.to_owned(), text.clone()?.into()))));
        if !self.arguments.is_empty() {
            object.insert("arguments".to_owned(), Value::Object(self.arguments.clone()));
        }
        Value::Object(object)
    }
}

/// The network of `base` with what the document's `network` says; arguments are replaced one by one.
fn network(options: &mut Options<'_>, base: NetworkOverride) -> Result<NetworkOverride, RecipeError> {
    let expected = "a table of class, norm and arguments";
    let Some(own) = options.read("network", expected, |value| value.as_object().cloned())? else {
        return Ok(base);
    };
    let mut options = Options::new("recipe: network", &own);
    let mut arguments = base.arguments;
    let given = options.read("arguments", "a table of arguments of the network's class", |value| {
        value.as_object().cloned()
    })?;
    arguments.extend(given.unwrap_or_default());
    let network = NetworkOverride {
        class: options.optional_text("class")?.or(base.class),
        norm: options.optional_text("norm")?.or(base.norm),
        arguments,
    };
    options.finish()?;
    Ok(network)
}

/// The table `ema` with its `decay`.
fn ema(options: &mut Options<'_>, base: Option<f64>) -> Result<Option<f64>, RecipeError> {
    let expected = "a table of decay, a number of at least 0 and below 1";
    let decay = |value: &Value| {
        let table = value.as_object().filter(|table| table.len() == 1)?;
        table.get("decay")?.as_f64().filter(|decay| (0.0..1.0).contains(decay))
    };
    Ok(options.read("ema", expected, decay)?.or(base))
}

fn logs(value: &Value) -> Option<Vec<EpochLog>> {
    value.as_array()?.iter().map(|word| EpochLog::from_word(word.as_str()?)).collect()
}

fn choice(options: &mut Options<'_>, key: &'static str, base: Choice) -> Result<Choice, RecipeError> {
    let expected = "a name, or a table with the name as kind and the options";
    Ok(options.read(key, expected, Choice::from_value)?.unwrap_or(base))
}

fn at_least_one(options: &mut Options<'_>, key: &'static str) -> Result<Option<usize>, RecipeError> {
    let count = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    Ok(options.read(key, "a whole number of at least 1", count)?)
}

fn above_zero(options: &mut Options<'_>, key: &'static str, base: f64) -> Result<f64, RecipeError> {
    Ok(options.number_where(key, base, "a number above 0", |number| number > 0.0)?)
}

/// A recipe's name becomes a part of the folder `TRAINER__PLANS__CONFIGURATION`.
fn check_name(name: &str) -> Result<(), RecipeError> {
    let letters = name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    let valid = letters && !name.is_empty() && !name.contains("__") && !name.starts_with('.');
    if valid { Ok(()) } else { Err(RecipeError::Name { found: name.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::recipes;

    fn read(document: Value) -> Result<Recipe, RecipeError> {
        Recipe::from_document(document.as_object().unwrap(), "mine", &recipes())
    }

    #[test]
    fn only_what_differs_is_written() {
        let recipe = read(json!({
            "base": "nnUNetTrainerBN_20epochs",
            "loss": {"kind": "dice_focal", "gamma": 1.5},
            "optimiser": "adamw",
            "network": {"arguments": {"n_conv_per_stage": [1, 1]}},
            "parameter_groups": [{"prefixes": ["encoder"], "rate_factor": 0.0}],
            "validated_checkpoint": "best",
            "ema": {"decay": 0.99},
            "log": ["jsonl"],
        }))
        .unwrap();
        assert_eq!((recipe.ema, &recipe.log[..]), (Some(0.99), &[EpochLog::JsonLines][..]));
        assert_eq!(Recipe::from_document(&recipe.to_document(), "", &recipes()).unwrap(), recipe);
        assert_eq!((recipe.name.as_str(), recipe.python_class.as_str()), ("mine", "nnUNetTrainerBN"));
        assert_eq!((recipe.epochs, recipe.iterations_per_epoch), (20, 250));
        assert_eq!(recipe.loss, Choice::new("dice_focal").with("gamma", 1.5));
        assert_eq!(recipe.network.norm.as_deref(), Some("batch"));
        assert_eq!(recipe.network.arguments["n_conv_per_stage"], json!([1, 1]));
        assert_eq!(recipe.parameter_groups[0].rate_factor, 0.0);
        assert_eq!(recipe.validated_checkpoint, ValidatedCheckpoint::Best);
    }

    #[test]
    fn every_recipe_comes_back_from_its_document() {
        for (name, _, recipe) in recipes().iter() {
            let document = recipe.to_document();
            let again = Recipe::from_document(&document, "", &recipes()).unwrap();
            assert_eq!(&again, recipe, "{name}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (document, words) in [
            (json!({"epoch": 5}), "no option \"epoch\" (did you mean epochs?)"),
            (
                json!({"network": {"nrm": "batch"}}),
                "recipe: network: there is no option \"nrm\" (did you mean norm?)",
            ),
            (json!({"epochs": 0}), "epochs is 0, expected a whole number of at least 1"),
            (
                json!({"base": "nnUNetTrainerBM"}),
                "base: trainer \"nnUNetTrainerBM\" is not known (did you mean nnUNetTrainerBN?)",
            ),
            (json!({"loss": 3}), "loss is 3, expected a name, or a table"),
            (json!({"parameter_groups": [{"prefixes": ["a"]}]}), "rate_factor"),
            (json!({"ema": 0.9}), "a table of decay"),
            (json!({"ema": {"decay": 1.0}}), "below 1"),
            (json!({"log": ["wandb"]}), "a list of tensorboard and jsonl"),
            (json!({"name": "a__b"}), "recipe name \"a__b\""),
            (json!({"validated_checkpoint": "last"}), "expected final or best"),
            (json!({"gradient_norm_limit": -1}), "expected a number above 0"),
        ] {
            let error = read(document.clone()).unwrap_err().to_string();
            assert!(error.contains(words), "{document}: {error}");
        }
    }

    #[test]
    fn trainings_differ_by_what_changes_them() {
        let one = Recipe::default_trainer();
        let other = Recipe { save_every: 1, save_minutes: 0.5, ..one.clone() };
        assert!(one.differences(&other).is_empty());
        let other = Recipe { batch_size: Some(4), ..one.clone().with_iterations(10) };
        let differences = one.differences(&other);
        assert_eq!(differences.len(), 3, "{differences:?}");
        assert!(differences.contains(&"iterations_per_epoch was 250, is 10".to_owned()));
        assert!(differences.contains(&"batch_size was not set, is 4".to_owned()));
    }
}
