//! Volumes of the classes in a model's training set, to compare predictions with.

use std::path::Path;

use nnunet_base::Ctx;
use nnunet_dataset::DatasetName;
use nnunet_dataset::cases::files_with_ending;
use nnunet_infer::model::ModelSpec;
use nnunet_infer::predict::quality::{TRAINING_VOLUMES, TrainingVolumes};

use super::Project;
use crate::error::Error;
use crate::select::reference_folder;

impl Project {
    /// The volumes of the training set of the model in `folder`: those kept with the model, else those measured in the segmentations
    /// of its dataset, which are then kept with it. `None` where there is neither, with a message.
    pub(super) fn training_volumes(
        &self,
        folder: &Path,
        spec: &ModelSpec,
        ctx: Ctx<'_>,
    ) -> Result<Option<TrainingVolumes>, Error> {
        let kept = folder.join(TRAINING_VOLUMES);
        let classes = spec.labels.foreground();
        match TrainingVolumes::load(&kept, &spec.dataset, &classes) {
            Ok(Some(volumes)) => return Ok(Some(volumes)),
            Ok(None) => {
                ctx.warning(&format!("{}: has other classes than the model; not used", kept.display()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => ctx.warning(&format!("{}: {error}; not used", kept.display())),
        }
        let references =
            dataset_of(folder).and_then(|dataset| reference_folder(&self.folders, &dataset).ok());
        let Some(references) = references else {
            ctx.message(&format!(
                "volumes are not compared with the training set: there is no {} and its segmentations are not here",
                kept.display()
            ));
            return Ok(None);
        };
        let files = files_with_ending(&references, spec.file_ending())?;
        let reader = spec.image_reader()?;
        let volumes = TrainingVolumes::measure(&files, &spec.dataset, &classes, &reader, ctx)?;
        let cases = volumes.cases();
        match volumes.save(&kept) {
            Ok(()) => {
                ctx.message(&format!("volumes of {cases} training cases are kept in {}", kept.display()))
            }
            // A model that is shared may be read-only; it is measured again the next time.
            Err(error) => ctx.message(&format!("{}: {error}; volumes are not kept", kept.display())),
        }
        Ok(Some(volumes))
    }
}

/// The dataset whose folder of results has the model.
fn dataset_of(model: &Path) -> Option<DatasetName> {
    let model = std::fs::canonicalize(model).ok()?;
    DatasetName::new(model.parent()?.file_name()?.to_str()?).ok()
}
