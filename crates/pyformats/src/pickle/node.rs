//! Values under construction: an arena of nodes, and its conversion to a tree of [`Value`].
//!
//! A pickle builds containers in place and may refer to one container many times, or from within itself.
//! Nodes are therefore numbered and only at the end turned into a tree, within limits on depth and size, so
//! that neither recursion nor repeated sharing can exhaust the machine.

use super::dict::Dict;
use super::error::PickleError;
use super::machine::copy_limit;
use super::numpy::Dtype;
use super::unpickle::Limits;
use super::value::{Global, Object, Value};

/// Index of a node.
pub(super) type Id = u32;

/// A value that may still change.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// A finished value without children.
    Leaf(Value),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Set(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Object(Box<ObjectNode>),
    /// A plain number type of numpy, with its byte order.
    Dtype {
        dtype: Dtype,
        big_endian: bool,
    },
    /// An array that waits for its state.
    PendingArray,
}

#[derive(Debug, Clone)]
pub(super) struct ObjectNode {
    pub(super) global: Global,
    pub(super) args: Vec<Id>,
    pub(super) kwargs: Vec<(Id, Id)>,
    pub(super) state: Option<Id>,
    pub(super) entries: Vec<(Id, Id)>,
    pub(super) items: Vec<Id>,
}

impl ObjectNode {
    pub(super) fn new(global: Global, args: Vec<Id>) -> Self {
        Self { global, args, kwargs: Vec::new(), state: None, entries: Vec::new(), items: Vec::new() }
    }
}

/// Turns the node `root` and all it holds into a tree.
pub(super) fn to_value(
    nodes: &[Node],
    root: Id,
    limits: &Limits,
    input_len: usize,
) -> Result<Value, PickleError> {
    let byte_limit = copy_limit(input_len);
    let mut tree = Tree { nodes, limits, values_left: limits.max_values, bytes_left: byte_limit, byte_limit };
    tree.value(root, 0)
}

struct Tree<'a> {
    nodes: &'a [Node],
    limits: &'a Limits,
    values_left: usize,
    bytes_left: usize,
    byte_limit: usize,
}

impl Tree<'_> {
    fn value(&mut self, id: Id, depth: usize) -> Result<Value, PickleError> {
        if depth > self.limits.max_depth {
            return Err(PickleError::TooDeep { limit: self.limits.max_depth });
        }
        self.values_left = self
            .values_left
            .checked_sub(1)
            .ok_or(PickleError::TooLarge { what: "values", limit: self.limits.max_values })?;
        Ok(match &self.nodes[id as usize] {
            Node::Leaf(value) => {
                self.charge(value.own_bytes())?;
                value.clone()
            }
            Node::List(ids) => Value::List(self.values(ids, depth)?),
            Node::Tuple(ids) => Value::Tuple(self.values(ids, depth)?),
            Node::Set(ids) => Value::Set(self.values(ids, depth)?),
            Node::Dict(entries) => Value::Dict(self.entries(entries, depth)?),
            Node::Object(object) => {
                self.charge(object.global.module.len() + object.global.name.len())?;
                Value::Object(Box::new(Object {
                    global: object.global.clone(),
                    args: self.values(&object.args, depth)?,
                    kwargs: self.entries(&object.kwargs, depth)?,
                    state: object.state.map(|s| self.value(s, depth + 1)).transpose()?,
                    entries: self.entries(&object.entries, depth)?,
                    items: self.values(&object.items, depth)?,
                }))
            }
            Node::Dtype { dtype, .. } => {
                Value::object("numpy", "dtype", vec![dtype.numpy_code().unwrap_or_default().into()])
            }
            Node::PendingArray => Value::object("numpy", "ndarray", Vec::new()),
        })
    }

    fn charge(&mut self, bytes: usize) -> Result<(), PickleError> {
        let left = self.bytes_left.checked_sub(bytes);
        let limit = self.byte_limit;
        self.bytes_left = left.ok_or(PickleError::TooLarge { what: "bytes of repeated values", limit })?;
        Ok(())
    }

    fn values(&mut self, ids: &[Id], depth: usize) -> Result<Vec<Value>, PickleError> {
        ids.iter().map(|&id| self.value(id, depth + 1)).collect()
    }

    fn entries(&mut self, entries: &[(Id, Id)], depth: usize) -> Result<Dict, PickleError> {
        entries.iter().map(|&(k, v)| Ok((self.value(k, depth + 1)?, self.value(v, depth + 1)?))).collect()
    }
}
