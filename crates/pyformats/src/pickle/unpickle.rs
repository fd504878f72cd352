//! A reader of Python pickles, protocols 0 to 5, that never runs anything.
//!
//! It is the stack machine of the format without calls: where Python would call a function, a few known
//! constructors of data (numpy, torch, collections) are understood, and every other is kept as an opaque
//! [`Object`](super::Object). Limits bound the input, the number of values and their depth.

use std::cell::Cell;
use std::collections::HashMap;

use super::error::PickleError;
use super::node::{Id, Node, ObjectNode, to_value};
use super::opcode as op;
use super::text;
use super::value::{Global, Value};

/// Bounds on what is read.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Largest input in bytes.
    pub max_bytes: usize,
    /// Most values that are made, also after shared containers are copied out.
    pub max_values: usize,
    /// Deepest nesting of containers.
    pub max_depth: usize,
}

impl Default for Limits {
    /// Far beyond any file of nnU-Net: 8 GiB, a million values, 200 levels.
    fn default() -> Self {
        Self { max_bytes: 8 << 30, max_values: 1_000_000, max_depth: 200 }
    }
}

/// Reads the first pickle of `input`.
pub fn unpickle(input: &[u8]) -> Result<Value, PickleError> {
    unpickle_prefix(input, &Limits::default()).map(|(value, _)| value)
}

/// Reads the first pickle of `input` within `limits`; also says how many bytes it took.
pub fn unpickle_prefix(input: &[u8], limits: &Limits) -> Result<(Value, usize), PickleError> {
    unpickle_with(input, limits, &HashMap::new())
}

/// As [`unpickle_prefix`], for a pickle that refers to values outside of it by a name or number.
pub fn unpickle_with(
    input: &[u8],
    limits: &Limits,
    outside: &HashMap<String, Value>,
) -> Result<(Value, usize), PickleError> {
    if input.len() > limits.max_bytes {
        return Err(PickleError::TooLarge { what: "bytes", limit: limits.max_bytes });
    }
    let mut machine = Machine {
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
    };
    let root = machine.run()?;
    Ok((to_value(&machine.nodes, root, limits, input.len())?, machine.at))
}

pub(super) struct Machine<'a> {
    input: &'a [u8],
    at: usize,
    /// Offset of the instruction being carried out, for messages.
    instruction: usize,
    nodes: Vec<Node>,
    stack: Vec<Id>,
    /// Stack heights at the open marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    limits: &'a Limits,
    /// What persistent references by a name or number mean.
    pub(super) outside: &'a HashMap<String, Value>,
    /// Bytes that may still be copied from one value to another.
    copy_budget: Cell<usize>,
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
    fn run(&mut self) -> Result<Id, PickleError> {
        loop {
            self.instruction = self.at;
            let opcode = self.byte()?;
            if opcode == op::STOP {
                return self.pop();
            }
            if !self.literal(opcode)? && !self.container(opcode)? && !self.other(opcode)? {
                return Err(PickleError::UnknownOpcode { opcode, offset: self.instruction });
            }
        }
    }

    /// Instructions that push a value they carry themselves.
    fn literal(&mut self, opcode: u8) -> Result<bool, PickleError> {
        let value = match opcode {
            op::NONE => Value::None,
            op::NEWTRUE => Value::Bool(true),
            op::NEWFALSE => Value::Bool(false),
            op::BININT => Value::Int(i32::from_le_bytes(self.array()?).into()),
            op::BININT1 => Value::Int(self.byte()?.into()),
            op::BININT2 => Value::Int(u16::from_le_bytes(self.array()?).into()),
            op::LONG1 => {
                let len = self.byte()?.into();
                text::long(self.take(len)?)
            }
            op::LONG4 => {
                let len = self.length4()?;
                text::long(self.take(len)?)
            }
            op::INT | op::LONG => {
                let line = self.line()?;
                text::decimal(line).ok_or_else(|| self.malformed(text::shown(line), "an integer"))?
            }
            op::BINFLOAT => Value::Float(f64::from_be_bytes(self.array()?)),
            op::FLOAT => {
                let line = self.line()?;
                let parsed = std::str::from_utf8(line).ok().and_then(|s| s.trim().parse().ok());
                Value::Float(parsed.ok_or_else(|| self.malformed(text::shown(line), "a number"))?)
            }
            op::SHORT_BINUNICODE => {
                let len = self.byte()?.into();
                self.unicode(len)?
            }
            op::BINUNICODE => {
                let len = self.length4()?;
                self.unicode(len)?
            }
            op::BINUNICODE8 => {
                let len = self.length8()?;
                self.unicode(len)?
            }
            op::UNICODE => {
                let line = self.line()?;
                Value::Str(
                    text::raw_unicode_escape(line)
                        .ok_or_else(|| self.malformed(text::shown(line), "text"))?,
                )
            }
            op::SHORT_BINBYTES => {
                let len = self.byte()?.into();
                Value::Bytes(self.take(len)?.to_vec())
            }
            op::BINBYTES => {
                let len = self.length4()?;
                Value::Bytes(self.take(len)?.to_vec())
            }
            op::BINBYTES8 | op::BYTEARRAY8 => {
                let len = self.length8()?;
                Value::Bytes(self.take(len)?.to_vec())
            }
            op::SHORT_BINSTRING => {
                let len = self.byte()?.into();
                text::python2_string(self.take(len)?.to_vec())
            }
            op::BINSTRING => {
                let len = self.length4()?;
                text::python2_string(self.take(len)?.to_vec())
            }
            op::STRING => {
                let line = self.line()?;
                let bytes =
                    text::quoted(line).ok_or_else(|| self.malformed(text::shown(line), "quoted text"))?;
                text::python2_string(bytes)
            }
            _ => return Ok(false),
        };
        self.push(Node::Leaf(value))?;
        Ok(true)
    }

    /// Instructions that make or fill containers.
    fn container(&mut self, opcode: u8) -> Result<bool, PickleError> {
        match opcode {
            op::MARK => {
                self.check_count(self.marks.len())?;
                self.marks.push(self.stack.len());
            }
            op::EMPTY_LIST => self.push(Node::List(Vec::new()))?,
            op::EMPTY_TUPLE => self.push(Node::Tuple(Vec::new()))?,
            op::EMPTY_DICT => self.push(Node::Dict(Vec::new()))?,
            op::EMPTY_SET => self.push(Node::Set(Vec::new()))?,
            op::LIST => {
                let items = self.pop_mark()?;
                self.push(Node::List(items))?;
            }
            op::TUPLE => {
                let items = self.pop_mark()?;
                self.push(Node::Tuple(items))?;
            }
            op::FROZENSET => {
                let items = self.pop_mark()?;
                self.push(Node::Set(items))?;
            }
            op::TUPLE1 | op::TUPLE2 | op::TUPLE3 => {
                let count = (opcode - op::TUPLE1) as usize + 1;
                let start = self.stack.len().checked_sub(count).filter(|&s| s >= self.floor());
                let start = start.ok_or_else(|| self.underflow())?;
                let items = self.stack.split_off(start);
                self.push(Node::Tuple(items))?;
            }
            op::DICT => {
                let items = self.pop_mark()?;
                let entries = self.pairs(items)?;
                self.push(Node::Dict(entries))?;
            }
            op::APPEND => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            op::APPENDS | op::ADDITEMS => {
                let items = self.pop_mark()?;
                self.append(items)?;
            }
            op::SETITEM => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set_items(vec![(key, value)])?;
            }
            op::SETITEMS => {
                let items = self.pop_mark()?;
                let entries = self.pairs(items)?;
                self.set_items(entries)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Stack and memo instructions, names and calls.
    fn other(&mut self, opcode: u8) -> Result<bool, PickleError> {
        match opcode {
            op::PROTO => {
                let version = self.byte()?;
                if version > 5 {
                    return Err(self.unsupported("a protocol newer than 5"));
                }
            }
            op::FRAME => {
                self.length8()?;
            }
            op::POP => {
                // A mark on top counts as one item.
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            op::POP_MARK => {
                self.pop_mark()?;
            }
            op::DUP => self.stack.push(self.top()?),
            op::PUT => {
                let line = self.line()?;
                let key =
                    text::memo_key(line).ok_or_else(|| self.malformed(text::shown(line), "a memo number"))?;
                self.memoize(key)?;
            }
            op::BINPUT => {
                let key = self.byte()?.into();
                self.memoize(key)?;
            }
            op::LONG_BINPUT => {
                let key = u32::from_le_bytes(self.array()?);
                self.memoize(key)?;
            }
            op::MEMOIZE => self.memoize(self.memo.len() as u32)?,
            op::GET => {
                let line = self.line()?;
                let key =
                    text::memo_key(line).ok_or_else(|| self.malformed(text::shown(line), "a memo number"))?;
                self.recall(key)?;
            }
            op::BINGET => {
                let key = self.byte()?.into();
                self.recall(key)?;
            }
            op::LONG_BINGET => {
                let key = u32::from_le_bytes(self.array()?);
                self.recall(key)?;
            }
            op::GLOBAL => {
                let global = self.global_lines()?;
                self.push(Node::Leaf(Value::Global(global)))?;
            }
            op::STACK_GLOBAL => {
                let (name, module) = (self.pop()?, self.pop()?);
                let global = Global { module: self.name(module)?, name: self.name(name)? };
                self.push(Node::Leaf(Value::Global(global)))?;
            }
            op::REDUCE | op::NEWOBJ => {
                let (args, callable) = (self.pop()?, self.pop()?);
                let args = self.tuple(args)?;
                self.call(callable, args, Vec::new())?;
            }
            op::NEWOBJ_EX => {
                let (kwargs, args, class) = (self.pop()?, self.pop()?, self.pop()?);
                let args = self.tuple(args)?;
                let Node::Dict(kwargs) = self.node(kwargs) else {
                    return Err(self.malformed("another value", "the keyword arguments of a class"));
                };
                self.charge(size_of_val(kwargs.as_slice()))?;
                let kwargs = kwargs.clone();
                self.call(class, args, kwargs)?;
            }
            op::INST => {
                let global = self.global_lines()?;
                let args = self.pop_mark()?;
                let callable = self.add(Node::Leaf(Value::Global(global)))?;
                self.call(callable, args, Vec::new())?;
            }
            op::OBJ => {
                let mut args = self.pop_mark()?;
                if args.is_empty() {
                    return Err(self.underflow());
                }
                let class = args.remove(0);
                self.call(class, args, Vec::new())?;
            }
            op::BUILD => {
                let state = self.pop()?;
                let target = self.top()?;
                self.build(target, state)?;
            }
            op::BINPERSID => {
                let id = self.pop()?;
                self.persistent(id)?;
            }
            op::PERSID => return Err(self.unsupported("persistent references in text form")),
            op::EXT1 | op::EXT2 | op::EXT4 => return Err(self.unsupported("the extension registry")),
            op::NEXT_BUFFER | op::READONLY_BUFFER => return Err(self.unsupported("buffers outside the file")),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn append(&mut self, items: Vec<Id>) -> Result<(), PickleError> {
        let target = self.top()?;
        match &mut self.nodes[target as usize] {
            Node::List(list) | Node::Set(list) => list.extend(items),
            Node::Object(object) => object.items.extend(items),
            _ => return Err(self.malformed("another value", "a list to append to")),
        }
        Ok(())
    }

    fn set_items(&mut self, entries: Vec<(Id, Id)>) -> Result<(), PickleError> {
        let target = self.top()?;
        match &mut self.nodes[target as usize] {
            Node::Dict(dict) => dict.extend(entries),
            Node::Object(object) => object.entries.extend(entries),
            _ => return Err(self.malformed("another value", "a dict to fill")),
        }
        Ok(())
    }

    fn pairs(&self, items: Vec<Id>) -> Result<Vec<(Id, Id)>, PickleError> {
        if !items.len().is_multiple_of(2) {
            return Err(self.malformed(format!("{} items", items.len()), "pairs of key and value"));
        }
        Ok(items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
    }

    // What the constructors need.

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

    fn add(&mut self, node: Node) -> Result<Id, PickleError> {
        self.check_count(self.nodes.len())?;
        self.nodes.push(node);
        Ok((self.nodes.len() - 1) as Id)
    }

    /// Refuses more nodes, marks or memo entries than honest files have.
    fn check_count(&self, count: usize) -> Result<(), PickleError> {
        if count >= self.limits.max_values.min(Id::MAX as usize) {
            return Err(PickleError::TooLarge { what: "values", limit: self.limits.max_values });
        }
        Ok(())
    }

    fn unsupported(&self, feature: &'static str) -> PickleError {
        PickleError::Unsupported { offset: self.instruction, feature }
    }

    fn underflow(&self) -> PickleError {
        self.malformed("an empty stack", "a value")
    }

    /// Stack height below which the current mark forbids to pop.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Id, PickleError> {
        if self.stack.len() <= self.floor() {
            return Err(self.underflow());
        }
        self.stack.last().copied().ok_or_else(|| self.underflow())
    }

    fn pop(&mut self) -> Result<Id, PickleError> {
        let id = self.top()?;
        self.stack.pop();
        Ok(id)
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>, PickleError> {
        let start = self.marks.pop().ok_or_else(|| self.malformed("no mark", "a mark"))?;
        Ok(self.stack.split_off(start))
    }

    fn memoize(&mut self, key: u32) -> Result<(), PickleError> {
        let id = self.top()?;
        self.check_count(self.memo.len())?;
        self.memo.insert(key, id);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<(), PickleError> {
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

    fn name(&self, id: Id) -> Result<String, PickleError> {
        match self.leaf(id) {
            Some(Value::Str(s)) if s.len() <= MAX_NAME => Ok(s.clone()),
            _ => Err(self.malformed("another value", "a name")),
        }
    }

    fn tuple(&self, id: Id) -> Result<Vec<Id>, PickleError> {
        match self.node(id) {
            Node::Tuple(items) => {
                self.charge(size_of_val(items.as_slice()))?;
                Ok(items.clone())
            }
            _ => Err(self.malformed("another value", "a tuple of arguments")),
        }
    }

    fn global_lines(&mut self) -> Result<Global, PickleError> {
        let mut name = || {
            let line = self.line()?;
            let name = std::str::from_utf8(line).ok().filter(|n| n.len() <= MAX_NAME);
            name.map(str::to_owned).ok_or_else(|| self.malformed(text::shown(line), "a name"))
        };
        Ok(Global { module: name()?, name: name()? })
    }

    fn byte(&mut self) -> Result<u8, PickleError> {
        Ok(self.array::<1>()?[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn length4(&mut self) -> Result<usize, PickleError> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    fn length8(&mut self) -> Result<usize, PickleError> {
        let length = u64::from_le_bytes(self.array()?);
        usize::try_from(length).map_err(|_| self.truncated())
    }

    /// The next `len` bytes, which must be there.
    fn take(&mut self, len: usize) -> Result<&'a [u8], PickleError> {
        let end = self.at.checked_add(len).filter(|&e| e <= self.input.len());
        let end = end.ok_or_else(|| self.truncated())?;
        let bytes = &self.input[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    /// The bytes up to the end of the line, which is skipped.
    fn line(&mut self) -> Result<&'a [u8], PickleError> {
        let rest = &self.input[self.at..];
        let len = rest.iter().position(|&b| b == b'\n').ok_or_else(|| self.truncated())?;
        self.at += len + 1;
        Ok(&rest[..len])
    }

    fn unicode(&mut self, len: usize) -> Result<Value, PickleError> {
        let bytes = self.take(len)?;
        let text =
            std::str::from_utf8(bytes).map_err(|_| self.malformed(text::shown(bytes), "UTF-8 text"))?;
        Ok(Value::Str(text.to_owned()))
    }

    fn truncated(&self) -> PickleError {
        PickleError::Truncated { len: self.input.len() }
    }
}
