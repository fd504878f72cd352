//! A model that stays loaded and segments preprocessed cases.

use std::sync::Arc;

use half::f16;
use nnunet_graph::backend::{Backend, InferenceSession};
use nnunet_graph::{NetworkError, Parameters};
use nnunet_volume::{ChannelVolume, Volume};
use rayon::prelude::*;

use super::bands::{LogitSink, add_to, divide};
use super::error::PredictError;
use super::export::{Exporter, LabelsOfSlices};
use super::quality::Agreement;
use super::slab_stream::Collected;
use super::sliding_window::{Networks, Single, SlidingWindow};
use crate::model::ModelSpec;
use nnunet_base::progress::Cancel;
use nnunet_data::preprocess::Properties;

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

/// The sliding window of a network.
fn window_for(spec: &ModelSpec, options: WindowOptions) -> SlidingWindow {
    let configuration = &spec.configuration;
    let tile = configuration.patch_size_zyx();
    let planar = configuration.is_2d();
    let first_axis = usize::from(planar);
    // The plans may say anything; what is too large is refused when its memory is estimated.
    let voxels = tile.iter().fold(1usize, |all, &edge| all.saturating_mul(edge));
    SlidingWindow {
        tile,
        planar,
        step_fraction: options.step_fraction,
        mirror_axes: if options.mirroring {
            spec.mirroring_axes.iter().map(|axis| axis + first_axis).filter(|axis| *axis < 3).collect()
        } else {
            Vec::new()
        },
        // Small tiles keep all cores busy only together.
        batch: (VOXELS_PER_BATCH / voxels.max(1)).clamp(1, 32),
    }
}

/// A network that is ready to predict, with the weights of each fold. It has a session of its own, or borrows that of a
/// training for `'s`.
pub struct Predictor<'s> {
    pub(super) spec: Arc<ModelSpec>,
    pub(super) folds: Folds<'s>,
    pub(super) window: SlidingWindow,
}

/// The weights of the folds; those of `current` are in the session.
pub(super) struct Folds<'s> {
    pub(super) session: Session<'s>,
    parameters: Vec<Parameters>,
    current: usize,
}

/// Who owns the session.
pub(super) enum Session<'s> {
    Own(Box<dyn InferenceSession>),
    Borrowed(&'s mut dyn InferenceSession),
}

impl Session<'_> {
    pub(super) fn get(&self) -> &dyn InferenceSession {
        match self {
            Self::Own(session) => &**session,
            Self::Borrowed(session) => &**session,
        }
    }

    fn get_mut(&mut self) -> &mut dyn InferenceSession {
        match self {
            Self::Own(session) => &mut **session,
            Self::Borrowed(session) => &mut **session,
        }
    }
}

impl Folds<'_> {
    /// Bytes of the weights that are not in the session.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.parameters.iter().map(|fold| fold.total_count() * size_of::<f32>()).sum()
    }
}

impl Networks for Folds<'_> {
    fn count(&self) -> usize {
        self.parameters.len()
    }

    fn select(&mut self, number: usize) -> Result<&mut dyn InferenceSession, NetworkError> {
        if number != self.current {
            let next = std::mem::take(&mut self.parameters[number]);
            self.parameters[self.current] = self.session.get_mut().exchange_parameters(next)?;
            self.current = number;
        }
        Ok(self.session.get_mut())
    }
}

impl<'s> Predictor<'s> {
    /// Loads the network of `spec` into a session of `backend`, with the weights of each fold.
    ///
    /// # Errors
    /// When the backend cannot run the network, or there are no weights or those of another network.
    pub fn new(
        spec: Arc<ModelSpec>,
        mut weights: Vec<Parameters>,
        backend: &dyn Backend,
        options: WindowOptions,
    ) -> Result<Self, PredictError> {
        let graph = spec.graph()?;
        // A session would refuse the weights of a later fold only in the middle of a case.
        weights.iter().try_for_each(|parameters| parameters.check(&graph))?;
        let first = weights.first_mut().map(std::mem::take).ok_or(PredictError::NoWeights)?;
        let session = Session::Own(backend.inference(&graph, first)?);
        Ok(Self::of_session(spec, Folds { session, parameters: weights, current: 0 }, options))
    }

    /// Predicts with a session that has the network of `spec` and its weights, e.g. that of a training.
    pub fn borrowing(
        spec: Arc<ModelSpec>,
        session: &'s mut dyn InferenceSession,
        options: WindowOptions,
    ) -> Self {
        let parameters = vec![Parameters::default()];
        Self::of_session(spec, Folds { session: Session::Borrowed(session), parameters, current: 0 }, options)
    }

    fn of_session(spec: Arc<ModelSpec>, folds: Folds<'s>, options: WindowOptions) -> Self {
        let window = window_for(&spec, options);
        Self { spec, folds, window }
    }

    /// What the network is.
    pub fn spec(&self) -> &Arc<ModelSpec> {
        &self.spec
    }

    /// Makes the session as new, with the weights that it has, after a panic in the middle of a pass.
    pub(super) fn renew(&mut self) -> Result<(), PredictError> {
        Ok(self.folds.session.get_mut().renew()?)
    }

    /// Network passes for a preprocessed image of `shape` (z, y, x), over tiles, mirrored versions and folds.
    pub fn passes(&self, shape: [usize; 3]) -> usize {
        self.window.passes(shape) * self.folds.count()
    }

    /// Passes over each tile: folds times mirrored versions.
    pub fn passes_per_tile(&self) -> usize {
        self.folds.count() << self.window.mirror_axes.len()
    }

    /// The segmentation (z, y, x) on the original grid for a preprocessed image (c, z, y, x). Logits are
    /// brought back and decided slice by slice, while the tiles behind them are computed. `progress` gets
    /// the number of network passes just made.
    ///
    /// # Errors
    /// When the network fails, its logits are not finite or do not fit, or `cancel` is raised.
    pub fn segmentation(
        &mut self,
        image: &ChannelVolume<f32>,
        properties: &Properties,
        cancel: &Cancel,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Volume<u16>, PredictError> {
        Ok(self.segmentations(image, properties, &[], None, cancel, progress)?.0)
    }

    /// As [`segmentation`](Self::segmentation), and the segmentations on the grids (z, y, x) that a cascade's next
    /// stages have of the same image. `agreement` is told what the single passes say.
    pub(super) fn segmentations(
        &mut self,
        image: &ChannelVolume<f32>,
        properties: &Properties,
        next_stages: &[[usize; 3]],
        agreement: Option<&mut Agreement>,
        cancel: &Cancel,
        progress: &mut dyn FnMut(usize),
    ) -> Result<(Volume<u16>, Vec<Volume<u16>>), PredictError> {
        let spec = Arc::clone(&self.spec);
        let exporter = Exporter::new(&spec);
        let shape = image.shape();
        let mut labels = exporter.labels_of_slices(shape, properties)?;
        let mut for_next = next_stages
            .iter()
            .map(|next| exporter.labels_for_next_stage(shape, properties, *next))
            .collect::<Result<Vec<_>, _>>()?;
        self.slices(image, agreement, cancel, progress, &mut |slices| {
            labels.push(slices)?;
            for_next.iter_mut().try_for_each(|labels| labels.push(slices))
        })?;
        let for_next = for_next.into_iter().map(LabelsOfSlices::finish_on_grid).collect::<Result<_, _>>()?;
        Ok((labels.finish(properties)?, for_next))
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
        progress: &mut dyn FnMut(usize),
    ) -> Result<ChannelVolume<f16>, PredictError> {
        if self.folds_run_side_by_side(image.shape()) {
            return Ok(self.window.whole(&mut self.folds, image, cancel, progress)?);
        }
        self.one_fold_after_the_other(image, cancel, progress)
    }

    /// As [`logits`](Self::logits), and `agreement` is told what the single passes say.
    pub(super) fn logits_with_agreement(
        &mut self,
        image: &ChannelVolume<f32>,
        agreement: &mut Agreement,
        cancel: &Cancel,
        progress: &mut dyn FnMut(usize),
    ) -> Result<ChannelVolume<f16>, PredictError> {
        let mut collected = Collected::new(image.shape());
        self.slices(image, Some(agreement), cancel, progress, &mut |slices| {
            collected.push(slices);
            Ok(())
        })?;
        let none = || ChannelVolume::filled(self.spec.heads(), image.shape(), f16::ZERO);
        Ok(collected.finish().unwrap_or_else(none))
    }

    /// Hands the mean logits of all folds to `sink`. To see how far they agree, folds always run side by side.
    fn slices(
        &mut self,
        image: &ChannelVolume<f32>,
        agreement: Option<&mut Agreement>,
        cancel: &Cancel,
        progress: &mut dyn FnMut(usize),
        sink: &mut LogitSink<'_>,
    ) -> Result<(), PredictError> {
        if let Some(agreement) = agreement {
            let window = &self.window;
            return Ok(window.run_with_agreement(
                &mut self.folds,
                image,
                cancel,
                progress,
                agreement,
                sink,
            )?);
        }
        if self.folds_run_side_by_side(image.shape()) {
            return Ok(self.window.run(&mut self.folds, image, cancel, progress, sink)?);
        }
        let whole = self.one_fold_after_the_other(image, cancel, progress)?;
        Ok(sink(&whole)?)
    }

    /// Whether the folds take turns at each row of tiles: only the slices in work are held then, but of
    /// every fold. Otherwise one fold after the other goes over the whole image. The result is the same.
    pub(super) fn folds_run_side_by_side(&self, shape: [usize; 3]) -> bool {
        let heads = self.spec.heads();
        let folds = self.folds.count();
        let whole = (heads * shape.iter().product::<usize>() * size_of::<f16>()) as u64;
        folds == 1 || self.window.memory(shape, heads, folds) <= self.window.memory(shape, heads, 1) + whole
    }

    fn one_fold_after_the_other(
        &mut self,
        image: &ChannelVolume<f32>,
        cancel: &Cancel,
        progress: &mut dyn FnMut(usize),
    ) -> Result<ChannelVolume<f16>, PredictError> {
        let heads = self.spec.heads();
        let mut total = ChannelVolume::filled(heads, image.shape(), f16::ZERO);
        for fold in 0..self.folds.count() {
            let mut at = 0;
            let mut row = Vec::new();
            let mut add = |slices: &ChannelVolume<f16>| {
                let voxels = slices.voxels();
                for head in 0..slices.channels().min(heads) {
                    let values = slices.channel(head).iter().map(|v| v.to_f32());
                    add_to(&mut total.channel_mut(head)[at..at + voxels], values, &mut row);
                }
                at += voxels;
                Ok(())
            };
            let mut network = Single(self.folds.select(fold)?);
            self.window.run(&mut network, image, cancel, progress, &mut add)?;
        }
        let count = self.folds.count() as f32;
        let voxels = total.voxels();
        total.data_mut().par_chunks_mut(voxels.max(1)).for_each_init(Vec::new, |row, head| {
            divide(head, count, row);
        });
        Ok(total)
    }
}

#[cfg(test)]
mod tests {
    use nnunet_data::Parts;
    use nnunet_exec_cpu::{CpuBackend, CpuOptions};
    use nnunet_recipe::recipes;
    use nnunet_testkit::model::ball_model;

    use super::*;
    use crate::predict::Model;

    fn load_ball_model() -> Model {
        Model::load(&ball_model(), &[], "checkpoint_final.pth", &Parts::default(), &recipes()).unwrap()
    }

    #[test]
    fn a_renewed_session_keeps_its_weights() {
        let model = load_ball_model();
        let cpu = CpuBackend::new(CpuOptions { threads: 2, ..CpuOptions::default() });
        let mut predictor =
            Predictor::new(model.spec, model.weights, &cpu, WindowOptions::default()).unwrap();
        let data = (0..16 * 17 * 20).map(|i: usize| ((i * 37) % 101) as f32 * 0.03 - 1.5);
        let image = ChannelVolume::new(1, [16, 17, 20], data.collect()).unwrap();
        let before = predictor.logits(&image, &Cancel::new(), &mut |_| ()).unwrap();
        predictor.renew().unwrap();
        assert_eq!(predictor.logits(&image, &Cancel::new(), &mut |_| ()).unwrap(), before);
    }

    #[test]
    fn folds_side_by_side_and_one_after_the_other_are_equal() {
        let mut model = load_ball_model();
        for factor in [0.9, 1.2] {
            let mut other = model.weights[0].clone();
            other.iter_mut().for_each(|(_, p)| p.value_mut().iter_mut().for_each(|v| *v *= factor));
            model.weights.push(other);
        }
        let cpu = CpuBackend::new(CpuOptions { threads: 2, ..CpuOptions::default() });
        let options = WindowOptions { mirroring: false, ..WindowOptions::default() };
        let mut predictor = Predictor::new(model.spec, model.weights, &cpu, options).unwrap();
        // One image is hardly taller than a tile, the other many times.
        for shape in [[18, 17, 20], [150, 17, 20]] {
            let data = (0..shape.iter().product()).map(|i: usize| ((i * 37) % 101) as f32 * 0.03 - 1.5);
            let image = ChannelVolume::new(1, shape, data.collect()).unwrap();
            let cancel = Cancel::new();
            let mut passes = 0;
            let one = predictor.one_fold_after_the_other(&image, &cancel, &mut |n| passes += n).unwrap();
            assert_eq!(passes, predictor.passes(shape));
            let both = predictor.window.whole(&mut predictor.folds, &image, &cancel, &mut |_| ()).unwrap();
            assert_eq!(one, both);
            assert_eq!(predictor.logits(&image, &cancel, &mut |_| ()).unwrap(), one);
        }
        assert!(predictor.folds_run_side_by_side([150, 17, 20]));
    }
}
