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
    #[error("interrupted; {left}")]
    Interrupted { left: &'static str },
    /// An error of the query engine, in a part of the input.
    #[error("{place}: {}", text(.error))]
    Part { place: String, error: DataFusionError },
    /// An error of the query engine.
    #[error("{}", text(.0))]
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

    /// Returns whether the same part may succeed in another place, or later.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Part { .. } | Self::Query(_))
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Interrupted { .. } => 130,
            _ => 1,
        }
    }
}

/// Returns the text of an error of the query engine, without the names of its layers, and with a way out where it names none.
fn text(error: &DataFusionError) -> String {
    let text = match error.find_root() {
        DataFusionError::SQL(error, _) => error.to_string(),
        root => root.message().into_owned(),
    };
    let text = text.split(DataFusionError::BACK_TRACE_SEP).next().unwrap_or_default().trim_end();
    // The error of a function for arguments of wrong types stands between sentences of the engine.
    let text = text.rsplit("coercion failed with: Error during planning: ").next().unwrap_or_default();
    let text = text.split(" No function matches the given").next().unwrap_or_default();
    // The second is what an engine says that looks for the function in the plan of another machine.
    let is_missing = text.contains("not found") || text.contains("is not provided for scalar function");
    let more = if is_missing && (text.contains("inspect_") || text.contains("anomaly_map_")) {
        "; a worker has another model than this program: start all workers with the same one"
    } else if text.contains("Object Store error") {
        "; every machine reads the input under the same path"
    } else if text.starts_with("table '") {
        "; the input is the table images"
    } else {
        ""
    };
    format!("{text}{more}")
}
