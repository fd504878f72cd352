//! Weights in the order in which kernels read them, packed again when the parameters have changed.
//!
//! The order depends on the algorithm, which depends on the shape of the batch and on whether the
//! weights change; so a convolution can have several packed copies, each with the version of the
//! parameters that it was made from.

use nnunet_kernels::conv::{Algorithm, ConvShape, DataWeights, ForwardWeights};
use nnunet_kernels::transposed::TransposedWeights;
use nnunet_kernels::{Context, KernelError};

use super::binding::{Binding, Purpose, StepShape};
use super::kernel_fault;
use super::program::{Action, Program};
use crate::error::NetworkError;
use crate::graph::Graph;
use crate::parameters::Parameters;

/// Weights packed for one algorithm.
#[derive(Debug)]
struct Copy<W> {
    algorithm: Algorithm,
    version: u64,
    weights: W,
}

/// All packed copies of one step's weights.
#[derive(Debug)]
struct Copies<W>(Vec<Copy<W>>);

impl<W> Default for Copies<W> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<W> Copies<W> {
    /// Makes the copy for `algorithm` that of `version`.
    fn refresh(
        &mut self,
        algorithm: Algorithm,
        version: u64,
        new: impl FnOnce() -> W,
        pack: impl FnOnce(&mut W) -> Result<(), KernelError>,
    ) -> Result<(), KernelError> {
        if let Some(copy) = self.0.iter_mut().find(|c| c.algorithm == algorithm) {
            if copy.version != version {
                pack(&mut copy.weights)?;
                copy.version = version;
            }
            return Ok(());
        }
        let mut weights = new();
        pack(&mut weights)?;
        self.0.push(Copy { algorithm, version, weights });
        Ok(())
    }

    fn get(&self, algorithm: Algorithm) -> Result<&W, KernelError> {
        let copy = self.0.iter().find(|c| c.algorithm == algorithm).map(|c| &c.weights);
        copy.ok_or_else(|| KernelError::PackedWeights {
            packed: "other algorithms".into(),
            asked: format!("{algorithm:?}"),
        })
    }
}

/// Packed weights of one step.
#[derive(Debug, Default)]
pub(super) struct StepWeights {
    forward: Copies<ForwardWeights>,
    data: Copies<DataWeights>,
    transposed: Copies<TransposedWeights>,
}

impl StepWeights {
    /// For the forward pass.
    pub(super) fn forward(&self, algorithm: Algorithm) -> Result<&ForwardWeights, KernelError> {
        self.forward.get(algorithm)
    }

    /// For the gradient of the sources.
    pub(super) fn data(&self, algorithm: Algorithm) -> Result<&DataWeights, KernelError> {
        self.data.get(algorithm)
    }

    /// For a transposed convolution, both directions.
    pub(super) fn transposed(&self) -> Result<&TransposedWeights, KernelError> {
        self.transposed.get(Algorithm::Direct)
    }
}

/// Packed weights of all steps.
#[derive(Debug, Default)]
pub(super) struct PackedWeights {
    pub(super) steps: Vec<StepWeights>,
}

impl PackedWeights {
    /// Packs what a forward pass reads, where that was not done for this `version` of the parameters.
    pub(super) fn refresh_forward(
        &mut self,
        context: &Context,
        graph: &Graph,
        program: &Program,
        binding: &Binding,
        parameters: &Parameters,
        version: u64,
    ) -> Result<(), NetworkError> {
        self.steps.resize_with(program.steps.len(), StepWeights::default);
        for ((step, shape), packed) in program.steps.iter().zip(&binding.steps).zip(&mut self.steps) {
            let Some(weight) = step.action.weight() else { continue };
            if binding.purpose == Purpose::Inference && !step.inference {
                continue;
            }
            let natural = parameters.by_id(weight).value();
            let result = match (&step.action, shape) {
                (Action::Convolution(_), StepShape::Conv(shape, algorithms)) => packed.forward.refresh(
                    algorithms.data,
                    version,
                    || ForwardWeights::with_algorithm(shape, algorithms.data),
                    |w| w.pack(context, natural),
                ),
                (Action::Transposed { .. }, StepShape::Transposed(shape)) => packed.transposed.refresh(
                    Algorithm::Direct,
                    version,
                    || TransposedWeights::new(shape),
                    |w| w.pack(context, natural),
                ),
                _ => Ok(()),
            };
            result.map_err(|e| kernel_fault(graph, step.node, &e))?;
        }
        Ok(())
    }

    /// Packs what a backward pass reads beside that.
    pub(super) fn refresh_data(
        &mut self,
        context: &Context,
        graph: &Graph,
        program: &Program,
        binding: &Binding,
        parameters: &Parameters,
        version: u64,
    ) -> Result<(), NetworkError> {
        for ((step, shape), packed) in program.steps.iter().zip(&binding.steps).zip(&mut self.steps) {
            let (Action::Convolution(c), StepShape::Conv(shape, algorithms)) = (&step.action, shape) else {
                continue;
            };
            if step.sources.iter().all(|&v| binding.gradient_slot(v).is_none()) {
                continue;
            }
            let natural = parameters.by_id(c.weight).value();
            let new = || DataWeights::with_algorithm(shape, algorithms.data);
            let result = packed.data.refresh(algorithms.data, version, new, |w| w.pack(context, natural));
            result.map_err(|e| kernel_fault(graph, step.node, &e))?;
        }
        Ok(())
    }
}

/// Elements that packing a convolution's weights takes, estimated from the transform's size.
pub(super) fn packed_elements(shape: &ConvShape, algorithm: Algorithm) -> usize {
    let pairs = shape.in_channels() * shape.out_channels;
    let natural = pairs * shape.taps();
    match algorithm {
        Algorithm::Direct => natural,
        // F(4,3) along x has 6 points for 3 taps; with F(2,3) along y 24 points for 9.
        Algorithm::Winograd(_) => natural * 24 / 9,
    }
}
