//! The CPU as a [`Backend`]: sessions over a [`CpuExecutor`], with losses and optimisers on the host.

use std::sync::Arc;

use nnunet_graph::backend::{
    Backend, BatchRef, EvaluationReport, InferenceSession, MemoryEstimate, Snapshot, StepError, StepReport,
    StepSpec, TrainingMemory, TrainingSession,
};
use nnunet_graph::loss::{Ignored, Loss, LossError, OverlapCounts, Target, Targets};
use nnunet_graph::optimiser::{Optimiser, OptimiserSpec, Rates, clip_gradient_norm};
use nnunet_graph::{Graph, NetworkError, Parameters, Tensor};

use crate::loss::validity::{annotated_rows, select, select_target};
use crate::loss::{count_label_overlap, count_region_overlap, host_loss};
use crate::{CpuExecutor, CpuLevel, CpuOptions};

/// Runs networks on the CPU.
#[derive(Debug, Clone, Copy, Default)]
pub struct CpuBackend {
    options: CpuOptions,
}

impl CpuBackend {
    /// A backend with these settings.
    pub fn new(options: CpuOptions) -> Self {
        Self { options }
    }
}

impl Backend for CpuBackend {
    fn name(&self) -> &str {
        "cpu"
    }

    fn host_threads(&self) -> usize {
        self.options.threads.max(1)
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        let level = self.options.level.min(CpuLevel::detect());
        vec![
            ("threads", self.host_threads().to_string()),
            ("cpu_level", format!("{level:?}")),
            ("precision", format!("{:?}", self.options.precision)),
        ]
    }

    fn inference(
        &self,
        graph: &Graph,
        parameters: Parameters,
    ) -> Result<Box<dyn InferenceSession>, NetworkError> {
        Ok(Box::new(CpuExecutor::new(graph.clone(), parameters, self.options)?))
    }

    fn training(
        &self,
        graph: &Graph,
        parameters: Parameters,
        step: &StepSpec,
    ) -> Result<Box<dyn TrainingSession>, NetworkError> {
        Ok(Box::new(CpuTraining {
            executor: CpuExecutor::new(graph.clone(), parameters, self.options)?,
            loss: host_loss(&step.loss),
            ignored: step.loss.ignored(),
            optimiser: step.optimiser.on_host(),
            optimiser_spec: step.optimiser,
            gradient_norm_limit: step.gradient_norm_limit,
            outputs: Vec::new(),
        }))
    }
}

impl InferenceSession for CpuExecutor {
    fn run_into(&mut self, input: &Tensor, output: &mut Tensor) -> Result<(), NetworkError> {
        CpuExecutor::run_into(self, input, output)
    }

    fn exchange_parameters(&mut self, parameters: Parameters) -> Result<Parameters, NetworkError> {
        parameters.check(self.graph())?;
        Ok(std::mem::replace(self.parameters_mut(), parameters))
    }

    fn renew(&mut self) -> Result<(), NetworkError> {
        let parameters = std::mem::take(self.parameters_mut());
        *self = Self::new(self.graph().clone(), parameters, self.options())?;
        Ok(())
    }

    fn memory(&self, input: [usize; 5]) -> Result<MemoryEstimate, NetworkError> {
        self.memory_estimate(input, false)
    }
}

/// A training on the CPU.
struct CpuTraining {
    executor: CpuExecutor,
    loss: Arc<dyn Loss>,
    ignored: Ignored,
    optimiser: Box<dyn Optimiser>,
    optimiser_spec: OptimiserSpec,
    gradient_norm_limit: f64,
    /// Logits of the last pass, whose memory is used again.
    outputs: Vec<Tensor>,
}

impl TrainingSession for CpuTraining {
    fn step(&mut self, batch: BatchRef<'_>, rates: Rates<'_>) -> Result<StepReport, StepError> {
        self.step_with(batch, rates, &mut |_| ())
    }

    fn step_with(
        &mut self,
        batch: BatchRef<'_>,
        rates: Rates<'_>,
        adjust: &mut dyn FnMut(&mut Parameters),
    ) -> Result<StepReport, StepError> {
        self.executor.forward_into(batch.image, &mut self.outputs)?;
        let (value, gradients) = self.loss.value_and_gradient(&self.outputs, batch.targets)?;
        let loss = finite("loss", value.total)?;
        self.executor.backward(&gradients)?;
        let parameters = self.executor.parameters_mut();
        adjust(parameters);
        rates.drop_frozen_gradients(parameters);
        let norm = clip_gradient_norm(parameters, self.gradient_norm_limit);
        let gradient_norm = finite("norm of the gradient", norm)?;
        rates.step(&mut *self.optimiser, parameters);
        Ok(StepReport { loss, gradient_norm })
    }

    fn visit_parameters(&mut self, visit: &mut dyn FnMut(&mut Parameters)) -> Result<(), NetworkError> {
        visit(self.executor.parameters_mut());
        Ok(())
    }

    fn evaluate(&mut self, batch: BatchRef<'_>) -> Result<EvaluationReport, StepError> {
        self.executor.evaluate_into(batch.image, &mut self.outputs)?;
        let loss = finite("loss", self.loss.value(&self.outputs, batch.targets)?.total)?;
        Ok(EvaluationReport { loss, overlap: overlap(&self.outputs, batch.targets, self.ignored)? })
    }

    fn export(&self) -> Result<Snapshot, NetworkError> {
        let parameters = self.executor.parameters().without_gradients();
        Ok(Snapshot { parameters, optimiser: Some(self.optimiser.state()) })
    }

    fn import(&mut self, state: Snapshot) -> Result<(), NetworkError> {
        state.parameters.check(self.executor.graph())?;
        if let Some(optimiser) = &state.optimiser {
            self.optimiser.set_state(optimiser, &state.parameters)?;
        }
        *self.executor.parameters_mut() = state.parameters;
        Ok(())
    }

    fn inference(&mut self) -> &mut dyn InferenceSession {
        &mut self.executor
    }

    fn memory(&self, input: [usize; 5]) -> Result<TrainingMemory, NetworkError> {
        let elements = self.executor.parameters().total_count() * self.optimiser_spec.state_per_element();
        Ok(TrainingMemory {
            step: self.executor.memory_estimate(input, true)?,
            optimiser: elements * size_of::<f32>(),
            saved_by_recomputation: self.executor.recomputation_saves(input)?,
        })
    }
}

/// Counts at full resolution for the pseudo-Dice, of each class over the samples in which it was annotated.
fn overlap(logits: &[Tensor], targets: &Targets, ignored: Ignored) -> Result<Vec<OverlapCounts>, LossError> {
    let (Some(logits), Some(target)) = (logits.first(), targets.scales.first()) else {
        return Ok(Vec::new());
    };
    let [samples, classes, ..] = logits.shape;
    let Some(rows) = annotated_rows(targets, samples, classes)? else {
        return count_overlap(logits, target, ignored);
    };
    // Labels have no counts of the background.
    let first = usize::from(matches!(target, Target::Labels(_)));
    let mut total = vec![OverlapCounts::default(); classes.saturating_sub(first)];
    for (sample, row) in rows.into_iter().enumerate() {
        let counts = count_overlap(&select(logits, &[sample]), &select_target(target, &[sample]), ignored)?;
        for ((total, counts), _) in total.iter_mut().zip(counts).zip(&row[first..]).filter(|(_, a)| **a) {
            total.add(counts);
        }
    }
    Ok(total)
}

fn count_overlap(
    logits: &Tensor,
    target: &Target,
    ignored: Ignored,
) -> Result<Vec<OverlapCounts>, LossError> {
    match target {
        Target::Labels(labels) => {
            let ignore_label = if let Ignored::Label(label) = ignored { Some(label) } else { None };
            count_label_overlap(logits, labels, ignore_label)
        }
        Target::Regions(regions) => count_region_overlap(logits, regions, ignored == Ignored::LastRegion),
    }
}

fn finite(what: &'static str, value: f64) -> Result<f64, StepError> {
    if value.is_finite() { Ok(value) } else { Err(StepError::NotFinite { what, value }) }
}
