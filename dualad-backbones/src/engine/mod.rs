//! Engines, which execute a network with its weights on a checked image batch.

mod interface;
mod packed;
mod plain;

pub(crate) use interface::Engine;
pub(crate) use packed::PackedEngine;
pub(crate) use plain::PlainEngine;
