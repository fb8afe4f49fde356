//! The precision in the file: its name.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

use crate::Precision;

pub(crate) fn serialize<S: Serializer>(precision: &Precision, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(precision.name())
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Precision, D::Error> {
    let name = String::deserialize(from)?;
    let unknown = || {
        let known = Precision::ALL.map(Precision::name).join(" or ");
        D::Error::custom(format!("unknown precision \"{name}\"; write {known}"))
    };
    Precision::from_name(&name).ok_or_else(unknown)
}
