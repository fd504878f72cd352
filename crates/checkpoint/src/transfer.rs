//! Pretrained weights for a network that may differ from theirs: what fits is taken over, the rest is listed.

use indexmap::IndexMap;

use nnunet_graph::error::{NetworkError, TensorMismatch};
use nnunet_graph::graph::Graph;
use nnunet_graph::optimiser::StateTensor;
use nnunet_graph::parameters::Parameters;

use crate::state_dict::{StateDict, mismatch};

/// What is taken over from pretrained weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TransferRules<'a> {
    /// Beginning of the names of the tensors to take over, e.g. `encoder.`; `None` for all but the segmentation heads.
    pub part: Option<&'a str>,
    /// Whether the first convolution's weights are repeated where the network has another number of input channels. They are
    /// scaled so that a copy of the same image in every channel gives what it gave before.
    pub repeat_stem: bool,
}

/// What became of pretrained weights.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transfer {
    /// Number of tensors that were taken over.
    pub taken: usize,
    /// Name of the first convolution's weights, if they were repeated.
    pub repeated: Option<String>,
    /// Tensors of the network that should have been taken over, but are missing in the file or have another shape there.
    pub left: Vec<TensorMismatch>,
    /// Tensors of the file that the network does not have.
    pub unused: Vec<String>,
}

impl StateDict {
    /// Copies pretrained weights and running statistics to `parameters` of `graph` as far as they fit: all but the segmentation
    /// heads ([`Graph::is_head`]), or the part that the rules name.
    ///
    /// # Errors
    /// Not a single tensor fits: they are all listed, and `parameters` are unchanged.
    pub fn transfer_to(
        &self,
        graph: &Graph,
        parameters: &mut Parameters,
        rules: TransferRules<'_>,
    ) -> Result<Transfer, NetworkError> {
        let known: IndexMap<&str, &str> = graph.state_dict_names().collect();
        let mut aliases: IndexMap<&str, Vec<&str>> = IndexMap::new();
        for (key, canonical) in &known {
            aliases.entry(*canonical).or_default().push(*key);
        }
        let stem = graph.parameters().first().map(|spec| spec.name.as_str());
        let mut transfer = Transfer::default();
        for (name, shape) in graph.tensors().filter(|(name, _)| rules.include(graph, name)) {
            // A file may lack the canonical name and have another one of the tensor.
            let others = aliases.get(name).into_iter().flatten().copied();
            let tensor = std::iter::once(name).chain(others).find_map(|name| self.get(name));
            match tensor {
                Some(tensor) if tensor.shape == shape => parameters.set(name, shape, &tensor.data)?,
                Some(tensor)
                    if rules.repeat_stem
                        && Some(name) == stem
                        && differ_in_channels(&tensor.shape, shape) =>
                {
                    parameters.set(name, shape, &repeated(tensor, shape))?;
                    transfer.repeated = Some(name.to_owned());
                }
                tensor => {
                    transfer.left.push(mismatch(name, tensor, Some(shape)));
                    continue;
                }
            }
            transfer.taken += 1;
        }
        if transfer.taken == 0 {
            return Err(NetworkError::Weights(transfer.left));
        }
        let unused = self.keys().map(|(key, _)| key).filter(|key| rules.include(graph, key));
        transfer.unused = unused.filter(|key| !known.contains_key(key)).map(str::to_owned).collect();
        Ok(transfer)
    }
}

impl TransferRules<'_> {
    fn include(&self, graph: &Graph, name: &str) -> bool {
        !graph.is_head(name) && self.part.is_none_or(|part| name.starts_with(part))
    }
}

/// Whether two weights of a convolution (out, in, ...) differ in their input channels only.
fn differ_in_channels(found: &[usize], expected: &[usize]) -> bool {
    let same = |axis: usize| found.get(axis) == expected.get(axis);
    found.len() == expected.len() && found.len() > 2 && found[1] > 0 && same(0) && found[2..] == expected[2..]
}

/// The weights of a convolution for the input channels of `shape`, channel after channel from the start again.
fn repeated(tensor: &StateTensor, shape: &[usize]) -> Vec<f32> {
    let (old, new) = (tensor.shape[1], shape[1]);
    let kernel: usize = shape[2..].iter().product();
    let scale = old as f32 / new as f32;
    let mut data = Vec::with_capacity(shape.iter().product());
    for output in tensor.data.chunks(old * kernel) {
        for channel in 0..new {
            let start = channel % old * kernel;
            data.extend(output[start..start + kernel].iter().map(|weight| weight * scale));
        }
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stem_is_repeated_over_more_channels_and_keeps_its_response() {
        let tensor = StateTensor { shape: vec![2, 2, 1, 1, 1], data: vec![1.0, 2.0, 3.0, 4.0] };
        let shape = [2, 3, 1, 1, 1];
        assert!(differ_in_channels(&tensor.shape, &shape));
        assert!(
            !differ_in_channels(&[2, 2, 3, 1, 1], &shape) && !differ_in_channels(&[3, 2, 1, 1, 1], &shape)
        );
        let expected = [1.0, 2.0, 1.0, 3.0, 4.0, 3.0].map(|weight: f32| weight * (2.0 / 3.0));
        assert_eq!(repeated(&tensor, &shape), expected);
        let one = StateTensor { shape: vec![1, 1, 2, 1, 1], data: vec![3.0, 6.0] };
        assert_eq!(repeated(&one, &[1, 3, 2, 1, 1]).iter().sum::<f32>(), 9.0);
    }
}
