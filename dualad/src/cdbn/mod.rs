//! The coupled dual-branch network of the paper (CDBN; docs/method.md, section 4), one file per box of the paper's figure.
//!
//! | file | part |
//! |---|---|
//! | `network.rs` | the network: [`DualAd`] |
//! | `wide_shallow.rs` | the wide-shallow network (WSN): delta_E, delta_D |
//! | `memory.rs` | the memory modules between the branches |
//! | `narrow_deep.rs` | the narrow-deep network (NDN): psi_E, psi_D |
//! | `layers.rs`, `attention.rs`, `linear.rs`, `dropout.rs`, `position.rs` | the layers of both branches |
//! | `standardization.rs` | the standardization of features and errors |
//! | `scope.rs` | the names, shapes and initial values of parameters |
//! | `parameters.rs` | reading and writing parameters |
//! | `derived.rs` | copies for training and inference |

mod attention;
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

pub use network::DualAd;
pub use scope::ParameterShape;
#[cfg(feature = "train")]
pub(crate) use standardization::{MEAN, STD};
