//! Names of files and messages of decoders as one line of text.

use std::path::Path;

pub(crate) use dualad_store::printable as one_line;

/// Returns a path as one line of text.
pub(crate) fn shown(path: &Path) -> String {
    one_line(&path.to_string_lossy())
}

/// The number of names that a message lists.
pub(crate) const MAX_NAMES: usize = 20;

/// Lists names with commas between them: the first ones, and the number of the others.
pub(crate) fn names_of<T: AsRef<str>>(names: &[T]) -> String {
    let listed = names.iter().take(MAX_NAMES).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(MAX_NAMES) {
        Some(more @ 1..) => format!("{listed} and {more} more"),
        _ => listed,
    }
}
