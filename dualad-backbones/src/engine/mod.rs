//! Engines, which compute maps and tokens from an image batch.

mod interface;
mod packed;
mod plain;
mod position;
mod stored;

pub(crate) use interface::Engine;
pub(crate) use packed::PackedEngine;
pub(crate) use plain::PlainEngine;
pub(crate) use position::{Embedding, Rotations};
