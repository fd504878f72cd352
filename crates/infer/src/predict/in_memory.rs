//! Single cases, as a program calls that keeps a model loaded: an image in memory, or the files of a case.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nnunet_volume::Volume;

use super::cascade::CaseReader;
use super::cases::CaseSize;
use super::error::PredictError;
use super::memory::{self, Extras};
use super::predictor::Predictor;
use nnunet_base::Ctx;
use nnunet_base::hint::Hint;
use nnunet_base::progress::Event;
use nnunet_data::preprocess::{PreprocessedCase, RawCase, read_case};
use nnunet_dataset::cases::case_of_files;
use nnunet_dataset::warn_of_missing_spacing_files;

impl Predictor<'_> {
    /// Segments an image in memory; the labels (z, y, x) lie on its grid. In a cascade `case` has the
    /// previous stage's segmentation. `progress` hears of the network's passes.
    ///
    /// # Errors
    /// An image that does not fit the model, or a raised `cancel` ([`PredictError::Interrupted`]).
    pub fn predict_image(&mut self, case: RawCase, ctx: Ctx<'_>) -> Result<Volume<u16>, PredictError> {
        let stage = format!("predict {}", case.identifier);
        let spec = Arc::clone(self.spec());
        let previous = &spec.configuration.previous_stage;
        if let (Some(previous), None) = (previous, &case.segmentation) {
            let configuration = spec.configuration.name.clone();
            return Err(PredictError::NoPreviousStage {
                configuration,
                previous: previous.clone(),
                hint: Hint::PredictPreviousStage { previous: previous.clone() },
            });
        }
        // A segmentation says nothing to a model of a single stage.
        let segmentation = case.segmentation.filter(|_| previous.is_some());
        let prepared = CaseReader::of_single_cases(&spec)?.prepare(RawCase { segmentation, ..case })?;
        let PreprocessedCase { data, properties, .. } = prepared;
        let size = CaseSize {
            image: properties.shape_before_cropping,
            on_network: data.shape(),
            next_stages: Vec::new(),
            preparation: 0,
        };
        let need = self.memory(&size, Extras::default())?;
        memory::check(self, &need, ctx.memory_limit())?;
        let total = self.passes(data.shape()) as u64;
        ctx.event(Event::Started { stage: &stage, total });
        let mut done = 0;
        let labels = self.segmentation(&data, &properties, ctx.cancel, &mut |passes| {
            done += passes as u64;
            ctx.event(Event::Advanced { done, detail: "" });
        })?;
        ctx.event(Event::Finished);
        Ok(labels)
    }

    /// Segments the case whose channels are `images`, in their order, and writes the file `output`, which
    /// appears whole or not at all.
    ///
    /// # Errors
    /// Files that cannot be read or written or do not fit the model, or a raised `cancel`.
    pub fn predict_files(
        &mut self,
        images: &[PathBuf],
        output: &Path,
        ctx: Ctx<'_>,
    ) -> Result<(), PredictError> {
        let spec = Arc::clone(self.spec());
        let reader = CaseReader::of_single_cases(&spec)?.reader().clone();
        let case = case_of_files(images, &spec.dataset, &[])?;
        warn_of_missing_spacing_files(&reader, [&case], ctx.progress);
        let case = read_case(&reader, &case, ctx.progress)?;
        let geometry = case.geometry;
        let labels = self.predict_image(case, ctx).map_err(|error| error.naming(images))?;
        Ok(reader.write_labels(output, &labels, &geometry)?)
    }
}
