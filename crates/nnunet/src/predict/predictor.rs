//! A model that stays loaded and segments preprocessed cases.

use std::sync::Arc;

use half::f16;
use nnunet_network::{CpuExecutor, CpuOptions, Parameters};
use nnunet_volume::ChannelVolume;

use super::error::PredictError;
use super::model_folder::Model;
use super::sliding_window::SlidingWindow;
use crate::plan::Configuration;
use crate::progress::Cancel;

/// Voxels that a group of small tiles may have together.
const VOXELS_PER_BATCH: usize = 1 << 17;

/// How a case is predicted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WindowOptions {
    /// Distance of neighbouring tiles as a share of the tile, in (0, 1].
    pub step_fraction: f64,
    /// Whether predictions are averaged over mirrored inputs, along the axes the model allows.
    pub mirroring: bool,
}

impl Default for WindowOptions {
    fn default() -> Self {
        Self { step_fraction: 0.5, mirroring: true }
    }
}

/// The sliding window for a configuration.
///
/// `mirroring_axes` are axes of the patch: for slices 0 is y.
pub fn window_for(
    configuration: &Configuration,
    mirroring_axes: &[usize],
    options: WindowOptions,
) -> SlidingWindow {
    let tile = configuration.patch_size_zyx();
    let planar = configuration.is_2d();
    let first_axis = usize::from(planar);
    SlidingWindow {
        tile,
        planar,
        step_fraction: options.step_fraction,
        mirror_axes: if options.mirroring {
            mirroring_axes.iter().map(|axis| axis + first_axis).filter(|axis| *axis < 3).collect()
        } else {
            Vec::new()
        },
        // Small tiles keep all cores busy only together.
        batch: (VOXELS_PER_BATCH / tile.iter().product::<usize>().max(1)).clamp(1, 32),
    }
}

/// A loaded model: what is shared (plans, labels), and the network with the weights of each fold.
pub struct Predictor {
    model: Arc<Model>,
    executor: CpuExecutor,
    window: SlidingWindow,
    /// Weights of the folds; those of `current` are in the executor.
    folds: Vec<Parameters>,
    current: usize,
}

impl Predictor {
    /// Loads `model` into an executor.
    ///
    /// # Errors
    /// When the network cannot be built, or the model has no weights (any more).
    pub fn new(mut model: Model, cpu: CpuOptions, options: WindowOptions) -> Result<Self, PredictError> {
        let mut folds = std::mem::take(&mut model.folds);
        let first = folds.first_mut().map(std::mem::take).ok_or(PredictError::NoWeights)?;
        let window = window_for(&model.configuration, &model.mirroring_axes, options);
        let executor = CpuExecutor::new(model.graph.clone(), first, cpu)?;
        Ok(Self { model: Arc::new(model), executor, window, folds, current: 0 })
    }

    /// The model. Its weights have gone to the predictor.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Network passes for a preprocessed image of `shape` (z, y, x), over tiles, mirrored versions and folds.
    pub fn passes(&self, shape: [usize; 3]) -> usize {
        self.window.passes(shape) * self.folds.len()
    }

    /// Mean logits (heads, z, y, x) of all folds for a preprocessed image (c, z, y, x). `progress` gets
    /// the number of network passes just made.
    ///
    /// # Errors
    /// When the network fails, its logits are not finite, or `cancel` is raised.
    pub fn logits(
        &mut self,
        image: &ChannelVolume<f32>,
        cancel: &Cancel,
        mut progress: impl FnMut(usize),
    ) -> Result<ChannelVolume<f16>, PredictError> {
        let mut accumulator = self.window.accumulator(image.shape());
        for fold in 0..self.folds.len() {
            self.use_fold(fold);
            self.window.accumulate(&mut self.executor, image, &mut accumulator, cancel, &mut progress)?;
        }
        accumulator.finish().ok_or(PredictError::NoWeights)
    }

    fn use_fold(&mut self, fold: usize) {
        if fold != self.current {
            let next = std::mem::take(&mut self.folds[fold]);
            self.folds[self.current] = std::mem::replace(self.executor.parameters_mut(), next);
            self.current = fold;
        }
    }
}
