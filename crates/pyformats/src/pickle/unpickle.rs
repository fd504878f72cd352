//! A reader of Python pickles, protocols 0 to 5, that never runs anything.
//!
//! It is the stack machine of the format without calls: where Python would call a function, a few known
//! constructors of data (numpy, torch, collections) are understood, and every other is kept as an opaque
//! [`Object`](super::Object). Limits bound the input, the number of values and their depth.

use std::collections::HashMap;

use super::error::PickleError;
use super::machine::Machine;
use super::node::{Id, Node, to_value};
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
    let mut machine = Machine::new(input, limits, outside);
    let root = machine.run()?;
    Ok((to_value(&machine.nodes, root, limits, input.len())?, machine.at))
}

impl Machine<'_> {
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
}
