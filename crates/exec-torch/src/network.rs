//! A graph with its weights on the device.

use std::sync::Arc;

use nnunet_graph::graph::{BufferId, Graph, NodeId, Operation, ParameterId, RunningStatistics};
use nnunet_graph::{NetworkError, Parameters};

use crate::error::during;
use crate::interface::{Dtype, Tensor, TorchError};
use crate::runtime::Runtime;

/// A graph with its weights on the device.
pub(crate) struct Network {
    pub(crate) graph: Graph,
    pub(crate) runtime: Arc<Runtime>,
    /// Parameters in f32, by index.
    pub(crate) values: Vec<Tensor>,
    /// Parameters in the type of convolutions, made when first asked for.
    narrow: Vec<Option<Tensor>>,
    /// Buffers in f32, by index.
    buffers: Vec<Tensor>,
    /// Numbers of batches, which stay on the host, by index of their buffer.
    batches: Vec<Option<f32>>,
    /// By node: whether a parameter lies at it or before it.
    pub(crate) learns: Vec<bool>,
}

impl Network {
    /// `graph` with `parameters`, which have to be its own.
    ///
    /// # Errors
    /// Parameters of another graph; no memory on the device.
    pub(crate) fn new(
        graph: &Graph,
        parameters: &Parameters,
        runtime: Arc<Runtime>,
    ) -> Result<Self, NetworkError> {
        parameters.check(graph)?;
        let mut learns: Vec<bool> = Vec::with_capacity(graph.nodes().len());
        for node in graph.nodes() {
            let own = match &node.operation {
                Operation::Convolution { .. } | Operation::TransposedConvolution { .. } => true,
                Operation::InstanceNorm { affine, .. }
                | Operation::BatchNorm { affine, .. }
                | Operation::GroupNorm { affine, .. } => affine.is_some(),
                _ => false,
            };
            learns.push(own || node.inputs().iter().any(|input| learns[input.0]));
        }
        let mut network = Self {
            graph: graph.clone(),
            runtime,
            values: Vec::new(),
            narrow: Vec::new(),
            buffers: Vec::new(),
            batches: Vec::new(),
            learns,
        };
        network.put(parameters)?;
        Ok(network)
    }

    /// Replaces all weights. On an error the old ones stay.
    pub(crate) fn put(&mut self, parameters: &Parameters) -> Result<(), NetworkError> {
        parameters.check(&self.graph)?;
        self.runtime.enter();
        let upload = |data: &[f32], shape: &[usize]| self.runtime.upload(data, &sizes(shape));
        let uploading = during("weights");
        let values: Vec<Tensor> = parameters
            .iter()
            .map(|(_, parameter)| upload(parameter.value(), parameter.shape()))
            .collect::<Result<_, _>>()
            .map_err(&uploading)?;
        let buffers: Vec<Tensor> = parameters
            .buffers()
            .map(|(_, buffer)| upload(buffer.value(), buffer.shape()))
            .collect::<Result<_, _>>()
            .map_err(&uploading)?;
        let mut batches = vec![None; buffers.len()];
        for running in self.running() {
            batches[running.batches.0] = parameters.buffer(running.batches).first().copied();
        }
        self.narrow = values.iter().map(|_| None).collect();
        (self.values, self.buffers, self.batches) = (values, buffers, batches);
        Ok(())
    }

    /// The weights on the host.
    pub(crate) fn take(&self) -> Result<Parameters, NetworkError> {
        self.runtime.enter();
        let downloading = during("weights");
        let mut parameters = Parameters::zeros(&self.graph);
        for ((_, parameter), value) in parameters.iter_mut().zip(&self.values) {
            value.download_into(parameter.value_mut()).map_err(&downloading)?;
        }
        for (index, (buffer, batches)) in self.buffers.iter().zip(&self.batches).enumerate() {
            let data = parameters.buffer_mut(BufferId(index));
            match batches {
                Some(batches) => data.fill(*batches),
                None => buffer.download_into(data).map_err(&downloading)?,
            }
        }
        Ok(parameters)
    }

    /// Statistics of all batch norms that have them.
    fn running(&self) -> impl Iterator<Item = RunningStatistics> {
        self.graph.nodes().iter().filter_map(|node| match node.operation {
            Operation::BatchNorm { running, .. } => running,
            _ => None,
        })
    }

    /// A parameter in f32.
    pub(crate) fn value(&self, id: ParameterId) -> &Tensor {
        &self.values[id.0]
    }

    /// A parameter in the type of convolutions.
    pub(crate) fn narrow(&mut self, id: ParameterId) -> Result<&Tensor, TorchError> {
        let dtype = self.runtime.narrow_type();
        if dtype == Dtype::F32 {
            return Ok(&self.values[id.0]);
        }
        let slot = &mut self.narrow[id.0];
        match slot {
            Some(tensor) => Ok(tensor),
            None => Ok(slot.insert(self.values[id.0].to(dtype)?)),
        }
    }

    /// The parameters have changed.
    pub(crate) fn changed(&mut self) {
        self.narrow.iter_mut().for_each(|slot| *slot = None);
    }

    /// A buffer.
    pub(crate) fn buffer(&self, id: BufferId) -> &Tensor {
        &self.buffers[id.0]
    }

    /// Counts one more batch and returns the share of it in the running statistics.
    pub(crate) fn count_batch(&mut self, running: RunningStatistics) -> f64 {
        let count = self.batches[running.batches.0].get_or_insert(0.0);
        *count += 1.0;
        running.momentum.unwrap_or(1.0 / f64::from(*count))
    }

    /// A batch on the device.
    ///
    /// # Errors
    /// Another number of elements than its shape has; no memory on the device.
    pub(crate) fn upload_maps(&self, data: &[f32], shape: [usize; 5]) -> Result<Tensor, NetworkError> {
        if shape.iter().try_fold(1usize, |p, &s| p.checked_mul(s)) != Some(data.len()) {
            let expected = format!("as many elements as given, {}", data.len());
            return Err(NetworkError::Input { found: shape, expected });
        }
        self.runtime.upload(data, &self.maps_shape(shape)).map_err(during("batch"))
    }

    /// The name of a node, for messages.
    pub(crate) fn name(&self, id: NodeId) -> &str {
        &self.graph.node(id).name
    }

    /// The shape of a tensor of maps on the device: without z for networks of two dimensions.
    fn maps_shape(&self, [n, c, z, y, x]: [usize; 5]) -> Vec<i64> {
        match self.graph.spatial_dimensions() {
            2 => sizes(&[n, c, y, x]),
            _ => sizes(&[n, c, z, y, x]),
        }
    }

    /// Sizes along the spatial axes as operations take them: without z for networks of two dimensions.
    pub(crate) fn spatial(&self, sizes: [usize; 3]) -> Vec<i64> {
        sizes[3 - self.graph.spatial_dimensions()..].iter().map(|&n| n as i64).collect()
    }
}

/// A shape in libtorch's numbers.
pub(crate) fn sizes(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|&n| n as i64).collect()
}
