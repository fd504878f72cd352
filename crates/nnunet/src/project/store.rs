//! The trained and installed models.

use std::path::Path;

use nnunet_base::Ctx;
use nnunet_infer::model_store::{
    ExportRequest, Installed, InstalledModel, export_model, install_model, installed_models,
};

use super::{Project, check_writable_file, check_writable_folder};
use crate::error::{During, Error};

impl Project {
    /// The models in the folder of trained models.
    ///
    /// # Errors
    /// A folder that is not known or cannot be read.
    ///
    /// ```no_run
    /// # use nnunet::{Folders, Project};
    /// # let project = Project::new(Folders::default());
    /// for model in project.models()? {
    ///     println!("{}/{}: folds {}", model.dataset, model.name, model.folds.join(" "));
    /// }
    /// # Ok::<(), nnunet::Error>(())
    /// ```
    pub fn models(&self) -> Result<Vec<InstalledModel>, Error> {
        Ok(installed_models(self.folders.results()?)?)
    }

    /// Installs the models of a zip archive: all of them or, if anything is wrong, none. Models that exist are replaced
    /// with `replace` only.
    ///
    /// # Errors
    /// An archive that is damaged, hostile or no model; models that exist; files that cannot be written; interrupted.
    ///
    /// ```no_run
    /// # use nnunet::{Ctx, Folders, Project, progress::{Cancel, Silent}};
    /// # let (project, cancel) = (Project::new(Folders::default()), Cancel::new());
    /// # let ctx = Ctx::new(&Silent, &cancel);
    /// let installed = project.install_model("model.zip".as_ref(), false, ctx)?;
    /// println!("{}", installed.models.join(", "));
    /// # Ok::<(), nnunet::Error>(())
    /// ```
    pub fn install_model(&self, archive: &Path, replace: bool, ctx: Ctx<'_>) -> Result<Installed, Error> {
        let results = self.folders.results()?;
        check_writable_folder(results)?;
        install_model(archive, results, replace, ctx)
            .during(|| format!("installation of {}", archive.display()))
    }

    /// Packs trained models into the zip archive `output` and returns the paths in it.
    ///
    /// # Errors
    /// Models, folds or checkpoints that are missing; files that cannot be read or written; interrupted.
    ///
    /// ```no_run
    /// # use nnunet::{Ctx, Folders, Project, progress::{Cancel, Silent}};
    /// # use nnunet::{dataset::splits::Fold, model_store::ExportRequest};
    /// # let (project, cancel) = (Project::new(Folders::default()), Cancel::new());
    /// # let ctx = Ctx::new(&Silent, &cancel);
    /// let request = ExportRequest {
    ///     dataset: project.dataset("4")?,
    ///     configurations: vec!["3d_fullres".to_owned()],
    ///     trainer: "nnUNetTrainer".to_owned(),
    ///     plans: "nnUNetPlans".to_owned(),
    ///     folds: vec![Fold::Number(0)],
    ///     checkpoints: vec!["checkpoint_final.pth".to_owned()],
    ///     strict: true,
    ///     crossval_predictions: false,
    /// };
    /// project.export_model(&request, "model.zip".as_ref(), ctx)?;
    /// # Ok::<(), nnunet::Error>(())
    /// ```
    pub fn export_model(
        &self,
        request: &ExportRequest,
        output: &Path,
        ctx: Ctx<'_>,
    ) -> Result<Vec<String>, Error> {
        check_writable_file(output)?;
        export_model(request, self.folders.results()?, output, ctx)
            .during(|| format!("export of {}", request.dataset))
    }
}
