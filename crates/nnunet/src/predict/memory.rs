//! What a prediction needs of main memory, stated before it starts.

use nnunet_network::MemoryEstimate;

use super::cascade::CaseReader;
use super::error::PredictError;
use super::predictor::Predictor;
use super::run::PredictRequest;
use super::slab_stream::SlabStream;
use super::sliding_window::Networks;
use crate::dataset::Case;
use crate::preprocess::memory_of_case;
use crate::progress::{Event, Progress};
use crate::workers::gigabytes;

/// Bytes of the program itself.
const PROGRAM: u64 = 16 << 20;

/// Bytes that one case needs at most in each of its stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryNeed {
    /// Weights and activations, there all the time.
    pub loaded: u64,
    /// Reading and preprocessing.
    pub preparation: u64,
    /// Preprocessed image, logits in work and labels.
    pub network: u64,
    /// Labels or probabilities until they are written.
    pub export: u64,
}

impl MemoryNeed {
    /// If nothing else is in work.
    pub fn alone(&self) -> u64 {
        self.loaded + self.preparation.max(self.network).max(self.export)
    }

    /// If `preparing` further cases are prepared and one waits, while `exporting` are exported.
    pub fn overlapping(&self, preparing: usize, exporting: usize) -> u64 {
        self.loaded
            + self.network
            + self.preparation * (preparing as u64 + 1)
            + self.export * (exporting as u64 + 1)
    }
}

impl Predictor {
    /// Memory of one pass of the network over a tile (with all that go through it together).
    ///
    /// # Errors
    /// When the network does not take the tiles.
    pub fn memory_of_pass(&self) -> Result<MemoryEstimate, PredictError> {
        let executor = &self.folds.executor;
        let [z, y, x] = self.window.tile;
        let shape = [self.window.batch, executor.graph().input_channels(), z, y, x];
        Ok(executor.memory_estimate(shape, false)?)
    }

    /// What an image of `shape` needs whose preprocessed version has shape `on_network` (both z, y, x).
    ///
    /// # Errors
    /// When the network does not take the tiles.
    pub fn memory(
        &self,
        shape: [usize; 3],
        on_network: [usize; 3],
        save_probabilities: bool,
    ) -> Result<MemoryNeed, PredictError> {
        let voxels = |shape: [usize; 3]| shape.iter().fold(1u64, |all, &v| all.saturating_mul(v as u64));
        let (before, after) = (voxels(shape), voxels(on_network));
        let heads = self.model.labels.num_segmentation_heads();
        let executor = &self.folds.executor;
        let channels = executor.graph().input_channels();
        let pass = self.memory_of_pass()?;
        let further_folds = (self.folds.count() - 1) * executor.parameters().total_count() * 4;
        let whole = 2 * heads as u64 * after;
        let logits = if self.folds_run_side_by_side(on_network) {
            self.window.memory(on_network, heads, self.folds.count())
        } else {
            self.window.memory(on_network, heads, 1) + whole
        };
        let slab = SlabStream::memory(heads, shape[1] * shape[2]);
        let labels = 2 * before + slab;
        // Labels cropped, put back and transposed, and as the file has them.
        let mut export = 6 * before;
        let mut network = 4 * channels as u64 * after + logits + labels;
        if save_probabilities {
            network += whole;
            export += whole + slab + 4 * before * (2 * heads as u64 + 1);
        }
        Ok(MemoryNeed {
            loaded: PROGRAM + (pass.total() + further_folds) as u64,
            preparation: memory_of_case(channels as u64, before, after),
            network,
            export,
        })
    }
}

/// Says what the largest of `cases` needs, and whether cases may overlap within the request's limit.
///
/// # Errors
/// Cases that need more than the limit even alone; all are named.
pub(super) fn plan(
    predictor: &Predictor,
    reader: &CaseReader<'_>,
    cases: &[&Case],
    request: &PredictRequest,
    progress: &dyn Progress,
) -> Result<bool, PredictError> {
    let mut largest: Option<(MemoryNeed, &str)> = None;
    let mut too_large = Vec::new();
    for case in cases {
        // Files that are damaged fail when they are read, and by themselves.
        let header = case.images.first().and_then(|path| reader.reader().read_header(path).ok());
        let Some((_, shape, spacing)) = header else { continue };
        let Ok((shape, on_network)) = reader.shapes(shape, spacing) else { continue };
        let need = predictor.memory(shape, on_network, request.save_probabilities)?;
        if request.max_ram.is_some_and(|limit| need.alone() > limit) {
            too_large.push(format!("{} needs {}", case.identifier, gigabytes(need.alone())));
        }
        if largest.is_none_or(|(other, _)| need.alone() > other.alone()) {
            largest = Some((need, &case.identifier));
        }
    }
    if let (Some(limit), false) = (request.max_ram, too_large.is_empty()) {
        return Err(PredictError::MemoryLimit { limit: gigabytes(limit), cases: too_large.join(", ") });
    }
    let Some((need, case)) = largest else { return Ok(request.max_ram.is_none()) };
    // One case overlaps with nothing.
    let overlapping = match cases.len() {
        1 => need.alone(),
        _ => need.overlapping(request.preprocessing_threads, request.export_threads),
    };
    let overlap = request.max_ram.is_none_or(|limit| overlapping <= limit);
    let line = match overlap {
        true => format!("memory: at most about {} (largest case {case})", gigabytes(overlapping)),
        false => format!(
            "memory: at most about {} (largest case {case}), one case after the other to stay within {}",
            gigabytes(need.alone()),
            gigabytes(request.max_ram.unwrap_or_default())
        ),
    };
    progress.event(Event::Message(&line));
    Ok(overlap)
}
