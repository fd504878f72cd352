//! Sessions that train: a batch goes to the device, a few numbers come back.

use std::sync::Arc;

use nnunet_graph::backend::{
    BatchRef, EvaluationReport, GradientScale, InferenceSession, MemoryEstimate, Snapshot, StepError,
    StepReport, StepSpec, TrainingMemory, TrainingSession,
};
use nnunet_graph::graph::NodeId;
use nnunet_graph::optimiser::Rates;
use nnunet_graph::{Graph, NetworkError, Parameters, Tensor as HostTensor, shapes};

use crate::error::during;
use crate::forward::{Purpose, Tape};
use crate::inference::{exchange, run_into};
use crate::interface::{Dtype, Tensor, TorchError};
use crate::loss::{BatchLoss, overlap_counts};
use crate::memory;
use crate::network::Network;
use crate::optimiser::DeviceOptimiser;
use crate::runtime::{Arithmetic, Runtime};
use crate::scaler::GradientScaler;

/// A training.
pub(crate) struct TorchTraining {
    network: Network,
    loss: BatchLoss,
    optimiser: DeviceOptimiser,
    gradient_norm_limit: f64,
    /// Gradients of the last step, clipped, by parameter.
    gradients: Vec<Option<Tensor>>,
    /// With f16.
    scaler: Option<GradientScaler>,
    /// As in [`run_into`].
    most_samples: Option<(usize, usize)>,
}

impl TorchTraining {
    pub(crate) fn new(
        graph: &Graph,
        parameters: &Parameters,
        step: &StepSpec,
        runtime: Arc<Runtime>,
    ) -> Result<Self, NetworkError> {
        let scaler = (runtime.arithmetic == Arithmetic::F16).then(GradientScaler::default);
        Ok(Self {
            network: Network::new(graph, parameters, Arc::clone(&runtime))?,
            loss: BatchLoss::new(&step.loss, &runtime),
            optimiser: DeviceOptimiser::new(step.optimiser, graph.parameters().len(), runtime),
            gradient_norm_limit: step.gradient_norm_limit,
            gradients: graph.parameters().iter().map(|_| None).collect(),
            scaler,
            most_samples: None,
        })
    }

    /// The logits of all outputs in f32.
    fn forward(&mut self, image: &HostTensor, purpose: Purpose) -> Result<(Vec<Tensor>, Tape), NetworkError> {
        shapes::infer(&self.network.graph, image.shape)?;
        self.network.runtime.enter();
        let input = self.network.upload_maps(&image.data, image.shape)?;
        let outputs = self.network.graph.outputs().to_vec();
        self.network.forward(input, &outputs, purpose)
    }

    /// Forward, loss, backward: the loss, and gradients times the scale.
    fn gradients_of(&mut self, batch: BatchRef<'_>) -> Result<(f64, Vec<Option<Tensor>>), StepError> {
        let (logits, tape) = self.forward(batch.image, Purpose::Training)?;
        let scale = self.scaler.as_ref().map_or(1.0, GradientScaler::scale);
        let (loss, by_logits) = self.loss.value_and_gradient(&logits, batch.targets, scale)?;
        drop(logits);
        let loss = finite("loss", loss)?;
        let outputs: Vec<(NodeId, Option<Tensor>)> =
            self.network.graph.outputs().iter().copied().zip(by_logits).collect();
        Ok((loss, self.network.backward(tape, outputs)?))
    }

    /// The Euclidean norm of all gradients together, with the sum of squares in f64.
    fn norm(&self, gradients: &[&Tensor]) -> Result<f64, TorchError> {
        if gradients.is_empty() {
            return Ok(0.0);
        }
        let runtime = &self.network.runtime;
        let flat: Vec<Tensor> = gradients.iter().map(|g| g.reshape(&[-1])).collect::<Result<_, _>>()?;
        let all =
            Tensor::cat(&runtime.interface, &flat.iter().collect::<Vec<_>>(), 0)?.to(runtime.wide_type())?;
        let square = all.times(&all)?.sum(&[0], false, None)?;
        Ok(runtime.download_all(&[&square])?[0].sqrt())
    }

    /// Shows the parameters with their gradients to `visit` on the host and takes back what it changed.
    fn on_host(&mut self, visit: &mut dyn FnMut(&mut Parameters)) -> Result<(), NetworkError> {
        let copying = during("gradients");
        let mut parameters = self.network.take()?;
        for ((_, parameter), gradient) in parameters.iter_mut().zip(&self.gradients) {
            if let Some(gradient) = gradient {
                gradient.download_into(parameter.gradient_mut()).map_err(&copying)?;
            }
        }
        let before = parameters.clone();
        visit(&mut parameters);
        if parameters.without_gradients() != before.without_gradients() {
            self.network.put(&parameters)?;
        }
        for (index, (_, parameter)) in parameters.iter().enumerate() {
            self.gradients[index] = match parameter.gradient() {
                None => None,
                Some(gradient) => {
                    let shape = crate::network::sizes(parameter.shape());
                    Some(self.network.runtime.upload(gradient, &shape).map_err(&copying)?)
                }
            };
        }
        Ok(())
    }

    /// Multiplies all gradients.
    fn multiply_gradients(&self, factor: f64) -> Result<(), TorchError> {
        let runtime = &self.network.runtime;
        let present: Vec<&Tensor> = self.gradients.iter().flatten().collect();
        if factor == 1.0 || present.is_empty() {
            return Ok(());
        }
        let factor = runtime.full(&[], factor, Dtype::F32)?;
        Tensor::multiply_each(&runtime.interface, &present, &factor)
    }

    /// The way of a step from its gradients on. `scale`: what they are multiplied by.
    fn finish_step(&mut self, loss: f64, scale: f64, rates: Rates<'_>) -> Result<StepReport, StepError> {
        for (index, gradient) in self.gradients.iter_mut().enumerate() {
            if rates.factors.get(index) == Some(&0.0) {
                *gradient = None;
            }
        }
        let computing = during("gradients");
        let present: Vec<&Tensor> = self.gradients.iter().flatten().collect();
        let norm = self.norm(&present).map_err(&computing)? / scale;
        if let Some(scaler) = &mut self.scaler
            && !scaler.accept(norm.is_finite())
        {
            // As the reference: the step is left out, and the next one has a smaller scale.
            return match scaler.is_exhausted() {
                true => Err(StepError::NotFinite { what: "norm of the gradient", value: norm }),
                false => Ok(StepReport { loss, gradient_norm: norm }),
            };
        }
        let gradient_norm = finite("norm of the gradient", norm)?;
        let clip = (self.gradient_norm_limit / (norm + 1e-6)).min(1.0);
        self.multiply_gradients(clip / scale).map_err(&computing)?;
        self.optimiser.step(&self.network.values, &self.gradients, rates).map_err(during("optimiser"))?;
        self.network.changed();
        Ok(StepReport { loss, gradient_norm })
    }
}

impl TrainingSession for TorchTraining {
    fn step(&mut self, batch: BatchRef<'_>, rates: Rates<'_>) -> Result<StepReport, StepError> {
        let (loss, gradients) = self.gradients_of(batch)?;
        self.gradients = gradients;
        let scale = self.scaler.as_ref().map_or(1.0, GradientScaler::scale);
        self.finish_step(loss, scale, rates)
    }

    fn step_with(
        &mut self,
        batch: BatchRef<'_>,
        rates: Rates<'_>,
        adjust: &mut dyn FnMut(&mut Parameters),
    ) -> Result<StepReport, StepError> {
        let (loss, gradients) = self.gradients_of(batch)?;
        self.gradients = gradients;
        let scale = self.scaler.as_ref().map_or(1.0, GradientScaler::scale);
        self.multiply_gradients(1.0 / scale).map_err(during("gradients"))?;
        self.on_host(adjust)?;
        self.finish_step(loss, 1.0, rates)
    }

    fn visit_parameters(&mut self, visit: &mut dyn FnMut(&mut Parameters)) -> Result<(), NetworkError> {
        self.network.runtime.enter();
        self.on_host(visit)
    }

    fn evaluate(&mut self, batch: BatchRef<'_>) -> Result<EvaluationReport, StepError> {
        let (logits, _) = self.forward(batch.image, Purpose::Evaluation)?;
        let loss = finite("loss", self.loss.value(&logits, batch.targets)?)?;
        let overlap = overlap_counts(&self.network.runtime, &logits, batch.targets, self.loss.ignored())?;
        Ok(EvaluationReport { loss, overlap })
    }

    fn export(&self) -> Result<Snapshot, NetworkError> {
        let parameters = self.network.take()?;
        Ok(Snapshot { parameters, optimiser: Some(self.optimiser.state()?) })
    }

    fn import(&mut self, state: Snapshot) -> Result<(), NetworkError> {
        state.parameters.check(&self.network.graph)?;
        self.network.runtime.enter();
        let optimiser = match &state.optimiser {
            Some(optimiser) => Some(self.optimiser.with_state(optimiser, &state.parameters)?),
            None => None,
        };
        self.network.put(&state.parameters)?;
        if let Some(optimiser) = optimiser {
            self.optimiser = optimiser;
        }
        Ok(())
    }

    fn gradient_scale(&self) -> Option<GradientScale> {
        self.scaler.as_ref().map(GradientScaler::state)
    }

    fn set_gradient_scale(&mut self, scale: GradientScale) {
        if let Some(scaler) = &mut self.scaler {
            scaler.restore(scale);
        }
    }

    fn inference(&mut self) -> &mut dyn InferenceSession {
        self
    }

    fn memory(&self, input: [usize; 5]) -> Result<TrainingMemory, NetworkError> {
        Ok(TrainingMemory {
            step: memory::training(&self.network, input)?,
            optimiser: self.optimiser.host_bytes(self.network.graph.parameter_count()),
            saved_by_recomputation: 0,
        })
    }
}

impl InferenceSession for TorchTraining {
    fn run_into(&mut self, input: &HostTensor, output: &mut HostTensor) -> Result<(), NetworkError> {
        run_into(&mut self.network, &mut self.most_samples, input, output)
    }

    fn exchange_parameters(&mut self, parameters: Parameters) -> Result<Parameters, NetworkError> {
        exchange(&mut self.network, &parameters)
    }

    fn renew(&mut self) -> Result<(), NetworkError> {
        self.network.changed();
        Ok(())
    }

    fn memory(&self, input: [usize; 5]) -> Result<MemoryEstimate, NetworkError> {
        memory::inference(&self.network, input)
    }
}

fn finite(what: &'static str, value: f64) -> Result<f64, StepError> {
    if value.is_finite() { Ok(value) } else { Err(StepError::NotFinite { what, value }) }
}
