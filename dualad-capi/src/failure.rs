//! The errors of the functions: a kind and a text.

use std::any::Any;
use std::error::Error as _;

use dualad::{Error, ErrorKind};

use crate::status::DualadStatus;

/// The error of a function.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: DualadStatus,
    pub(crate) message: String,
}

impl Failure {
    /// An argument that cannot be used. `reason` follows its name: `category is NULL`.
    pub(crate) fn argument(name: &str, reason: impl std::fmt::Display) -> Self {
        Self { status: DualadStatus::InvalidArgument, message: format!("{name} {reason}") }
    }

    /// A panic, which is an error inside the library.
    pub(crate) fn panic(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic");
        Self {
            status: DualadStatus::Internal,
            message: format!("an error inside the library: {text}; please report it"),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match error.kind() {
            ErrorKind::InvalidInput => DualadStatus::InvalidArgument,
            ErrorKind::Data => DualadStatus::Image,
            ErrorKind::File => DualadStatus::Model,
            ErrorKind::Numeric => DualadStatus::Numeric,
            ErrorKind::System => DualadStatus::System,
            ErrorKind::Device => DualadStatus::Device,
            ErrorKind::Cancelled => DualadStatus::Cancelled,
            _ => DualadStatus::Internal,
        };
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            cause = error.source();
        }
        Self { status, message }
    }
}
