//! The state of the machine that reads pickles: its input, its stack, its memo, and what they may grow to.

use std::cell::Cell;
use std::collections::HashMap;

use super::error::PickleError;
use super::node::{Id, Node, ObjectNode};
use super::text;
use super::unpickle::Limits;
use super::value::{Global, Value};

/// What has been read so far of a pickle.
pub(super) struct Machine<'a> {
    pub(super) input: &'a [u8],
    pub(super) at: usize,
    /// Offset of the instruction being carried out, for messages.
    pub(super) instruction: usize,
    pub(super) nodes: Vec<Node>,
    pub(super) stack: Vec<Id>,
    /// Stack heights at the open marks.
    pub(super) marks: Vec<usize>,
    pub(super) memo: HashMap<u32, Id>,
    pub(super) limits: &'a Limits,
    /// What persistent references by a name or number mean.
    pub(super) outside: &'a HashMap<String, Value>,
    /// Bytes that may still be copied from one value to another.
    pub(super) copy_budget: Cell<usize>,
}

/// Most bytes that are copied within the pickle, so that repeated references to one large value cannot
/// fill the memory.
pub(super) fn copy_limit(input_len: usize) -> usize {
    input_len.saturating_mul(4).saturating_add(64 << 20)
}

/// Longest name of a class, function, or storage.
const MAX_NAME: usize = 1024;

/// Most axes of an array or tensor.
const MAX_AXES: usize = 64;

impl<'a> Machine<'a> {
    pub(super) fn new(input: &'a [u8], limits: &'a Limits, outside: &'a HashMap<String, Value>) -> Self {
        Self {
            input,
            at: 0,
            instruction: 0,
            nodes: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            limits,
            outside,
            copy_budget: Cell::new(copy_limit(input.len())),
        }
    }

    pub(super) fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    pub(super) fn node_mut(&mut self, id: Id) -> &mut Node {
        &mut self.nodes[id as usize]
    }

    pub(super) fn leaf(&self, id: Id) -> Option<&Value> {
        match self.node(id) {
            Node::Leaf(value) => Some(value),
            _ => None,
        }
    }

    /// Items of a tuple or list.
    pub(super) fn sequence(&self, id: Id) -> Option<&[Id]> {
        match self.node(id) {
            Node::Tuple(items) | Node::List(items) => Some(items),
            _ => None,
        }
    }

    /// A tuple or list of non-negative integers.
    pub(super) fn sizes(&self, id: Id) -> Option<Vec<usize>> {
        self.sequence(id).filter(|s| s.len() <= MAX_AXES)?.iter().map(|&i| self.leaf(i)?.as_usize()).collect()
    }

    pub(super) fn push(&mut self, node: Node) -> Result<(), PickleError> {
        let id = self.add(node)?;
        self.stack.push(id);
        Ok(())
    }

    pub(super) fn push_object(&mut self, object: ObjectNode) -> Result<(), PickleError> {
        self.push(Node::Object(Box::new(object)))
    }

    pub(super) fn push_id(&mut self, id: Id) {
        self.stack.push(id);
    }

    pub(super) fn malformed(&self, found: impl Into<String>, expected: &'static str) -> PickleError {
        PickleError::Malformed { offset: self.instruction, found: found.into(), expected }
    }

    pub(super) fn add(&mut self, node: Node) -> Result<Id, PickleError> {
        self.check_count(self.nodes.len())?;
        self.nodes.push(node);
        Ok((self.nodes.len() - 1) as Id)
    }

    /// Refuses more nodes, marks or memo entries than honest files have.
    pub(super) fn check_count(&self, count: usize) -> Result<(), PickleError> {
        if count >= self.limits.max_values.min(Id::MAX as usize) {
            return Err(PickleError::TooLarge { what: "values", limit: self.limits.max_values });
        }
        Ok(())
    }

    pub(super) fn unsupported(&self, feature: &'static str) -> PickleError {
        PickleError::Unsupported { offset: self.instruction, feature }
    }

    pub(super) fn underflow(&self) -> PickleError {
        self.malformed("an empty stack", "a value")
    }

    /// Stack height below which the current mark forbids to pop.
    pub(super) fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    pub(super) fn top(&self) -> Result<Id, PickleError> {
        if self.stack.len() <= self.floor() {
            return Err(self.underflow());
        }
        self.stack.last().copied().ok_or_else(|| self.underflow())
    }

    pub(super) fn pop(&mut self) -> Result<Id, PickleError> {
        let id = self.top()?;
        self.stack.pop();
        Ok(id)
    }

    pub(super) fn pop_mark(&mut self) -> Result<Vec<Id>, PickleError> {
        let start = self.marks.pop().ok_or_else(|| self.malformed("no mark", "a mark"))?;
        Ok(self.stack.split_off(start))
    }

    pub(super) fn memoize(&mut self, key: u32) -> Result<(), PickleError> {
        let id = self.top()?;
        self.check_count(self.memo.len())?;
        self.memo.insert(key, id);
        Ok(())
    }

    pub(super) fn recall(&mut self, key: u32) -> Result<(), PickleError> {
        let id = self.memo.get(&key).copied();
        let id = id.ok_or_else(|| self.malformed(format!("memo number {key}"), "a number given before"))?;
        self.stack.push(id);
        Ok(())
    }

    /// Pays for a copy of `bytes` bytes.
    pub(super) fn charge(&self, bytes: usize) -> Result<(), PickleError> {
        let left = self.copy_budget.get().checked_sub(bytes);
        let limit = copy_limit(self.input.len());
        self.copy_budget.set(left.ok_or(PickleError::TooLarge { what: "bytes of repeated values", limit })?);
        Ok(())
    }

    pub(super) fn name(&self, id: Id) -> Result<String, PickleError> {
        match self.leaf(id) {
            Some(Value::Str(s)) if s.len() <= MAX_NAME => Ok(s.clone()),
            _ => Err(self.malformed("another value", "a name")),
        }
    }

    pub(super) fn tuple(&self, id: Id) -> Result<Vec<Id>, PickleError> {
        match self.node(id) {
            Node::Tuple(items) => {
                self.charge(size_of_val(items.as_slice()))?;
                Ok(items.clone())
            }
            _ => Err(self.malformed("another value", "a tuple of arguments")),
        }
    }

    pub(super) fn global_lines(&mut self) -> Result<Global, PickleError> {
        let mut name = || {
            let line = self.line()?;
            let name = std::str::from_utf8(line).ok().filter(|n| n.len() <= MAX_NAME);
            name.map(str::to_owned).ok_or_else(|| self.malformed(text::shown(line), "a name"))
        };
        Ok(Global { module: name()?, name: name()? })
    }

    pub(super) fn byte(&mut self) -> Result<u8, PickleError> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn length4(&mut self) -> Result<usize, PickleError> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    pub(super) fn length8(&mut self) -> Result<usize, PickleError> {
        let length = u64::from_le_bytes(self.array()?);
        usize::try_from(length).map_err(|_| self.truncated())
    }

    /// The next `len` bytes, which must be there.
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], PickleError> {
        let end = self.at.checked_add(len).filter(|&e| e <= self.input.len());
        let end = end.ok_or_else(|| self.truncated())?;
        let bytes = &self.input[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    /// The bytes up to the end of the line, which is skipped.
    pub(super) fn line(&mut self) -> Result<&'a [u8], PickleError> {
        let rest = &self.input[self.at..];
        let len = rest.iter().position(|&b| b == b'\n').ok_or_else(|| self.truncated())?;
        self.at += len + 1;
        Ok(&rest[..len])
    }

    pub(super) fn unicode(&mut self, len: usize) -> Result<Value, PickleError> {
        let bytes = self.take(len)?;
        let text =
            std::str::from_utf8(bytes).map_err(|_| self.malformed(text::shown(bytes), "UTF-8 text"))?;
        Ok(Value::Str(text.to_owned()))
    }

    pub(super) fn truncated(&self) -> PickleError {
        PickleError::Truncated { len: self.input.len() }
    }
}
