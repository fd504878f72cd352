//! Weights in the order in which kernels read them.
//!
//! For inference they are packed once and kept, until the parameters change, unless packing takes little of a pass.
//! The order depends on the algorithm, which depends on the shape of the batch and on whether the weights change; so
//! a convolution can have several packed copies, each with the version of the parameters that it was made from.
//!
//! In training they change with every step and are read once or twice: each convolution packs its own just before
//! it needs them, into memory that all share. So does inference with large patches.

use nnunet_kernels::conv::{Algorithm, DataWeights, ForwardWeights};
use nnunet_kernels::layout::AlignedBuffer;
use nnunet_kernels::transposed::TransposedWeights;
use nnunet_kernels::{Context, KernelError};

use super::binding::{Binding, Purpose, StepShape};
use super::kernel_fault;
use super::program::{Action, Program};
use nnunet_graph::error::NetworkError;
use nnunet_graph::graph::Graph;
use nnunet_graph::parameters::Parameters;

/// Weights packed for one algorithm.
#[derive(Debug)]
struct Copy<W> {
    algorithm: Algorithm,
    /// Of the parameters that it was packed from; `None` if it is only ever packed just before use.
    version: Option<u64>,
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
    /// The copy for `algorithm`, described but not packed when it is new.
    fn entry(&mut self, algorithm: Algorithm, new: impl FnOnce() -> W) -> &mut Copy<W> {
        let at = self.0.iter().position(|copy| copy.algorithm == algorithm).unwrap_or_else(|| {
            self.0.push(Copy { algorithm, version: None, weights: new() });
            self.0.len() - 1
        });
        &mut self.0[at]
    }

    fn get(&self, algorithm: Algorithm) -> Result<&W, KernelError> {
        let copy = self.0.iter().find(|c| c.algorithm == algorithm).map(|c| &c.weights);
        copy.ok_or_else(|| KernelError::PackedWeights {
            packed: "other algorithms".into(),
            asked: format!("{algorithm:?}"),
        })
    }
}

impl<W> Copy<W> {
    /// Packs, unless that was done for this `version` of the parameters.
    fn refresh(
        &mut self,
        version: u64,
        pack: impl FnOnce(&mut W) -> Result<(), KernelError>,
    ) -> Result<(), KernelError> {
        if self.version != Some(version) {
            pack(&mut self.weights)?;
            self.version = Some(version);
        }
        Ok(())
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

/// What the weights of a convolution are packed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// The forward pass.
    Forward,
    /// The gradient of the sources.
    Data,
}

/// Packed weights of all steps.
#[derive(Debug, Default)]
pub(super) struct PackedWeights {
    pub(super) steps: Vec<StepWeights>,
    /// What convolutions pack weights into that are not kept, one after the other.
    shared: AlignedBuffer,
}

impl PackedWeights {
    /// Packs what a pass keeps, where that was not done for this `version` of the parameters: the (small) weights of
    /// transposed convolutions always.
    pub(super) fn refresh(
        &mut self,
        context: &Context,
        graph: &Graph,
        program: &Program,
        binding: &Binding,
        parameters: &Parameters,
        version: u64,
    ) -> Result<(), NetworkError> {
        self.steps.resize_with(program.steps.len(), StepWeights::default);
        let inference = binding.purpose == Purpose::Inference;
        for ((step, shape), packed) in program.steps.iter().zip(&binding.steps).zip(&mut self.steps) {
            let Some(weight) = step.action.weight() else { continue };
            if inference && !step.inference {
                continue;
            }
            let natural = parameters.by_id(weight).value();
            let result = match (&step.action, shape) {
                (Action::Convolution(_), StepShape::Conv(shape, algorithms)) if binding.keeps_weights => {
                    packed
                        .forward
                        .entry(algorithms.data, || ForwardWeights::with_algorithm(shape, algorithms.data))
                        .refresh(version, |w| w.pack(context, natural))
                }
                (Action::Transposed { .. }, StepShape::Transposed(shape)) => packed
                    .transposed
                    .entry(Algorithm::Direct, || TransposedWeights::new(shape))
                    .refresh(version, |w| w.pack(context, natural)),
                _ => Ok(()),
            };
            result.map_err(|e| kernel_fault(graph, step.node, &e))?;
        }
        Ok(())
    }

    /// Packs the weights that step `index` is about to read and nobody keeps, if it is a convolution. They stay until
    /// [`Self::give_back`].
    pub(super) fn lend(
        &mut self,
        direction: Direction,
        index: usize,
        context: &Context,
        program: &Program,
        binding: &Binding,
        parameters: &Parameters,
    ) -> Result<(), KernelError> {
        let (Action::Convolution(c), StepShape::Conv(shape, algorithms)) =
            (&program.steps[index].action, &binding.steps[index])
        else {
            return Ok(());
        };
        let (step, algorithm) = (&mut self.steps[index], algorithms.data);
        let natural = parameters.by_id(c.weight).value();
        match direction {
            Direction::Forward => step
                .forward
                .entry(algorithm, || ForwardWeights::with_algorithm(shape, algorithm))
                .weights
                .pack_into(context, natural, &mut self.shared),
            Direction::Data => step
                .data
                .entry(algorithm, || DataWeights::with_algorithm(shape, algorithm))
                .weights
                .pack_into(context, natural, &mut self.shared),
        }
    }

    /// Takes the memory back that [`Self::lend`] gave to step `index`.
    pub(super) fn give_back(&mut self, direction: Direction, index: usize, binding: &Binding) {
        let StepShape::Conv(_, algorithms) = &binding.steps[index] else { return };
        let (step, algorithm) = (&mut self.steps[index], algorithms.data);
        match direction {
            Direction::Forward => {
                if let Some(copy) = step.forward.0.iter_mut().find(|copy| copy.algorithm == algorithm) {
                    copy.weights.give_back(&mut self.shared);
                }
            }
            Direction::Data => {
                if let Some(copy) = step.data.0.iter_mut().find(|copy| copy.algorithm == algorithm) {
                    copy.weights.give_back(&mut self.shared);
                }
            }
        }
    }
}

/// Values that the packed weights of a pass take: all that are kept, else the largest, beside the transposed
/// convolutions'.
pub(super) fn packed_len(binding: &Binding) -> usize {
    let convolutions = binding.steps.iter().filter_map(|step| match step {
        StepShape::Conv(shape, algorithms) => Some(algorithms.data.packed_len(shape)),
        _ => None,
    });
    let convolutions: usize =
        if binding.keeps_weights { convolutions.sum() } else { convolutions.max().unwrap_or(0) };
    let transposed = binding.steps.iter().map(|step| match step {
        StepShape::Transposed(shape) => 2 * shape.weights_len(),
        _ => 0,
    });
    convolutions + transposed.sum::<usize>()
}
