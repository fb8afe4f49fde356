//! Everything that can go wrong, sorted by who is at fault.

use std::path::PathBuf;

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. Every message names the file, field or value at fault and says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder cannot be read or written.
    #[error("cannot {action} {}: {error}", path.display())]
    Io {
        /// What was tried, such as `read` or `write`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's word.
        error: std::io::Error,
    },
    /// A request for synthetic pictures is at fault, or the folder that is to take them.
    #[error(transparent)]
    Synthetic(#[from] crate::synthetic::SyntheticError),
    /// The material for a picture is at fault.
    #[error(transparent)]
    Render(#[from] crate::render::RenderError),
}
