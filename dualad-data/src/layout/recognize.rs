//! The detection of layouts, by the content of a folder.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::listing::{Folder, Listing, list, list_if_there};
use super::names::{Part, is_normal};
use super::parts::{normal, part};
use crate::error::{Error, Result};

/// The kind of a folder, apart from VisA.
#[derive(Debug, PartialEq)]
pub(crate) enum FolderKind {
    /// One category of MVTec AD.
    Category,
    /// A folder of categories; their names.
    Categories(Vec<OsString>),
    /// A folder of products: folders with images in `train` or `test`, and with normal images elsewhere than in `train/good`; their
    /// names.
    Products(Vec<OsString>),
    /// A plain folder; the path of its normal images.
    Plain(PathBuf),
    /// None of these.
    Nothing,
}

/// Returns whether a name is that of a folder inside a category. A folder of such a name is a category only if it is complete.
fn is_reserved(name: &OsStr) -> bool {
    Part::of(name).is_some() || is_normal(name)
}

/// The evidence that a folder is a category, from weak to strong.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Evidence {
    None,
    /// An empty `train/good`.
    Empty,
    /// Images somewhere in `train` or `test`.
    Partial,
    /// Images in `train/good`.
    Complete,
}

/// Returns the evidence that a folder is a category.
fn evidence(folder: &Path, listing: &Listing) -> Result<Evidence> {
    let train = list_if_there(&part(folder, listing, Part::Train))?;
    let test = list_if_there(&part(folder, listing, Part::Test))?;
    let good = normal(&train)?;
    for good in &good {
        if !list(&good.path)?.images.is_empty() {
            return Ok(Evidence::Complete);
        }
    }
    for part in [&train, &test] {
        if !part.images.is_empty() {
            return Ok(Evidence::Partial);
        }
        for kind in &part.folders {
            if !list(&kind.path)?.images.is_empty() {
                return Ok(Evidence::Partial);
            }
        }
    }
    Ok(if good.is_empty() { Evidence::None } else { Evidence::Empty })
}

/// Returns the kind of a folder by the rules of [`super::Layout::detect`]. `plain` is the result of [`plain`], or empty if
/// only categories are wanted. A folder with two equally good readings is an error.
pub(crate) fn folder(root: &Path, listing: &Listing, plain: Vec<(PathBuf, usize)>) -> Result<FolderKind> {
    let own = evidence(root, listing)?;
    let mut folders = Vec::new();
    for folder in &listing.folders {
        // A folder that cannot be listed is not a category. The reader reports it.
        let found = list(&folder.path).and_then(|inner| evidence(&folder.path, &inner)).unwrap_or(Evidence::None);
        if found == Evidence::Complete || found > Evidence::None && !is_reserved(&folder.name) {
            folders.push((folder.name.clone(), found));
        }
    }
    let best = folders.iter().fold(Evidence::None, |best, (_, found)| if *found > best { *found } else { best });
    let categories = || FolderKind::Categories(folders.iter().map(|(name, _)| name.clone()).collect());
    let both = || {
        let names: Vec<_> = folders.iter().take(3).map(|(name, _)| name.to_string_lossy()).collect();
        let reason = format!(
            "it is a category by its own train or test folder, and it holds categories ({}{}): open one of them, or move \
             the other away",
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
        (_, Evidence::Partial) => {
            let is_product = |(name, found): &(OsString, Evidence)| {
                *found == Evidence::Partial && self::plain(&root.join(name)).is_ok_and(|found| !found.is_empty())
            };
            let names = || folders.iter().map(|(name, _)| name.clone()).collect();
            Ok(if folders.iter().any(is_product) { FolderKind::Products(names()) } else { categories() })
        }
        (Evidence::Partial, _) => Ok(FolderKind::Category),
        (_, Evidence::Empty) => Ok(categories()),
        (Evidence::Empty, _) => Ok(FolderKind::Category),
        (Evidence::None, Evidence::None) => Ok(FolderKind::Nothing),
    }
}

/// Returns whether a folder is a category with images in `train/good`, or has such categories in it.
pub(super) fn is_complete(root: &Path, listing: &Listing) -> bool {
    let is =
        |folder: &Path, listing: &Listing| evidence(folder, listing).is_ok_and(|found| found == Evidence::Complete);
    let is_inner = |folder: &Folder| list(&folder.path).is_ok_and(|inner| is(&folder.path, &inner));
    is(root, listing) || listing.folders.iter().any(is_inner)
}

/// Returns the folders that may hold the normal images of a plain folder, with their numbers of images.
pub(crate) fn plain(root: &Path) -> Result<Vec<(PathBuf, usize)>> {
    let listing = list(root)?;
    let train = part(root, &listing, Part::Train);
    let inner = list_if_there(&train)?;
    let named = normal(&inner)?.into_iter().chain(normal(&listing)?).map(|folder| folder.path.clone());
    let mut found = Vec::new();
    for folder in [root.to_path_buf(), train.clone()].into_iter().chain(named) {
        let count = list_if_there(&folder)?.images.len();
        if count > 0 {
            found.push((folder, count));
        }
    }
    Ok(found)
}

/// Returns the only folder that holds normal images.
pub(crate) fn only(root: &Path, found: Vec<(PathBuf, usize)>) -> Result<PathBuf> {
    let reason = if found.len() > 1 {
        let list: Vec<String> = found.iter().map(|(path, count)| format!("{} has {count}", path.display())).collect();
        format!("several folders may hold the normal images ({}); keep them in one", list.join(", "))
    } else {
        "there are no images in it, nor in its train, train/good or good".into()
    };
    match <[_; 1]>::try_from(found) {
        Ok([(folder, _)]) => Ok(folder),
        Err(_) => Err(Error::Layout { path: root.into(), reason }),
    }
}
