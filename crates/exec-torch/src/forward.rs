//! Forward passes: nodes in order, each value dropped after its last reader unless the backward pass needs it.

use nnunet_graph::NetworkError;
use nnunet_graph::graph::{NodeId, Operation, ParameterId};

use crate::error::at_node;
use crate::interface::{Dtype, Normalised, Tensor, TorchError, Walk};
use crate::network::Network;

/// What a pass is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Running statistics, nothing kept.
    Evaluation,
    /// Statistics of the batch, which move the running ones; what the backward pass reads is kept.
    Training,
}

/// What a forward pass leaves for the backward pass, by node.
pub(crate) struct Tape {
    /// Values that are read again.
    pub(crate) values: Vec<Option<Tensor>>,
    /// Mean and inverse deviation of norms, or what a dropout kept.
    pub(crate) statistics: Vec<Option<[Tensor; 2]>>,
    /// Element type of each value.
    pub(crate) dtypes: Vec<Option<Dtype>>,
    /// Shape of each value.
    pub(crate) shapes: Vec<Vec<i64>>,
}

impl Network {
    /// The values of `outputs` in f32 for `input`, which is checked already, and the tape of a training pass.
    pub(crate) fn forward(
        &mut self,
        input: Tensor,
        outputs: &[NodeId],
        purpose: Purpose,
    ) -> Result<(Vec<Tensor>, Tape), NetworkError> {
        let graph = self.graph.clone();
        let count = graph.nodes().len();
        let mut readers = self.readers(outputs);
        let kept = self.kept(purpose);
        let empty = || (0..count).map(|_| None).collect::<Vec<_>>();
        let mut tape = Tape {
            values: empty(),
            statistics: (0..count).map(|_| None).collect(),
            dtypes: vec![None; count],
            shapes: vec![Vec::new(); count],
        };
        tape.values[0] = Some(input);
        for (index, node) in graph.nodes().iter().enumerate().filter(|(index, _)| *index > 0) {
            if readers[index] == 0 {
                continue;
            }
            let fault = |error: TorchError| at_node(&node.name, &error);
            let (value, statistics) = self.run_node(&node.operation, &mut tape, purpose).map_err(fault)?;
            tape.dtypes[index] = value.dtype();
            tape.shapes[index] = value.shape();
            tape.values[index] = Some(value);
            tape.statistics[index] = statistics;
            for input in node.inputs() {
                readers[input.0] -= 1;
                if readers[input.0] == 0 && !kept[input.0] {
                    tape.values[input.0] = None;
                }
            }
        }
        let output = |id: &NodeId| {
            let value = tape.values[id.0].as_ref().ok_or_else(|| lost(self.name(*id)))?;
            value.to(Dtype::F32).map_err(|error| at_node(self.name(*id), &error))
        };
        let outputs = outputs.iter().map(output).collect::<Result<_, _>>()?;
        Ok((outputs, tape))
    }

    /// By node: how often `outputs` need it, directly or for what is computed from it.
    fn readers(&self, outputs: &[NodeId]) -> Vec<usize> {
        let mut readers = vec![0; self.graph.nodes().len()];
        outputs.iter().for_each(|output| readers[output.0] += 1);
        for (index, node) in self.graph.nodes().iter().enumerate().rev() {
            if readers[index] > 0 {
                node.inputs().iter().for_each(|input| readers[input.0] += 1);
            }
        }
        readers
    }

    /// By node: whether the backward pass reads its value.
    fn kept(&self, purpose: Purpose) -> Vec<bool> {
        let mut kept = vec![false; self.graph.nodes().len()];
        if purpose == Purpose::Evaluation {
            return kept;
        }
        for (index, node) in self.graph.nodes().iter().enumerate() {
            match node.operation {
                // The sign of the result is that of the input, which can then be dropped.
                Operation::LeakyRelu { slope, .. } if slope >= 0.0 => kept[index] = true,
                Operation::LeakyRelu { input, .. }
                | Operation::Convolution { input, .. }
                | Operation::TransposedConvolution { input, .. }
                | Operation::InstanceNorm { input, .. }
                | Operation::BatchNorm { input, .. }
                | Operation::GroupNorm { input, .. }
                | Operation::Gelu { input }
                | Operation::AveragePool { input, .. } => kept[input.0] = true,
                Operation::Input { .. }
                | Operation::Dropout { .. }
                | Operation::Concat { .. }
                | Operation::Add { .. } => {}
            }
        }
        kept
    }

    /// The value of a node, and what else its backward pass needs.
    fn run_node(
        &mut self,
        operation: &Operation,
        tape: &mut Tape,
        purpose: Purpose,
    ) -> Result<(Tensor, Option<[Tensor; 2]>), TorchError> {
        let training = purpose == Purpose::Training;
        let plain = |value: Tensor| (value, None);
        match operation {
            Operation::Input { .. } => Err(lost_value()),
            Operation::Convolution { input, weight, bias, kernel, stride, .. } => {
                let padding = kernel.map(|n| (n - 1) / 2);
                self.convolve(*input, *weight, *bias, *stride, padding, false, tape).map(plain)
            }
            Operation::TransposedConvolution { input, weight, bias, stride, .. } => {
                self.convolve(*input, *weight, *bias, *stride, [0; 3], true, tape).map(plain)
            }
            Operation::InstanceNorm { input, affine, epsilon } => {
                let value = of(tape, *input)?;
                let shape = value.shape();
                let affine = self.repeated(*affine, shape[0])?;
                let norm = joined(value)?.batch_norm(pair(&affine), None, true, 0.0, *epsilon)?;
                let value = norm.output.reshape(&shape)?;
                Ok((value, training.then_some([norm.mean, norm.inverse])))
            }
            Operation::BatchNorm { input, affine, epsilon, running } => {
                let momentum = match running {
                    Some(running) if training => self.count_batch(*running),
                    _ => 0.0,
                };
                let statistics =
                    running.map(|running| (self.buffer(running.mean), self.buffer(running.variance)));
                let affine = affine.map(|(weight, bias)| (self.value(weight), self.value(bias)));
                let of_batch = training || running.is_none();
                let norm = of(tape, *input)?.batch_norm(affine, statistics, of_batch, momentum, *epsilon)?;
                Ok((norm.output, training.then_some([norm.mean, norm.inverse])))
            }
            Operation::GroupNorm { input, groups, affine, epsilon } => {
                let value = of(tape, *input)?;
                let (sizes, narrow) = (group_sizes(&value.shape(), *groups), value.dtype());
                let affine = affine.map(|(weight, bias)| (self.value(weight), self.value(bias)));
                // Autocast computes group norms in f32.
                let Normalised { output, mean, inverse } =
                    value.to(Dtype::F32)?.group_norm(affine, sizes, *epsilon)?;
                let output = output.to(narrow.unwrap_or(Dtype::F32))?;
                Ok((output, training.then_some([mean, inverse])))
            }
            Operation::Gelu { input } => of(tape, *input)?.gelu().map(plain),
            Operation::Dropout { input, probability } => {
                let value = of(tape, *input)?;
                if !training || *probability == 0.0 {
                    return value.share().map(plain);
                }
                let [value, kept] = value.dropout(*probability)?;
                let second = kept.share()?;
                Ok((value, Some([kept, second])))
            }
            Operation::LeakyRelu { input, slope } => {
                let value = of(tape, *input)?;
                let slope = self.slope_for(value, *slope)?;
                value.leaky_relu(&slope).map(plain)
            }
            Operation::Concat { inputs } => {
                let dtype = inputs.iter().filter_map(|input| of(tape, *input).ok()?.dtype()).next();
                let parts: Vec<Tensor> = inputs
                    .iter()
                    .map(|input| of(tape, *input)?.to(dtype.unwrap_or(Dtype::F32)))
                    .collect::<Result<_, _>>()?;
                Tensor::cat(&self.runtime.interface, &parts.iter().collect::<Vec<_>>(), 1).map(plain)
            }
            Operation::Add { inputs: [a, b] } => of(tape, *a)?.plus(of(tape, *b)?, 1.0).map(plain),
            Operation::AveragePool { input, kernel } => {
                let value = of(tape, *input)?;
                let block = self.spatial(*kernel);
                if !self.runtime.on_host() {
                    return value.average_pool(&block).map(plain);
                }
                // libtorch's CPU pools no narrow numbers.
                let pooled = value.to(Dtype::F32)?.average_pool(&block)?;
                pooled.to(value.dtype().unwrap_or(Dtype::F32)).map(plain)
            }
        }
    }

    fn convolve(
        &mut self,
        input: NodeId,
        weight: ParameterId,
        bias: Option<ParameterId>,
        stride: [usize; 3],
        padding: [usize; 3],
        transposed: bool,
        tape: &mut Tape,
    ) -> Result<Tensor, TorchError> {
        // What is read in the narrow type is kept in it.
        let dtype = self.runtime.narrow_type();
        let value = of(tape, input)?.to(dtype)?;
        let weight = self.narrow(weight)?.share()?;
        let bias = bias.map(|bias| self.narrow(bias)?.share()).transpose()?;
        let (stride, padding) = (self.spatial(stride), self.spatial(padding));
        let result = value.convolution(
            &weight,
            bias.as_ref(),
            Walk { stride: &stride, padding: &padding, transposed },
        )?;
        tape.values[input.0] = Some(value);
        Ok(result)
    }

    /// Weight and bias of a norm, repeated for each of `samples` samples.
    pub(crate) fn repeated(
        &self,
        affine: Option<(ParameterId, ParameterId)>,
        samples: i64,
    ) -> Result<Option<(Tensor, Tensor)>, TorchError> {
        let repeat = |id: ParameterId| match samples {
            1 => self.value(id).share(),
            _ => self.value(id).repeat(&[samples]),
        };
        affine.map(|(weight, bias)| Ok((repeat(weight)?, repeat(bias)?))).transpose()
    }

    /// The slope of an activation of `value`.
    pub(crate) fn slope_for(&self, value: &Tensor, slope: f64) -> Result<std::sync::Arc<Tensor>, TorchError> {
        self.runtime.slope(slope, value.dtype().unwrap_or(Dtype::F32), value.shape().len())
    }
}

/// Borrows a pair.
pub(crate) fn pair(affine: &Option<(Tensor, Tensor)>) -> Option<(&Tensor, &Tensor)> {
    affine.as_ref().map(|(weight, bias)| (weight, bias))
}

/// A value with samples and channels as one axis of channels: (1, n * c, spatial axes).
pub(crate) fn joined(value: &Tensor) -> Result<Tensor, TorchError> {
    let shape = value.shape();
    let mut joined = vec![1, shape[0] * shape[1]];
    joined.extend_from_slice(&shape[2..]);
    value.reshape(&joined)
}

/// Sizes of a group norm of a value of `shape`.
pub(crate) fn group_sizes(shape: &[i64], groups: usize) -> [i64; 4] {
    [shape[0], shape[1], shape[2..].iter().product(), groups as i64]
}

/// The value of a node.
pub(crate) fn of(tape: &Tape, id: NodeId) -> Result<&Tensor, TorchError> {
    tape.values[id.0].as_ref().ok_or_else(lost_value)
}

/// A value that was dropped too early, which is a fault of this crate.
fn lost_value() -> TorchError {
    TorchError {
        operation: "graph".into(),
        message: "a value is read after it was dropped".into(),
        memory: false,
    }
}

/// The same as an error of networks.
fn lost(node: &str) -> NetworkError {
    at_node(node, &lost_value())
}
