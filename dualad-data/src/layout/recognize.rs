//! What a folder is, by what is in it and by nothing else: the one place where layouts are told apart.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::listing::{Listing, list_if_there};
use super::names::GOOD;
use crate::error::{Error, Result};

/// What a folder can be read as, besides VisA.
#[derive(Debug, PartialEq)]
pub(crate) enum FolderKind {
    /// One category of MVTec AD.
    Category,
    /// Folders with a category each; their names.
    Categories(Vec<OsString>),
    /// A plain folder of normal images: the one that has them.
    Plain(PathBuf),
    /// None of these.
    Nothing,
}

/// Names that a category's own folders have: one of these is a category itself only if it is a complete one.
const RESERVED: [&str; 4] = ["train", "test", "ground_truth", GOOD];

/// How much speaks for a folder's being a category.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Evidence {
    None,
    /// An empty `train/good`.
    Hollow,
    /// Images somewhere in `train` or `test`.
    Partial,
    /// Images in `train/good`.
    Complete,
}

fn evidence(folder: &Path) -> Result<Evidence> {
    let (train, test) = (folder.join("train"), folder.join("test"));
    let good = train.join(GOOD);
    if !list_if_there(&good)?.images.is_empty() {
        return Ok(Evidence::Complete);
    }
    for part in [train, test] {
        let listing = list_if_there(&part)?;
        if !listing.images.is_empty() {
            return Ok(Evidence::Partial);
        }
        for kind in listing.folders {
            if !list_if_there(&kind.path)?.images.is_empty() {
                return Ok(Evidence::Partial);
            }
        }
    }
    Ok(if good.is_dir() { Evidence::Hollow } else { Evidence::None })
}

/// The rules that [`super::Layout::detect`] documents. Two readings of which neither is the better are an error. `plain`
/// is [`plain`]'s, or nothing where categories are asked for.
pub(crate) fn folder(root: &Path, listing: &Listing, plain: Vec<(PathBuf, usize)>) -> Result<FolderKind> {
    let own = evidence(root)?;
    let mut folders = Vec::new();
    for folder in &listing.folders {
        // A folder that may not be read is no category; the reader names it.
        let found = evidence(&folder.path).unwrap_or(Evidence::None);
        if found == Evidence::Complete
            || found > Evidence::None && !RESERVED.iter().any(|reserved| folder.name == *reserved)
        {
            folders.push((folder.name.clone(), found));
        }
    }
    let best = folders.iter().fold(Evidence::None, |best, (_, found)| if *found > best { *found } else { best });
    let categories = || FolderKind::Categories(folders.iter().map(|(name, _)| name.clone()).collect());
    let both = || {
        let names: Vec<_> = folders.iter().take(3).map(|(name, _)| name.to_string_lossy()).collect();
        let reason = format!(
            "it is a category by its own train or test folder, and it holds categories ({}{}): open the one that is \
             meant, or move the other away",
            names.join(", "),
            if folders.len() > names.len() { ", .." } else { "" }
        );
        Error::Layout { path: root.into(), reason }
    };
    match (own, best) {
        (Evidence::Complete, Evidence::Complete) => Err(both()),
        (_, Evidence::Complete) => Ok(categories()),
        (Evidence::Complete, _) => Ok(FolderKind::Category),
        _ if !plain.is_empty() => Ok(FolderKind::Plain(only(root, plain)?)),
        (Evidence::Partial, Evidence::Partial) => Err(both()),
        (_, Evidence::Partial) => Ok(categories()),
        (Evidence::Partial, _) => Ok(FolderKind::Category),
        (_, Evidence::Hollow) => Ok(categories()),
        (Evidence::Hollow, _) => Ok(FolderKind::Category),
        (Evidence::None, Evidence::None) => Ok(FolderKind::Nothing),
    }
}

/// The folders that may hold a plain folder's normal images, and how many they hold.
pub(crate) fn plain(root: &Path) -> Result<Vec<(PathBuf, usize)>> {
    let mut found = Vec::new();
    for folder in [root.to_path_buf(), root.join("train"), root.join("train").join(GOOD), root.join(GOOD)] {
        let count = list_if_there(&folder)?.images.len();
        if count > 0 {
            found.push((folder, count));
        }
    }
    Ok(found)
}

/// The one folder that holds the normal images.
pub(crate) fn only(root: &Path, found: Vec<(PathBuf, usize)>) -> Result<PathBuf> {
    let reason = if found.len() > 1 {
        let list: Vec<String> = found.iter().map(|(path, count)| format!("{} has {count}", path.display())).collect();
        format!("images that may be the normal ones lie in several folders ({}); keep them in one", list.join(", "))
    } else {
        "there are no images in it, nor in its train, train/good or good".into()
    };
    match <[_; 1]>::try_from(found) {
        Ok([(folder, _)]) => Ok(folder),
        Err(_) => Err(Error::Layout { path: root.into(), reason }),
    }
}
