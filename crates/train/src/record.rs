//! What a training leaves and says about itself, for whoever has to find out later what was done.

use std::path::Path;

use super::error::TrainError;
use super::trainer::Training;
use nnunet_base::Ctx;
use nnunet_base::files::write_atomic;
use nnunet_base::hint::MemoryWork;
use nnunet_base::memory::gigabytes;
use nnunet_pyformats::json::{Json, KeyOrder};

impl Training {
    /// Plans, dataset and fingerprint beside the folds, the recipe, and what was decided for this run.
    pub(super) fn write_companions(&self) -> Result<(), TrainError> {
        let model = self.setup.folder.model();
        let io = |path: &Path, source| TrainError::Io { path: path.to_owned(), source };
        let plans = model.join("plans.json");
        match self.changed_plans() {
            None => self.setup.plans.write(&plans)?,
            Some(changed) => {
                write_atomic(&plans, changed.to_python(KeyOrder::Kept).as_bytes())
                    .map_err(|e| io(&plans, e))?;
            }
        }
        let dataset = model.join("dataset.json");
        let text = self.setup.dataset.document().to_python(KeyOrder::Kept);
        write_atomic(&dataset, text.as_bytes()).map_err(|e| io(&dataset, e))?;
        let source = self.setup.preprocessed.join("dataset_fingerprint.json");
        if source.exists() {
            let target = model.join("dataset_fingerprint.json");
            let bytes = std::fs::read(&source).map_err(|e| io(&source, e))?;
            write_atomic(&target, &bytes).map_err(|e| io(&target, e))?;
        }
        let recipe = self.setup.folder.recipe();
        write_atomic(&recipe, self.setup.identity.recipe.to_toml().as_bytes()).map_err(|e| io(&recipe, e))?;
        let debug = self.setup.folder.fold().join("debug.json");
        let text = self.debug_information().to_python(KeyOrder::Kept);
        write_atomic(&debug, text.as_bytes()).map_err(|e| io(&debug, e))
    }

    /// The plans with the network that the recipe makes of theirs, where it is another one. Python builds the network that it
    /// finds there, and so has it without knowing the recipe.
    fn changed_plans(&self) -> Option<Json> {
        let setup = &self.setup;
        if setup.request.recipe.network.is_empty() {
            return None;
        }
        let architecture = &setup.configuration.architecture;
        let imported = architecture.requires_import.iter().map(|name| Json::String(name.clone())).collect();
        let changed = Json::object([
            ("network_class_name", Json::String(architecture.network_class_name.clone())),
            ("arch_kwargs", Json::Object(architecture.arch_kwargs.clone())),
            ("_kw_requires_import", Json::Array(imported)),
        ]);
        let mut plans = setup.plans.document().clone();
        let Some(Json::Object(configurations)) = plans.get_mut("configurations") else { return None };
        let Some(Json::Object(own)) = configurations.get_mut(&setup.configuration.name) else { return None };
        own.insert("architecture".to_owned(), changed);
        Some(Json::Object(plans))
    }

    /// Everything that decides the run, as texts, for whoever has to find out later what was done.
    fn debug_information(&self) -> Json {
        let recipe = &self.setup.request.recipe;
        let text = |value: String| Json::String(value);
        let before = [
            ("program", text(format!("nnunet {}", env!("CARGO_PKG_VERSION")))),
            ("trainer", text(recipe.name.clone())),
            ("dataset_name", text(self.setup.request.dataset.to_string())),
            ("configuration_name", text(self.setup.configuration.name.clone())),
            ("fold", text(self.setup.request.fold.to_string())),
            ("plans_name", text(self.setup.plans.plans_name().to_owned())),
            ("batch_size", text(self.setup.configuration.batch_size.to_string())),
            ("patch_size", text(format!("{:?}", self.setup.configuration.patch_size))),
            ("num_epochs", text(recipe.epochs.to_string())),
            ("num_iterations_per_epoch", text(recipe.iterations_per_epoch.to_string())),
            ("num_val_iterations_per_epoch", text(recipe.validation_iterations.to_string())),
            ("initial_lr", text(recipe.initial_learning_rate.to_string())),
            ("optimizer", text(format!("{:?}", self.setup.step.optimiser))),
            ("loss", text(format!("{:?}", self.setup.step.loss))),
            ("sampling", text(format!("{:?}", self.setup.sampling))),
            ("enable_deep_supervision", text(recipe.deep_supervision.to_string())),
            ("inference_allowed_mirroring_axes", text(format!("{:?}", self.setup.identity.mirroring_axes))),
            ("parameters", text(self.setup.graph.parameter_count().to_string())),
            ("seed", text(self.setup.request.seed.to_string())),
            ("device", text(self.setup.request.backend.name().to_owned())),
        ];
        let of_backend =
            self.setup.request.backend.describe().into_iter().map(|(key, value)| (key, text(value)));
        let after = [
            ("start", text(format!("{:?}", self.setup.request.start))),
            ("augmentation", text(format!("{:?}", self.setup.policy))),
            ("output_folder", text(self.setup.folder.fold().display().to_string())),
            ("log_file", text(self.records.log_path().display().to_string())),
        ];
        Json::object(before.into_iter().chain(of_backend).chain(after))
    }

    /// Says what memory a training step takes, and whether it can be had.
    ///
    /// # Errors
    /// It cannot.
    pub(super) fn check_memory(&self, ctx: Ctx<'_>) -> Result<(), TrainError> {
        let [z, y, x] = self.setup.configuration.patch_size_zyx();
        let channels = self.setup.graph.input_channels();
        let batch = self.setup.configuration.batch_size;
        let shape = [batch, channels, z, y, x];
        let estimate = self.session.memory(shape)?;
        let need = estimate.total() as u64;
        let step = format!("a training step on {batch} patches of {z} x {y} x {x}");
        let limit = ctx.memory_limit();
        if limit.excludes(need) {
            return Err(limit
                .error(format!("{step} voxels needs {}", gigabytes(need)), MemoryWork::Training)
                .into());
        }
        let in_gb = |bytes: usize| bytes as f64 / 1e9;
        let saved = match estimate.saved_by_recomputation {
            0 => String::new(),
            bytes => format!("; recomputation saves {:.2} GB", in_gb(bytes)),
        };
        let line = format!(
            "network: {:.1} million parameters; {step} takes {:.2} GB of memory ({:.2} activations, {:.2} weights, \
             gradients and momentum){saved}",
            self.setup.graph.parameter_count() as f64 / 1e6,
            need as f64 / 1e9,
            in_gb(estimate.step.activations),
            in_gb(estimate.step.weights + estimate.optimiser),
        );
        self.say(&line, ctx.progress)?;
        if let Some(warning) = limit.warning(&step, need) {
            self.warn(&warning, ctx.progress)?;
        }
        Ok(())
    }
}
