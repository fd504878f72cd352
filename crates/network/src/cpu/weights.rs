//! Weights in the order in which kernels read them, packed again when the parameters have changed.

use nnunet_kernels::Context;
use nnunet_kernels::conv::{DataWeights, ForwardWeights};
use nnunet_kernels::transposed::TransposedWeights;

use super::binding::{Binding, StepShape};
use super::kernel_fault;
use super::program::{Action, Program};
use crate::error::NetworkError;
use crate::graph::Graph;
use crate::parameters::Parameters;

/// Packed weights of one step.
#[derive(Debug, Default)]
pub(super) struct StepWeights {
    pub(super) forward: Option<ForwardWeights>,
    pub(super) data: Option<DataWeights>,
    pub(super) transposed: Option<TransposedWeights>,
}

/// Packed weights of all steps, with the state of the parameters that they were packed from.
#[derive(Debug, Default)]
pub(super) struct PackedWeights {
    pub(super) steps: Vec<StepWeights>,
    /// Counter of the parameters' changes at the last packing, for the two directions.
    forward_version: Option<u64>,
    data_version: Option<u64>,
}

impl PackedWeights {
    /// Packs what the forward pass reads, unless that was done for this `version` of the parameters.
    pub(super) fn refresh_forward(
        &mut self,
        context: &Context,
        graph: &Graph,
        program: &Program,
        binding: &Binding,
        parameters: &Parameters,
        version: u64,
    ) -> Result<(), NetworkError> {
        if self.forward_version == Some(version) {
            return Ok(());
        }
        self.steps.resize_with(program.steps.len(), StepWeights::default);
        for ((step, shape), packed) in program.steps.iter().zip(&binding.steps).zip(&mut self.steps) {
            let Some(weight) = step.action.weight() else { continue };
            let natural = parameters.by_id(weight).value();
            let result = match (&step.action, shape) {
                (Action::Convolution(_), StepShape::Conv(shape)) => {
                    packed.forward.get_or_insert_with(|| ForwardWeights::new(shape)).pack(context, natural)
                }
                (Action::Transposed { .. }, StepShape::Transposed(shape)) => packed
                    .transposed
                    .get_or_insert_with(|| TransposedWeights::new(shape))
                    .pack(context, natural),
                _ => Ok(()),
            };
            result.map_err(|e| kernel_fault(graph, step.node, &e))?;
        }
        self.forward_version = Some(version);
        Ok(())
    }

    /// Packs what the backward pass reads beside that.
    pub(super) fn refresh_data(
        &mut self,
        context: &Context,
        graph: &Graph,
        program: &Program,
        binding: &Binding,
        parameters: &Parameters,
        version: u64,
    ) -> Result<(), NetworkError> {
        if self.data_version == Some(version) {
            return Ok(());
        }
        for ((step, shape), packed) in program.steps.iter().zip(&binding.steps).zip(&mut self.steps) {
            let (Action::Convolution(c), StepShape::Conv(shape)) = (&step.action, shape) else { continue };
            let natural = parameters.by_id(c.weight).value();
            let weights = packed.data.get_or_insert_with(|| DataWeights::new(shape));
            weights.pack(context, natural).map_err(|e| kernel_fault(graph, step.node, &e))?;
        }
        self.data_version = Some(version);
        Ok(())
    }
}
