//! The errors of the generator of synthetic datasets.

use std::path::PathBuf;

use crate::text::shown;

/// An error of [`crate::synthetic`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyntheticError {
    /// There is no category of this name.
    #[error("there is no category \"{name}\"; choose from {available}")]
    UnknownCategory {
        /// The name given.
        name: String,
        /// The names of all categories.
        available: String,
    },
    /// The category does not have this defect.
    #[error("a {category} has no defect \"{defect}\"; choose from {available}")]
    Defect {
        /// The name of the category.
        category: &'static str,
        /// The name of the defect.
        defect: &'static str,
        /// The names of the category's defects.
        available: String,
    },
    /// An option is out of range.
    #[error("the option \"{option}\" cannot be {value}: {advice}")]
    Option {
        /// The option.
        option: &'static str,
        /// The value given.
        value: String,
        /// The valid values.
        advice: String,
    },
    /// The folder contains something that the generator did not write.
    #[error(
        "{} holds {}, which is not from this generator; name another folder, or empty this one yourself",
        shown(folder),
        shown(found)
    )]
    FolderInUse {
        /// The folder.
        folder: PathBuf,
        /// A file or folder in it, relative to it.
        found: PathBuf,
    },
    /// The generator wrote the folder, and a file in it was changed since.
    #[error(
        "{} holds {}, which was changed since this generator wrote it; name another folder, or remove this one yourself",
        shown(folder),
        shown(found)
    )]
    Changed {
        /// The folder.
        folder: PathBuf,
        /// The file, relative to the folder.
        found: PathBuf,
    },
    /// The path cannot be the folder of a dataset.
    #[error("{} cannot be a dataset's folder: {advice}", shown(path))]
    NotAFolder {
        /// The path.
        path: PathBuf,
        /// The remedy.
        advice: &'static str,
    },
}
