//! The coupled dual-branch network of the paper (CDBN; docs/method.md, section 4). Files by part:
//!
//! | file | part |
//! |---|---|
//! | `network.rs` | the network: [`DualAd`] |
//! | `wide_shallow.rs` | the wide-shallow network (WSN): the WSN encoder and the WSN decoder |
//! | `memory.rs` | the memory modules between the branches |
//! | `narrow_deep.rs` | the narrow-deep network (NDN): the NDN encoder and the NDN decoder |
//! | `layers.rs`, `attention.rs`, `linear.rs`, `dropout.rs`, `position.rs` | the layers of both branches |
//! | `standardization.rs` | the standardization of features and errors |
//! | `scope.rs` | the names, shapes and initial values of parameters |
//! | `parameters.rs` | reading and writing parameters |
//! | `checkpoint.rs` | the configuration of a published checkpoint |
//! | `derived.rs` | copies for training and inference |

mod attention;
mod checkpoint;
mod derived;
mod dropout;
mod layers;
mod linear;
mod memory;
mod narrow_deep;
mod network;
mod parameters;
mod position;
mod scope;
mod standardization;
mod wide_shallow;

#[cfg(feature = "train")]
pub(crate) use layers::NORM_EPS;
pub use network::DualAd;
#[cfg(feature = "train")]
pub(crate) use position::position_of_tokens;
pub use scope::ParameterShape;
#[cfg(feature = "train")]
pub(crate) use standardization::{MEAN, STD};
