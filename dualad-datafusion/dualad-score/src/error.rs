//! Errors of the program.

use std::path::PathBuf;

use datafusion::error::DataFusionError;

/// An error that ends the program.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Message(String),
    #[error("{}: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    #[error("interrupted; {}", if *is_query { "nothing was written" } else { "the same command with --resume goes on" })]
    Interrupted { is_query: bool },
    #[error("{}", query(.0))]
    Query(#[from] DataFusionError),
    #[error(transparent)]
    Functions(#[from] dualad_datafusion::Error),
    #[error(transparent)]
    Model(#[from] dualad::Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// A result with an [`Error`].
pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn message(text: impl Into<String>) -> Self {
        Self::Message(text.into())
    }

    pub(crate) fn file(path: impl Into<PathBuf>, reason: impl ToString) -> Self {
        Self::File { path: path.into(), reason: reason.to_string() }
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Interrupted { .. } => 130,
            _ => 1,
        }
    }
}

/// Returns the text of an error of a query, with a way out where the engine names none.
fn query(error: &DataFusionError) -> String {
    let text = error.strip_backtrace();
    if text.contains("inspect_") && text.contains("not found") {
        return format!("{text}; a worker has another model than this program: start all workers with the same one");
    }
    text
}
