//! The errors of the generator.

use std::path::PathBuf;
use std::str::FromStr;

use super::category::{Category, Defect};

/// What is wrong with a request for synthetic pictures, or with the folder that is to take them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyntheticError {
    /// The caller named a category that does not exist.
    #[error("there is no category \"{name}\"; choose from {}", Category::ALL.map(Category::name).join(", "))]
    UnknownCategory {
        /// The name given.
        name: String,
    },
    /// The category has no such defect.
    #[error("a {category} has no defect \"{defect}\"; choose from {}",
        category.defects().iter().map(|defect| defect.name()).collect::<Vec<_>>().join(", "))]
    Defect {
        /// The category.
        category: Category,
        /// The defect asked for.
        defect: Defect,
    },
    /// An option is out of range.
    #[error("the option \"{option}\" cannot be {value}: {advice}")]
    Option {
        /// Which.
        option: &'static str,
        /// What was asked for.
        value: String,
        /// What it can be.
        advice: String,
    },
    /// The folder holds something that this generator did not write.
    #[error("{} holds {}, which is not from this generator; name another folder, or empty this one yourself",
        folder.display(), found.display())]
    FolderInUse {
        /// The folder.
        folder: PathBuf,
        /// A file or folder in it, relative to it.
        found: PathBuf,
    },
    /// The folder is from this generator, but a file in it was changed since.
    #[error("{} holds {}, which was changed since this generator wrote it; name another folder, or remove this one yourself",
        folder.display(), found.display())]
    Changed {
        /// The folder.
        folder: PathBuf,
        /// The file, relative to the folder.
        found: PathBuf,
    },
    /// The path given is no place for a dataset.
    #[error("{} cannot be a dataset's folder: {advice}", path.display())]
    NotAFolder {
        /// The path.
        path: PathBuf,
        /// What to do.
        advice: &'static str,
    },
}

impl FromStr for Category {
    type Err = SyntheticError;

    fn from_str(name: &str) -> Result<Self, SyntheticError> {
        let found = Self::ALL.into_iter().find(|category| category.name() == name);
        found.ok_or_else(|| SyntheticError::UnknownCategory { name: name.to_owned() })
    }
}
