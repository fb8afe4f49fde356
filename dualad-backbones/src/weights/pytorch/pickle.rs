//! Python's pickle format, as far as PyTorch writes it. No code that a file names is executed: a call becomes a value.
//!
//! The values refer to each other by index, so that neither copying nor dropping them recurses, however deep they are nested.

use std::collections::HashMap;

/// The maximum number of instructions, and so of values: a checkpoint has some thousands.
const MAX_STEPS: usize = 1 << 22;
/// The largest length of a name of a module or class that is made of texts, in bytes.
const MAX_NAME: usize = 256;
/// The maximum size of a pickle: the names and shapes of tensors, not their data.
pub(super) const MAX_BYTES: usize = 64 << 20;

/// The index of a value.
pub(super) type Id = usize;

/// A value that a pickle builds.
#[derive(Debug)]
pub(super) enum Value {
    Integer(i64),
    Text(String),
    /// A class or a function by its name.
    Global {
        module: String,
        name: String,
    },
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// An object: a call that was not made, and the state that the object would get.
    Call {
        function: Id,
        arguments: Id,
        state: Option<Id>,
    },
    /// A reference to data outside of the pickle.
    Persistent(Id),
    /// A value that no tensor needs.
    Other,
}

/// The values of a pickle.
#[derive(Debug)]
pub(super) struct Values {
    values: Vec<Value>,
    /// The value that the pickle stands for.
    pub(super) root: Id,
}

impl Values {
    pub(super) fn get(&self, id: Id) -> &Value {
        self.values.get(id).unwrap_or(&Value::Other)
    }

    /// Returns the elements of a tuple or a list.
    pub(super) fn elements(&self, id: Id) -> &[Id] {
        match self.get(id) {
            Value::Tuple(elements) | Value::List(elements) => elements,
            _ => &[],
        }
    }

    pub(super) fn text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns an integer that is not negative.
    pub(super) fn size(&self, id: Id) -> Option<u64> {
        match self.get(id) {
            Value::Integer(value) => u64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// Returns a class's or a function's module and name.
    pub(super) fn global(&self, id: Id) -> Option<(&str, &str)> {
        match self.get(id) {
            Value::Global { module, name } => Some((module, name)),
            _ => None,
        }
    }

    /// Returns the references to data outside of the pickle.
    pub(super) fn persistent(&self) -> impl Iterator<Item = Id> + '_ {
        self.values.iter().filter_map(|value| match value {
            Value::Persistent(id) => Some(*id),
            _ => None,
        })
    }
}

/// The reason for which a pickle cannot be read.
pub(super) type Reason = String;

/// Reads the pickle at the beginning of `bytes`. Returns its values and its length.
pub(super) fn read(bytes: &[u8]) -> Result<(Values, usize), Reason> {
    let bytes = &bytes[..bytes.len().min(MAX_BYTES)];
    let mut machine =
        Machine { input: bytes, values: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
    for _ in 0..MAX_STEPS {
        if machine.step()? {
            let root = machine.pop()?;
            return Ok((Values { values: machine.values, root }, bytes.len() - machine.input.len()));
        }
    }
    Err(format!("its pickle has more than {MAX_STEPS} instructions"))
}

/// The machine that a pickle is a program of.
struct Machine<'a> {
    input: &'a [u8],
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl Machine<'_> {
    /// Executes an instruction. Returns true after the last.
    fn step(&mut self) -> Result<bool, Reason> {
        let [code] = self.array()?;
        match code {
            b'.' => return Ok(true),
            // The protocol's version.
            0x80 => drop(self.array::<1>()?),
            // The length of a frame.
            0x95 => drop(self.array::<8>()?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.since_mark()?),
            b'2' => self.stack.push(self.top()?),
            b'N' | 0x88 | 0x89 | 0x8f => self.push(Value::Other),
            b'J' => self.integer::<4>()?,
            b'K' => {
                let [value] = self.array()?;
                self.push(Value::Integer(value.into()));
            }
            b'M' => {
                let value = u16::from_le_bytes(self.array()?);
                self.push(Value::Integer(value.into()));
            }
            0x8a => {
                let [length] = self.array()?;
                self.long(length.into())?;
            }
            0x8b => {
                let length = u32::from_le_bytes(self.array()?);
                self.long(length.into())?;
            }
            b'G' => {
                self.array::<8>()?;
                self.push(Value::Other);
            }
            0x8c | b'U' => {
                let [length] = self.array()?;
                self.string(length.into())?;
            }
            b'X' | b'T' => {
                let length = u32::from_le_bytes(self.array()?);
                self.string(length.into())?;
            }
            0x8d => {
                let length = u64::from_le_bytes(self.array()?);
                self.string(length)?;
            }
            b'C' => {
                let [length] = self.array()?;
                self.skip(length.into())?;
            }
            b'B' => {
                let length = u32::from_le_bytes(self.array()?);
                self.skip(length.into())?;
            }
            0x8e | 0x96 => {
                let length = u64::from_le_bytes(self.array()?);
                self.skip(length)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Value::Global { module, name });
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let text = |id: Id| match self.values.get(id) {
                    // A text can be recalled any number of times. No module or class has a longer name.
                    Some(Value::Text(text)) if text.len() <= MAX_NAME => text.clone(),
                    _ => String::new(),
                };
                let (module, name) = (text(module), text(name));
                self.push(Value::Global { module, name });
            }
            b')' => self.push(Value::Tuple(Vec::new())),
            b']' => self.push(Value::List(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
            b't' => {
                let elements = self.since_mark()?;
                self.push(Value::Tuple(elements));
            }
            0x85..=0x87 => {
                let count = usize::from(code - 0x84);
                let from = self.stack.len().checked_sub(count).ok_or_else(empty)?;
                let elements = self.stack.split_off(from);
                self.push(Value::Tuple(elements));
            }
            b'l' => {
                let elements = self.since_mark()?;
                self.push(Value::List(elements));
            }
            b'd' => {
                let pairs = pairs(&self.since_mark()?);
                self.push(Value::Dict(pairs));
            }
            b'a' => {
                let element = self.pop()?;
                self.append(vec![element])?;
            }
            b'e' => {
                let elements = self.since_mark()?;
                self.append(elements)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.insert(vec![(key, value)])?;
            }
            b'u' => {
                let pairs = pairs(&self.since_mark()?);
                self.insert(pairs)?;
            }
            // The elements of a set.
            0x90 => drop(self.since_mark()?),
            0x91 => {
                self.since_mark()?;
                self.push(Value::Other);
            }
            b'R' | 0x81 => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                self.call(function, arguments);
            }
            0x92 => {
                let (_, arguments, function) = (self.pop()?, self.pop()?, self.pop()?);
                self.call(function, arguments);
            }
            b'b' => {
                let (new, object) = (self.pop()?, self.top()?);
                // The state of an ordered dictionary is the version of each module.
                if let Some(Value::Call { state, .. }) = self.values.get_mut(object) {
                    *state = Some(new);
                }
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Value::Persistent(id));
            }
            b'q' => {
                let [key] = self.array()?;
                self.memo.insert(key.into(), self.top()?);
            }
            b'r' => {
                let key = u32::from_le_bytes(self.array()?);
                self.memo.insert(key, self.top()?);
            }
            0x94 => {
                let key = u32::try_from(self.memo.len()).map_err(|_| empty())?;
                self.memo.insert(key, self.top()?);
            }
            b'h' => {
                let [key] = self.array()?;
                self.recall(key.into())?;
            }
            b'j' => {
                let key = u32::from_le_bytes(self.array()?);
                self.recall(key)?;
            }
            other => return Err(format!("its pickle has the instruction {other:#04x}, which PyTorch does not write")),
        }
        Ok(false)
    }

    fn push(&mut self, value: Value) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn pop(&mut self) -> Result<Id, Reason> {
        self.stack.pop().ok_or_else(empty)
    }

    fn top(&self) -> Result<Id, Reason> {
        self.stack.last().copied().ok_or_else(empty)
    }

    /// Takes everything above the last mark from the stack.
    fn since_mark(&mut self) -> Result<Vec<Id>, Reason> {
        match self.marks.pop() {
            Some(mark) if mark <= self.stack.len() => Ok(self.stack.split_off(mark)),
            _ => Err(empty()),
        }
    }

    fn recall(&mut self, key: u32) -> Result<(), Reason> {
        let id = self.memo.get(&key).copied();
        self.stack.push(id.ok_or_else(|| format!("its pickle recalls value {key}, which it did not keep"))?);
        Ok(())
    }

    fn append(&mut self, mut elements: Vec<Id>) -> Result<(), Reason> {
        let list = self.top()?;
        if let Some(Value::List(list)) = self.values.get_mut(list) {
            list.append(&mut elements);
        }
        Ok(())
    }

    fn insert(&mut self, mut pairs: Vec<(Id, Id)>) -> Result<(), Reason> {
        let dict = self.top()?;
        if let Some(Value::Dict(dict)) = self.values.get_mut(dict) {
            dict.append(&mut pairs);
        }
        Ok(())
    }

    fn call(&mut self, function: Id, arguments: Id) {
        let is_dict = matches!(self.values.get(function), Some(Value::Global { module, name })
            if module == "collections" && matches!(name.as_str(), "OrderedDict" | "defaultdict"));
        if !is_dict {
            return self.push(Value::Call { function, arguments, state: None });
        }
        // Python 2 gives an ordered dictionary its content as a list of pairs.
        let elements = |id: Id| match self.values.get(id) {
            Some(Value::Tuple(elements) | Value::List(elements)) => elements.as_slice(),
            _ => &[],
        };
        let content = elements(arguments).first().map(|&first| elements(first)).unwrap_or_default();
        let pairs = content.iter().filter_map(|&pair| match elements(pair) {
            &[key, value] => Some((key, value)),
            _ => None,
        });
        let pairs = pairs.collect();
        self.push(Value::Dict(pairs));
    }

    fn take(&mut self, length: u64) -> Result<&[u8], Reason> {
        let split = usize::try_from(length).ok().and_then(|length| self.input.split_at_checked(length));
        let (taken, rest) = split.ok_or("its pickle ends early")?;
        self.input = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Reason> {
        let (taken, rest) = self.input.split_first_chunk().ok_or("its pickle ends early")?;
        self.input = rest;
        Ok(*taken)
    }

    fn line(&mut self) -> Result<String, Reason> {
        let length = self.input.iter().position(|&byte| byte == b'\n').ok_or("its pickle ends early")?;
        let line = String::from_utf8_lossy(&self.input[..length]).trim_end_matches('\r').to_owned();
        self.input = &self.input[length + 1..];
        Ok(line)
    }

    fn string(&mut self, length: u64) -> Result<(), Reason> {
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.push(Value::Text(text));
        Ok(())
    }

    fn skip(&mut self, length: u64) -> Result<(), Reason> {
        self.take(length)?;
        self.push(Value::Other);
        Ok(())
    }

    fn integer<const N: usize>(&mut self) -> Result<(), Reason> {
        self.long(N as u64)
    }

    /// Reads a signed integer of this many bytes. One beyond 64 bits is a value that no tensor needs.
    fn long(&mut self, length: u64) -> Result<(), Reason> {
        let bytes = self.take(length)?;
        let value = match bytes.len() {
            count @ 0..=8 => {
                let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
                let mut whole = [if negative { 0xff } else { 0 }; 8];
                whole[..count].copy_from_slice(bytes);
                Value::Integer(i64::from_le_bytes(whole))
            }
            _ => Value::Other,
        };
        self.push(value);
        Ok(())
    }
}

fn empty() -> Reason {
    "its pickle takes more values than it made".into()
}

fn pairs(elements: &[Id]) -> Vec<(Id, Id)> {
    elements.as_chunks::<2>().0.iter().map(|&[key, value]| (key, value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read() {
        let (values, length) =
            read(b"\x80\x02}q\x00(X\x01\x00\x00\x00aK\x07X\x01\x00\x00\x00b\x8a\x01\xffu.rest").unwrap();
        assert_eq!(length, 25);
        let Value::Dict(pairs) = values.get(values.root) else { panic!("{values:?}") };
        assert_eq!((values.text(pairs[0].0), values.size(pairs[0].1)), (Some("a"), Some(7)));
        assert!(matches!(values.get(pairs[1].1), Value::Integer(-1)));
    }

    #[test]
    fn names_that_are_made_of_long_texts_are_not_copied() {
        let of = |length: usize| {
            let text = [&b"X"[..], &(length as u32).to_le_bytes(), &vec![b'a'; length], b"q\x00"].concat();
            let (values, _) = read(&[&b"\x80\x04"[..], &text, b"h\x00\x93."].concat()).unwrap();
            let Value::Global { module, name } = values.get(values.root) else { panic!("{values:?}") };
            (module.len(), name.len())
        };
        assert_eq!((of(MAX_NAME), of(MAX_NAME + 1)), ((MAX_NAME, MAX_NAME), (0, 0)));
    }

    #[test]
    fn a_dictionary_that_is_recalled_has_what_was_added_later() {
        // A dictionary is kept, filled, and recalled.
        let (values, _) = read(b"\x80\x02}q\x00K\x01K\x02sh\x00\x86.").unwrap();
        let elements = values.elements(values.root).to_vec();
        assert_eq!(elements[0], elements[1]);
        assert!(matches!(values.get(elements[1]), Value::Dict(pairs) if pairs.len() == 1));
    }

    #[test]
    fn deep_and_endless_pickles_end() {
        let deep = [&b"\x80\x02N"[..], &vec![0x85; 2_000_000], b"."].concat();
        assert!(read(&deep).is_ok());
        let long = vec![b'N'; MAX_STEPS + 1];
        assert!(read(&long).unwrap_err().contains("instructions"));
        for bad in [&b""[..], b".", b"t", b"\x80", b"X\xff\xff\xff\xffa", b"h\x00", b"R.", b"(0t", b"N(0t."] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
