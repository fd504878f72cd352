//! The weights of a network by PyTorch's names, with the names that mean the same tensor.
//!
//! nnU-Net's networks register most modules several times, so that a state dict names a tensor up to four times
//! (`conv` and `all_modules.0`, `encoder` and `decoder.encoder`). Here each tensor is held once, under its
//! canonical name; the other names are aliases.

use indexmap::IndexMap;

use nnunet_graph::error::{NetworkError, TensorMismatch};
use nnunet_graph::graph::Graph;
use nnunet_graph::optimiser::StateTensor;
use nnunet_graph::parameters::Parameters;

/// Weights by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StateDict {
    /// Each tensor once, by its canonical name.
    tensors: IndexMap<String, StateTensor>,
    /// Every key in PyTorch's order, aliases included, with the canonical name.
    keys: IndexMap<String, String>,
}

impl StateDict {
    /// No weights.
    pub fn new() -> Self {
        Self::default()
    }

    /// The weights of `graph`, with every key that PyTorch's state dict of that network has. Nothing is copied.
    pub fn from_parameters(graph: &Graph, parameters: Parameters) -> Self {
        let tensors = parameters.into_tensors();
        Self {
            tensors: tensors.map(|(name, shape, data)| (name, StateTensor { shape, data })).collect(),
            keys: graph.state_dict_names().map(|(key, name)| (key.to_owned(), name.to_owned())).collect(),
        }
    }

    /// The parameters of `graph`, which must have exactly these weights.
    ///
    /// # Errors
    /// Lists every tensor that is missing, has another shape, or is not of this network.
    pub fn into_parameters(mut self, graph: &Graph) -> Result<Parameters, NetworkError> {
        let known: IndexMap<&str, &str> = graph.state_dict_names().collect();
        let mut names: IndexMap<&str, Vec<&str>> = IndexMap::new();
        for (key, canonical) in &known {
            names.entry(*canonical).or_default().push(*key);
        }
        let mut mismatches = Vec::new();
        let mut found = Vec::new();
        for (own, shape) in graph.tensors() {
            // A file may lack the canonical name and have another one of the tensor.
            let others = names.get(own).into_iter().flatten().copied();
            let name = std::iter::once(own).chain(others).find_map(|name| self.keys.get(name));
            let tensor = name.and_then(|name| self.tensors.get(name));
            match (name, tensor) {
                (Some(name), Some(tensor)) if tensor.shape == shape => found.push(name.clone()),
                _ => mismatches.push(mismatch(own, tensor, Some(shape))),
            }
        }
        for (key, name) in self.keys.iter().filter(|(key, _)| !known.contains_key(key.as_str())) {
            mismatches.push(mismatch(key, self.tensors.get(name), None));
        }
        if !mismatches.is_empty() {
            return Err(NetworkError::Weights(mismatches));
        }
        let mut parameters = Parameters::zeros(graph);
        for ((own, shape), name) in graph.tensors().zip(found) {
            let data = self.tensors.get_mut(&name).map(|tensor| std::mem::take(&mut tensor.data));
            parameters.set(own, shape, &data.unwrap_or_default())?;
        }
        Ok(parameters)
    }

    /// The tensor of a name, canonical or alias.
    pub fn get(&self, name: &str) -> Option<&StateTensor> {
        self.tensors.get(self.keys.get(name)?)
    }

    /// Adds a tensor under its canonical name, or replaces it.
    pub fn insert(&mut self, name: &str, tensor: StateTensor) {
        self.keys.insert(name.to_owned(), name.to_owned());
        self.tensors.insert(name.to_owned(), tensor);
    }

    /// Names `name`, which must be there, a second time. False if it is not there.
    pub fn insert_alias(&mut self, alias: &str, name: &str) -> bool {
        let Some(canonical) = self.keys.get(name).cloned() else { return false };
        self.keys.insert(alias.to_owned(), canonical);
        true
    }

    /// Each tensor once, by canonical name.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = (&str, &StateTensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// Every key with its canonical name, in PyTorch's order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.keys.iter().map(|(key, name)| (key.as_str(), name.as_str()))
    }

    /// Number of tensors, aliases not counted.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there is no tensor.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// Puts together what a file has: keys in order, each with the number of its tensor; several keys may have the
    /// same. Tensors that are equal and whose names mean the same become one.
    pub(super) fn from_file(keys: Vec<(String, usize)>, tensors: Vec<StateTensor>) -> Self {
        let mut names: Vec<Option<&str>> = vec![None; tensors.len()];
        for (key, tensor) in &keys {
            let own = canonical_name(key) == *key;
            let better = names[*tensor].is_none_or(|name| own && canonical_name(name) != name);
            if better {
                names[*tensor] = Some(key);
            }
        }
        let by_name: IndexMap<&str, usize> =
            names.iter().enumerate().filter_map(|(i, name)| Some(((*name)?, i))).collect();
        // Files without shared storages hold copies under the aliases.
        let original = |i: usize| {
            let name = names[i]?;
            let other = *by_name.get(canonical_name(name).as_str())?;
            (other != i && tensors[other] == tensors[i]).then_some(other)
        };
        let originals: Vec<usize> = (0..tensors.len()).map(|i| original(i).unwrap_or(i)).collect();
        let name_of = |i: usize| names[originals[i]].unwrap_or_default().to_owned();
        let keys = keys.iter().map(|(key, tensor)| (key.clone(), name_of(*tensor))).collect();
        let owned: Vec<Option<String>> = names.iter().map(|name| name.map(str::to_owned)).collect();
        let tensors = owned.into_iter().zip(tensors).zip(&originals).enumerate();
        let kept = tensors.filter(|(i, (_, original))| i == *original);
        Self { tensors: kept.filter_map(|(_, ((name, tensor), _))| Some((name?, tensor))).collect(), keys }
    }
}

/// What the file and the network have of a tensor.
pub(crate) fn mismatch(
    name: &str,
    tensor: Option<&StateTensor>,
    expected: Option<&[usize]>,
) -> TensorMismatch {
    TensorMismatch {
        name: name.to_owned(),
        in_checkpoint: tensor.map(|tensor| tensor.shape.clone()),
        in_network: expected.map(<[usize]>::to_vec),
    }
}

/// The name under which nnU-Net's networks name a tensor first.
fn canonical_name(key: &str) -> String {
    let key = key.strip_prefix("decoder.").filter(|rest| rest.starts_with("encoder.")).unwrap_or(key);
    let Some((before, after)) = key.split_once(".all_modules.") else { return key.to_owned() };
    match after.split_once('.') {
        Some(("0", rest)) => format!("{before}.conv.{rest}"),
        // A dropout may stand between convolution and norm.
        // An activation too, where it comes first.
        Some(("1" | "2" | "3", rest)) => format!("{before}.norm.{rest}"),
        _ => key.to_owned(),
    }
}

/// Takes away what wrappers put in front of every name.
pub(super) fn without_wrappers(mut key: &str) -> &str {
    while let Some(rest) = key.strip_prefix("_orig_mod.").or_else(|| key.strip_prefix("module.")) {
        key = rest;
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(value: f32) -> StateTensor {
        StateTensor { shape: vec![1], data: vec![value] }
    }

    #[test]
    fn names_of_one_tensor() {
        for (key, canonical) in [
            ("encoder.stages.0.0.convs.0.all_modules.0.weight", "encoder.stages.0.0.convs.0.conv.weight"),
            ("decoder.encoder.stages.0.0.convs.0.all_modules.1.bias", "encoder.stages.0.0.convs.0.norm.bias"),
            ("decoder.stages.0.convs.0.all_modules.2.bias", "decoder.stages.0.convs.0.norm.bias"),
            ("decoder.seg_layers.0.weight", "decoder.seg_layers.0.weight"),
        ] {
            assert_eq!(canonical_name(key), canonical);
        }
        assert_eq!(without_wrappers("module._orig_mod.encoder.x"), "encoder.x");
    }

    #[test]
    fn shared_tensors_take_the_canonical_name() {
        let keys = [
            ("decoder.encoder.a.conv.weight", 0),
            ("encoder.a.all_modules.0.weight", 0),
            ("encoder.a.conv.weight", 0),
        ];
        let keys = keys.map(|(k, i)| (k.to_owned(), i)).to_vec();
        let dict = StateDict::from_file(keys, vec![tensor(1.0)]);
        assert_eq!(dict.tensors().map(|(name, _)| name).collect::<Vec<_>>(), ["encoder.a.conv.weight"]);
        assert_eq!(dict.keys().len(), 3);
        assert_eq!(dict.get("encoder.a.all_modules.0.weight"), Some(&tensor(1.0)));
    }

    #[test]
    fn copies_become_aliases_only_if_equal() {
        let keys = |names: [&str; 2]| {
            names.into_iter().enumerate().map(|(i, k)| (k.to_owned(), i)).collect::<Vec<_>>()
        };
        let names = ["encoder.a.conv.weight", "encoder.a.all_modules.0.weight"];
        assert_eq!(StateDict::from_file(keys(names), vec![tensor(1.0), tensor(1.0)]).len(), 1);
        assert_eq!(StateDict::from_file(keys(names), vec![tensor(1.0), tensor(2.0)]).len(), 2);
    }
}
