//! Lists in files of annotations whose memory is bounded while they are read: two bytes of text can stand for many of memory.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::answers::truth;

/// The largest number of values of 4 bytes that a list may take the memory of.
const MAX_VALUES: usize = 1 << 26;
const MEBIBYTES: usize = MAX_VALUES >> 18;

/// An entry of a list.
pub(super) trait Entry {
    /// Returns the number of values that the entry takes the memory of, at least 1.
    fn values(&self) -> usize;
}

impl Entry for f32 {
    fn values(&self) -> usize {
        1
    }
}

impl Entry for u32 {
    fn values(&self) -> usize {
        1
    }
}

impl Entry for [f32; 2] {
    fn values(&self) -> usize {
        2
    }
}

/// A list with a bounded number of values.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct List<T>(pub(super) Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Entry> Entry for List<T> {
    fn values(&self) -> usize {
        // The list itself takes the memory of some values.
        8 + self.0.iter().map(T::values).sum::<usize>()
    }
}

impl<'de, T: Deserialize<'de> + Entry> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Entries(PhantomData))
    }
}

impl<'de, T: Deserialize<'de> + Entry> List<T> {
    /// Reads the rest of a list.
    pub(super) fn of<A: SeqAccess<'de>>(entries: A) -> Result<Self, A::Error> {
        Self::deserialize(SeqAccessDeserializer::new(entries))
    }
}

struct Entries<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + Entry> Visitor<'de> for Entries<T> {
    type Value = List<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<List<T>, A::Error> {
        let (mut list, mut values) = (Vec::new(), 0usize);
        while let Some(entry) = entries.next_element::<T>()? {
            values = values.saturating_add(entry.values());
            if values > MAX_VALUES {
                return Err(A::Error::custom(format!(
                    "a list takes more than {MEBIBYTES} MiB of memory; divide the file"
                )));
            }
            list.push(entry);
        }
        Ok(List(list))
    }
}

/// An identifier: a number or a text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Id(String);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IdVisitor)
    }
}

struct IdVisitor;

impl Visitor<'_> for IdVisitor {
    type Value = Id;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or a text")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Id, E> {
        Ok(Id(value.to_string()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Id, E> {
        Ok(Id(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Id, E> {
        Ok(Id(value.to_string()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Id, E> {
        Ok(Id(format!("\"{value}\"")))
    }
}

/// A flag: set or not, or a text that may be a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Flag {
    Set(bool),
    Text(String),
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FlagVisitor)
    }
}

struct FlagVisitor;

impl<'de> Visitor<'de> for FlagVisitor {
    type Value = Flag;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true or false")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Flag, E> {
        Ok(Flag::Set(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Flag, E> {
        Ok(Flag::Set(value != 0))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Flag, E> {
        Ok(Flag::Set(value != 0))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Flag, E> {
        Ok(Flag::Set(value != 0.0))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Flag, E> {
        Ok(match value.trim() {
            "" => Flag::Set(false),
            text => truth(text).map_or_else(|| Flag::Text(text.into()), Flag::Set),
        })
    }

    fn visit_unit<E: Error>(self) -> Result<Flag, E> {
        Ok(Flag::Set(false))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Flag, A::Error> {
        let mut is_empty = true;
        while entries.next_element::<IgnoredAny>()?.is_some() {
            is_empty = false;
        }
        Ok(if is_empty { Flag::Set(false) } else { Flag::Text("[..]".into()) })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Flag, A::Error> {
        let mut is_empty = true;
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            is_empty = false;
        }
        Ok(if is_empty { Flag::Set(false) } else { Flag::Text("{..}".into()) })
    }
}
