//! The tensors of a pickle by name.

use std::collections::BTreeMap;

use super::pickle::{Id, Reason, Value, Values};

/// The maximum depth of dictionaries and modules in each other.
const MAX_DEPTH: usize = 32;
/// The maximum size of all names together, in bytes.
const MAX_NAMES: usize = 64 << 20;

/// The largest length of a storage's key, in bytes.
const MAX_KEY: usize = 256;
/// The largest number of dimensions of a tensor.
const MAX_RANK: usize = 32;

/// The place of a tensor's values.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Place {
    /// The kind of storage, such as `FloatStorage`; for a tensor that is not read, the function that makes it.
    pub(super) kind: String,
    /// The storage's key.
    pub(super) storage: String,
    /// The index of the first value in the storage.
    pub(super) offset: u64,
    pub(super) shape: Vec<usize>,
    /// For each dimension, the distance between two values in the storage.
    pub(super) strides: Vec<u64>,
}

/// Returns the tensors by name. Names of dictionaries and modules in each other are joined with dots.
pub(super) fn tensors(values: &Values) -> Result<BTreeMap<String, Place>, Reason> {
    let mut found = Found { values, tensors: BTreeMap::new(), names: 0 };
    found.visit(values.root, String::new(), 0)?;
    Ok(found.tensors)
}

struct Found<'a> {
    values: &'a Values,
    tensors: BTreeMap<String, Place>,
    /// The size of all names so far. It bounds the visits, too: a dictionary may be found under many names.
    names: usize,
}

impl Found<'_> {
    fn visit(&mut self, id: Id, name: String, depth: usize) -> Result<(), Reason> {
        self.names += name.len() + 1;
        if depth > MAX_DEPTH || self.names > MAX_NAMES {
            return Err("its dictionaries are nested too deeply, or too many".into());
        }
        let values = self.values;
        match values.get(id) {
            Value::Dict(_) => self.entries(id, &name, depth),
            Value::Call { function, arguments, state } => {
                if let Some(place) = place(values, *function, *arguments) {
                    self.tensors.insert(name, place);
                    return Ok(());
                }
                let Some(state) = *state else { return Ok(()) };
                if values.global(*function).is_some_and(|(module, _)| module.starts_with("__torch__")) {
                    return self.entries(state, &name, depth);
                }
                // A whole module, as torch.save(model) writes it.
                let Value::Dict(attributes) = values.get(state) else { return Ok(()) };
                for (key, value) in attributes {
                    if matches!(values.text(*key), Some("_parameters" | "_buffers" | "_modules")) {
                        self.entries(*value, &name, depth)?;
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Visits the entries of a dictionary whose keys are texts.
    fn entries(&mut self, id: Id, name: &str, depth: usize) -> Result<(), Reason> {
        let Value::Dict(pairs) = self.values.get(id) else { return Ok(()) };
        // Pairs without a text as key take time, too.
        self.names += pairs.len();
        for (key, value) in pairs {
            let Some(key) = self.values.text(*key) else { continue };
            let name = if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
            self.visit(*value, name, depth + 1)?;
        }
        Ok(())
    }
}

/// Returns the place of the tensor that a call makes, or `None` for a call of another kind.
fn place(values: &Values, mut function: Id, mut arguments: Id) -> Option<Place> {
    // A parameter holds a tensor, and a subclass of a tensor holds the call that makes it.
    for _ in 0..4 {
        let (module, name) = values.global(function)?;
        let given = values.elements(arguments);
        match (module, name) {
            ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => return plain(values, given),
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
                let Value::Call { function: inner, arguments: of, .. } = values.get(*given.first()?) else {
                    return None;
                };
                (function, arguments) = (*inner, *of);
            }
            ("torch._tensor", "_rebuild_from_type_v2") => (function, arguments) = (*given.first()?, *given.get(2)?),
            // Quantized, sparse and other tensors.
            ("torch._utils", name) if name.starts_with("_rebuild_") => return Some(unread(name)),
            _ => return None,
        }
    }
    None
}

fn unread(kind: &str) -> Place {
    Place { kind: kind.into(), storage: String::new(), offset: 0, shape: Vec::new(), strides: Vec::new() }
}

/// Returns the place of a tensor in one storage: storage, offset, shape, strides.
fn plain(values: &Values, arguments: &[Id]) -> Option<Place> {
    let &[storage, offset, shape, strides, ..] = arguments else { return None };
    let Value::Persistent(storage) = values.get(storage) else { return None };
    let Storage { kind, key, view, .. } = Storage::of(values, *storage)?;
    // Each name of a tensor has a copy.
    if key.len() > MAX_KEY || [shape, strides].iter().any(|&sizes| values.elements(sizes).len() > MAX_RANK) {
        return None;
    }
    let sizes = |id: Id| values.elements(id).iter().map(|&size| values.size(size)).collect::<Option<Vec<u64>>>();
    let shape = sizes(shape)?.into_iter().map(usize::try_from).collect::<Result<Vec<_>, _>>().ok()?;
    // An offset that is no size is that of a damaged tensor, whose values are not in the file.
    let offset = values.size(offset).unwrap_or(u64::MAX).saturating_add(view);
    Some(Place { kind: kind.into(), storage: key.into(), offset, shape, strides: sizes(strides)? })
}

/// A storage, as a pickle refers to it.
pub(super) struct Storage<'a> {
    pub(super) kind: &'a str,
    pub(super) key: &'a str,
    /// The index of the first value of a view into another storage.
    view: u64,
}

impl<'a> Storage<'a> {
    /// Reads a reference: `("storage", class, key, device, length)`, and before version 0.4 the view.
    pub(super) fn of(values: &'a Values, id: Id) -> Option<Self> {
        let &[tag, class, key, ..] = values.elements(id) else { return None };
        if values.text(tag) != Some("storage") {
            return None;
        }
        let (_, kind) = values.global(class)?;
        let view = values.elements(id).get(5).and_then(|&view| values.elements(view).get(1).copied());
        let view = view.map_or(Some(0), |view| values.size(view))?;
        Some(Self { kind, key: values.text(key)?, view })
    }
}
