//! The named parameters of a network with their gradients, in PyTorch's order.

use indexmap::IndexMap;

use crate::error::NetworkError;
use crate::graph::{BufferId, Graph, ParameterId};

/// One parameter: value and, after a backward pass, gradient.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// PyTorch's shape.
    shape: Vec<usize>,
    /// Elements in C order.
    value: Vec<f32>,
    /// Empty until a gradient is first asked for.
    gradient: Vec<f32>,
    /// Whether the last backward pass reached this parameter.
    has_gradient: bool,
}

impl Parameter {
    /// A parameter without a gradient. `value.len()` must be the product of `shape`.
    fn new(shape: Vec<usize>, value: Vec<f32>) -> Self {
        Self { shape, value, gradient: Vec::new(), has_gradient: false }
    }

    /// PyTorch's shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Elements in C order.
    pub fn value(&self) -> &[f32] {
        &self.value
    }

    /// Elements in C order.
    pub fn value_mut(&mut self) -> &mut [f32] {
        &mut self.value
    }

    /// The gradient of the last backward pass; `None` where that pass did not reach this parameter
    /// (a head whose loss weight is zero). Optimisers leave such a parameter alone, as PyTorch's do.
    pub fn gradient(&self) -> Option<&[f32]> {
        self.has_gradient.then_some(&self.gradient)
    }

    /// The gradient to be overwritten; counts as present from now on.
    pub fn gradient_mut(&mut self) -> &mut [f32] {
        self.gradient.resize(self.value.len(), 0.0);
        self.has_gradient = true;
        &mut self.gradient
    }

    /// The gradient counts as absent from now on; its memory is kept.
    pub fn clear_gradient(&mut self) {
        self.has_gradient = false;
    }

    /// Value and gradient at once; `None` where there is no gradient.
    pub fn value_and_gradient(&mut self) -> Option<(&mut [f32], &mut [f32])> {
        self.has_gradient.then_some((&mut self.value, &mut self.gradient))
    }
}

/// A tensor that belongs to the weights but is not learned along gradients: a running statistic.
#[derive(Debug, Clone, PartialEq)]
pub struct Buffer {
    /// PyTorch's shape.
    shape: Vec<usize>,
    /// Elements in C order.
    value: Vec<f32>,
}

impl Buffer {
    /// PyTorch's shape; empty for a single number.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Elements in C order.
    pub fn value(&self) -> &[f32] {
        &self.value
    }
}

/// All parameters of a network by name, in the order of PyTorch's `network.parameters()`, and its buffers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Parameters {
    entries: IndexMap<String, Parameter>,
    buffers: IndexMap<String, Buffer>,
}

impl Parameters {
    /// Parameters of `graph` with `fill(index, ..)` as values, where the index is that of
    /// [`Graph::parameters`]. Buffers have their initial values.
    pub fn from_fn(graph: &Graph, mut fill: impl FnMut(ParameterId, &mut [f32])) -> Self {
        let entries = graph.parameters().iter().enumerate().map(|(i, spec)| {
            let mut value = vec![0.0; spec.shape.iter().product()];
            fill(ParameterId(i), &mut value);
            (spec.name.clone(), Parameter::new(spec.shape.clone(), value))
        });
        let buffers = graph.buffers().iter().map(|spec| {
            let value = vec![spec.initial; spec.shape.iter().product()];
            (spec.name.clone(), Buffer { shape: spec.shape.clone(), value })
        });
        Self { entries: entries.collect(), buffers: buffers.collect() }
    }

    /// A copy of the values alone.
    pub fn without_gradients(&self) -> Self {
        let entry = |(name, parameter): (&String, &Parameter)| {
            (name.clone(), Parameter::new(parameter.shape.clone(), parameter.value.clone()))
        };
        Self { entries: self.entries.iter().map(entry).collect(), buffers: self.buffers.clone() }
    }

    /// (name, shape, elements) of every parameter, then of every buffer, without a copy.
    pub fn into_tensors(self) -> impl Iterator<Item = (String, Vec<usize>, Vec<f32>)> {
        let learned = self.entries.into_iter().map(|(name, p)| (name, p.shape, p.value));
        learned.chain(self.buffers.into_iter().map(|(name, b)| (name, b.shape, b.value)))
    }

    /// Zeros in the shapes of `graph`, to be overwritten from a checkpoint.
    pub fn zeros(graph: &Graph) -> Self {
        Self::from_fn(graph, |_, _| {})
    }

    /// Adds a parameter at the end. An error names a wrong number of elements or a second use of a name.
    pub fn insert(&mut self, name: &str, shape: Vec<usize>, value: Vec<f32>) -> Result<(), NetworkError> {
        let expected = shape.iter().try_fold(1usize, |p, &s| p.checked_mul(s));
        if expected != Some(value.len()) {
            return Err(NetworkError::Parameter {
                name: name.into(),
                found: format!("{} elements", value.len()),
                expected: format!("shape {shape:?}"),
            });
        }
        if self.entries.insert(name.to_owned(), Parameter::new(shape, value)).is_some() {
            return Err(NetworkError::Parameter {
                name: name.into(),
                found: "given twice".into(),
                expected: "one tensor for each name".into(),
            });
        }
        Ok(())
    }

    /// Overwrites the value of the parameter or buffer `name`. An error names an unknown name or another shape.
    pub fn set(&mut self, name: &str, shape: &[usize], value: &[f32]) -> Result<(), NetworkError> {
        let (own_shape, own) = match (self.entries.get_mut(name), self.buffers.get_mut(name)) {
            (Some(Parameter { shape, value, .. }), _) | (None, Some(Buffer { shape, value })) => {
                (shape, value)
            }
            (None, None) => {
                return Err(NetworkError::Parameter {
                    name: name.into(),
                    found: "not a tensor of this network".into(),
                    expected: "one of its names".into(),
                });
            }
        };
        if own_shape != shape || own.len() != value.len() {
            return Err(NetworkError::Parameter {
                name: name.into(),
                found: format!("shape {shape:?}"),
                expected: format!("{own_shape:?}"),
            });
        }
        own.copy_from_slice(value);
        Ok(())
    }

    /// (name, buffer) in the graph's order.
    pub fn buffers(&self) -> impl ExactSizeIterator<Item = (&str, &Buffer)> {
        self.buffers.iter().map(|(n, b)| (n.as_str(), b))
    }

    /// Elements of the buffer `id`.
    pub fn buffer(&self, id: BufferId) -> &[f32] {
        &self.buffers[id.0].value
    }

    /// Elements of the buffer `id`.
    pub fn buffer_mut(&mut self, id: BufferId) -> &mut [f32] {
        &mut self.buffers[id.0].value
    }

    /// Elements of two buffers; both empty if they are one.
    pub fn two_buffers_mut(&mut self, a: BufferId, b: BufferId) -> (&mut [f32], &mut [f32]) {
        match self.buffers.get_disjoint_indices_mut([a.0, b.0]) {
            Ok([(_, a), (_, b)]) => (&mut a.value, &mut b.value),
            Err(_) => (&mut [], &mut []),
        }
    }

    /// The parameter `name`.
    pub fn get(&self, name: &str) -> Option<&Parameter> {
        self.entries.get(name)
    }

    /// The parameter `name`.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Parameter> {
        self.entries.get_mut(name)
    }

    /// The parameter with PyTorch's index `id`.
    pub fn by_id(&self, id: ParameterId) -> &Parameter {
        &self.entries[id.0]
    }

    /// The parameter with PyTorch's index `id`.
    pub fn by_id_mut(&mut self, id: ParameterId) -> &mut Parameter {
        &mut self.entries[id.0]
    }

    /// (name, parameter) in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Parameter)> {
        self.entries.iter().map(|(n, p)| (n.as_str(), p))
    }

    /// (name, parameter) in order.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = (&str, &mut Parameter)> {
        self.entries.iter_mut().map(|(n, p)| (n.as_str(), p))
    }

    /// Number of parameters (tensors).
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no parameter.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Number of elements of all parameters.
    pub fn total_count(&self) -> usize {
        self.entries.values().map(|p| p.value.len()).sum()
    }

    /// The memory for the gradient of parameter `id`, to be filled and given back with
    /// [`Parameters::put_gradient`]. Its content is undefined.
    pub fn take_gradient(&mut self, id: ParameterId) -> Vec<f32> {
        let parameter = &mut self.entries[id.0];
        let mut gradient = std::mem::take(&mut parameter.gradient);
        gradient.resize(parameter.value.len(), 0.0);
        gradient
    }

    /// Sets the gradient of parameter `id`, which counts as present from now on.
    pub fn put_gradient(&mut self, id: ParameterId, gradient: Vec<f32>) {
        let parameter = &mut self.entries[id.0];
        parameter.gradient = gradient;
        parameter.has_gradient = parameter.gradient.len() == parameter.value.len();
    }

    /// Every gradient counts as absent from now on.
    pub fn clear_gradients(&mut self) {
        self.entries.values_mut().for_each(Parameter::clear_gradient);
    }

    /// Errors unless names, order and shapes are those of `graph`.
    pub fn check(&self, graph: &Graph) -> Result<(), NetworkError> {
        for (i, spec) in graph.parameters().iter().enumerate() {
            let fault = |found: String, expected: String| NetworkError::Parameter {
                name: spec.name.clone(),
                found,
                expected,
            };
            match self.entries.get_index(i) {
                Some((name, p)) if *name == spec.name => {
                    if p.shape != spec.shape {
                        return Err(fault(format!("shape {:?}", p.shape), format!("{:?}", spec.shape)));
                    }
                }
                Some((name, _)) => {
                    return Err(fault(
                        format!("\"{name}\" at place {i}"),
                        "the network's order of parameters".into(),
                    ));
                }
                None => return Err(fault("missing".into(), format!("shape {:?}", spec.shape))),
            }
        }
        let buffers = graph.buffers().iter().map(|spec| (&spec.name, &spec.shape));
        if let Some((name, shape)) = buffers
            .zip(self.buffers.iter().map(Some).chain(std::iter::repeat(None)))
            .find(|(spec, own)| own.is_none_or(|(name, buffer)| (name, &buffer.shape) != *spec))
            .map(|(spec, _)| spec)
        {
            return Err(NetworkError::Parameter {
                name: name.clone(),
                found: "missing or of another shape".into(),
                expected: format!("a buffer of shape {shape:?}"),
            });
        }
        match self.entries.get_index(graph.parameters().len()) {
            Some((name, _)) => Err(NetworkError::Parameter {
                name: name.clone(),
                found: "present".into(),
                expected: "no such parameter in this network".into(),
            }),
            None => Ok(()),
        }
    }
}
