//! Trained models side by side.

use nnunet_base::Ctx;
use nnunet_dataset::splits;

use super::Project;
use crate::compare::{CompareRequest, Comparison, compare};
use crate::error::{During, Error};

impl Project {
    /// Puts the trained models of a dataset side by side: mean Dice of each class over the cross-validation, of each fold,
    /// the difference to a baseline with a paired test over cases, training time, and in what the recipes differ.
    ///
    /// # Errors
    /// No model with validation results; an unknown baseline; files that cannot be read.
    ///
    /// ```no_run
    /// # use nnunet::{Ctx, Folders, Project, compare::CompareRequest, progress::{Cancel, Silent}};
    /// # let (project, cancel) = (Project::new(Folders::default()), Cancel::new());
    /// # let ctx = Ctx::new(&Silent, &cancel);
    /// let request = CompareRequest::new(project.dataset("4")?);
    /// let comparison = project.compare(&request, ctx)?;
    /// for model in &comparison.models {
    ///     println!("{}: {:.4}, {:?}", model.result.name, model.result.dice, model.difference);
    /// }
    /// # Ok::<(), nnunet::Error>(())
    /// ```
    pub fn compare(&self, request: &CompareRequest, ctx: Ctx<'_>) -> Result<Comparison, Error> {
        let results = self.folders.results()?.join(&request.dataset);
        let file =
            self.folders.preprocessed.as_ref().map(|f| f.join(&request.dataset).join("splits_final.json"));
        let folds = match file.filter(|file| file.is_file()) {
            Some(file) => u32::try_from(splits::load(&file)?.len()).ok(),
            None => None,
        };
        compare(request, &results, folds, &self.registry, ctx)
            .during(|| format!("comparison of the models of {}", request.dataset))
    }
}
