//! The backward pass: nodes in reverse, from the gradients of the outputs to those of the parameters.

use nnunet_graph::NetworkError;
use nnunet_graph::graph::{NodeId, Operation, ParameterId};

use crate::error::at_node;
use crate::forward::{Tape, group_sizes, joined, of, pair};
use crate::interface::{Dtype, Tensor, TorchError, Walk};
use crate::network::Network;

/// Gradients while the pass runs.
struct Gradients {
    /// By node, of its value.
    values: Vec<Option<Tensor>>,
    /// By parameter, in f32.
    parameters: Vec<Option<Tensor>>,
}

impl Network {
    /// Gradients of the parameters, in f32, from those of the `outputs`, in f32 or `None`; `None` for parameters that no
    /// gradient reaches.
    pub(crate) fn backward(
        &mut self,
        mut tape: Tape,
        outputs: Vec<(NodeId, Option<Tensor>)>,
    ) -> Result<Vec<Option<Tensor>>, NetworkError> {
        let graph = self.graph.clone();
        let mut gradients = Gradients {
            values: graph.nodes().iter().map(|_| None).collect(),
            parameters: graph.parameters().iter().map(|_| None).collect(),
        };
        for (id, gradient) in outputs {
            let Some(gradient) = gradient else { continue };
            let fault = |error: TorchError| at_node(&graph.node(id).name, &error);
            let narrow = gradient.to(tape.dtypes[id.0].unwrap_or(Dtype::F32)).map_err(fault)?;
            add(&mut gradients.values[id.0], narrow).map_err(fault)?;
        }
        for (index, node) in graph.nodes().iter().enumerate().rev() {
            if let Some(gradient) = gradients.values[index].take().filter(|_| self.learns[index]) {
                self.node_backward(NodeId(index), &node.operation, &gradient, &tape, &mut gradients)
                    .map_err(|error| at_node(&node.name, &error))?;
            }
            // All readers lie behind the node.
            (tape.values[index], tape.statistics[index]) = (None, None);
        }
        Ok(gradients.parameters)
    }

    fn node_backward(
        &mut self,
        id: NodeId,
        operation: &Operation,
        gradient: &Tensor,
        tape: &Tape,
        gradients: &mut Gradients,
    ) -> Result<(), TorchError> {
        match operation {
            Operation::Input { .. } => Ok(()),
            Operation::Convolution { input, weight, bias, kernel, stride, .. } => {
                let padding = kernel.map(|n| (n - 1) / 2);
                self.convolution_backward(
                    gradient, *input, *weight, *bias, *stride, padding, false, tape, gradients,
                )
            }
            Operation::TransposedConvolution { input, weight, bias, stride, .. } => self
                .convolution_backward(
                    gradient, *input, *weight, *bias, *stride, [0; 3], true, tape, gradients,
                ),
            Operation::InstanceNorm { input, affine, epsilon } => {
                let value = of(tape, *input)?;
                let shape = value.shape();
                let repeated = self.repeated(*affine, shape[0])?;
                let [mean, inverse] = statistics(tape, id)?;
                let weight = pair(&repeated).map(|(weight, _)| weight);
                let wanted = self.wanted(*input, affine.is_some());
                let [by_input, by_weight, by_bias] = joined(gradient)?.batch_norm_backward(
                    &joined(value)?,
                    weight,
                    mean,
                    inverse,
                    *epsilon,
                    wanted,
                )?;
                if let Some((weight, bias)) = affine {
                    let over_samples =
                        |by: &Tensor| by.reshape(&[shape[0], shape[1]])?.sum(&[0], false, None);
                    add(&mut gradients.parameters[weight.0], over_samples(&by_weight)?)?;
                    add(&mut gradients.parameters[bias.0], over_samples(&by_bias)?)?;
                }
                if by_input.is_defined() {
                    add(&mut gradients.values[input.0], by_input.reshape(&shape)?)?;
                }
                Ok(())
            }
            Operation::BatchNorm { input, affine, epsilon, .. } => {
                let [mean, inverse] = statistics(tape, id)?;
                let weight = affine.map(|(weight, _)| self.value(weight));
                let wanted = self.wanted(*input, affine.is_some());
                let by = gradient.batch_norm_backward(
                    of(tape, *input)?,
                    weight,
                    mean,
                    inverse,
                    *epsilon,
                    wanted,
                )?;
                norm_gradients(by, *input, *affine, gradients)
            }
            Operation::GroupNorm { input, groups, affine, .. } => {
                let [mean, inverse] = statistics(tape, id)?;
                let value = of(tape, *input)?;
                let weight = affine.map(|(weight, _)| self.value(weight));
                let (sizes, wanted) =
                    (group_sizes(&value.shape(), *groups), self.wanted(*input, affine.is_some()));
                // The kernel reads plain memory; a gradient may be a view of a wider one.
                let plain = gradient.to(Dtype::F32)?.scaled(1.0)?;
                let [by_input, by_weight, by_bias] = plain.group_norm_backward(
                    &value.to(Dtype::F32)?,
                    weight,
                    mean,
                    inverse,
                    sizes,
                    wanted,
                )?;
                let by_input = match by_input.is_defined() {
                    true => by_input.to(value.dtype().unwrap_or(Dtype::F32))?,
                    false => by_input,
                };
                norm_gradients([by_input, by_weight, by_bias], *input, *affine, gradients)
            }
            Operation::Gelu { input } => {
                let by_input = gradient.gelu_backward(of(tape, *input)?)?;
                add(&mut gradients.values[input.0], by_input)
            }
            Operation::Dropout { input, probability } => {
                let by_input = match &tape.statistics[id.0] {
                    Some([kept, _]) => gradient.dropout_backward(kept, *probability)?,
                    None => gradient.share()?,
                };
                add(&mut gradients.values[input.0], by_input)
            }
            Operation::LeakyRelu { input, slope } => {
                let signs = of(tape, if *slope >= 0.0 { id } else { *input })?;
                let by_input = gradient.leaky_relu_backward(signs, &*self.slope_for(signs, *slope)?)?;
                add(&mut gradients.values[input.0], by_input)
            }
            Operation::Concat { inputs } => {
                let mut start = 0;
                for input in inputs {
                    let channels = match input.0 {
                        0 => self.graph.input_channels() as i64,
                        index => tape.shapes[index][1],
                    };
                    let part = gradient.narrow(1, start, channels)?;
                    start += channels;
                    if self.learns[input.0] {
                        add(&mut gradients.values[input.0], part)?;
                    }
                }
                Ok(())
            }
            Operation::Add { inputs } => {
                inputs.iter().try_for_each(|input| add(&mut gradients.values[input.0], gradient.share()?))
            }
            Operation::AveragePool { input, kernel } => {
                let (value, block) = (of(tape, *input)?, self.spatial(*kernel));
                let by_input = match self.runtime.on_host() {
                    true => gradient
                        .to(Dtype::F32)?
                        .average_pool_backward(&value.to(Dtype::F32)?, &block)?
                        .to(value.dtype().unwrap_or(Dtype::F32))?,
                    false => gradient.average_pool_backward(value, &block)?,
                };
                add(&mut gradients.values[input.0], by_input)
            }
        }
    }

    fn convolution_backward(
        &mut self,
        gradient: &Tensor,
        input: NodeId,
        weight: ParameterId,
        bias: Option<ParameterId>,
        stride: [usize; 3],
        padding: [usize; 3],
        transposed: bool,
        tape: &Tape,
        gradients: &mut Gradients,
    ) -> Result<(), TorchError> {
        let (stride, padding) = (self.spatial(stride), self.spatial(padding));
        let walk = Walk { stride: &stride, padding: &padding, transposed };
        let channels = bias.map(|bias| self.graph.parameter(bias).shape[0] as i64);
        let wanted = [self.learns[input.0], true, bias.is_some()];
        let narrow = self.narrow(weight)?;
        let [by_input, by_weight, by_bias] =
            gradient.convolution_backward(of(tape, input)?, narrow, channels, walk, wanted)?;
        add(&mut gradients.parameters[weight.0], by_weight.to(Dtype::F32)?)?;
        if let Some(bias) = bias {
            add(&mut gradients.parameters[bias.0], by_bias.to(Dtype::F32)?)?;
        }
        if by_input.is_defined() {
            add(&mut gradients.values[input.0], by_input)?;
        }
        Ok(())
    }

    /// Which gradients of a norm are wanted.
    fn wanted(&self, input: NodeId, affine: bool) -> [bool; 3] {
        [self.learns[input.0], affine, affine]
    }
}

/// Adds the gradients of a norm.
fn norm_gradients(
    [by_input, by_weight, by_bias]: [Tensor; 3],
    input: NodeId,
    affine: Option<(ParameterId, ParameterId)>,
    gradients: &mut Gradients,
) -> Result<(), TorchError> {
    if let Some((weight, bias)) = affine {
        add(&mut gradients.parameters[weight.0], by_weight)?;
        add(&mut gradients.parameters[bias.0], by_bias)?;
    }
    if by_input.is_defined() {
        add(&mut gradients.values[input.0], by_input)?;
    }
    Ok(())
}

/// Mean and inverse deviation of a norm.
fn statistics(tape: &Tape, id: NodeId) -> Result<&[Tensor; 2], TorchError> {
    tape.statistics[id.0].as_ref().ok_or_else(|| TorchError {
        operation: "graph".into(),
        message: "a norm has no statistics".into(),
        memory: false,
    })
}

/// Adds to what is there.
fn add(slot: &mut Option<Tensor>, gradient: Tensor) -> Result<(), TorchError> {
    *slot = Some(match slot.take() {
        None => gradient,
        Some(there) => there.plus(&gradient, 1.0)?,
    });
    Ok(())
}
