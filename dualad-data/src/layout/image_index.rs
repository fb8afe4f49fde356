//! The images of a dataset by the parts of their paths, to find those that files of annotations name.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use super::mask_name::composed;
use super::table_path::MAX_PATH;
use crate::text::shown;

/// The images of a dataset by the parts of their paths.
pub(super) struct Index<'a> {
    /// The parts of each path in composed letters, the last part first, in their order: paths that end alike are neighbors.
    images: Vec<(Vec<String>, &'a Path)>,
}

/// The image that a name in a file of annotations stands for.
pub(super) struct FoundAt {
    pub(super) path: PathBuf,
    /// The name in the file, with `/` between its parts.
    pub(super) name: String,
    /// The folder of the image without the folders of the name. Nothing for an image that is missing.
    pub(super) base: Option<PathBuf>,
    /// True if all folders of the name are those of the image.
    pub(super) is_whole: bool,
}

impl<'a> Index<'a> {
    pub(super) fn new(images: &'a [PathBuf]) -> Self {
        let parts = |path: &Path| path.components().rev().map(|part| composed(part.as_os_str())).collect();
        let mut images: Vec<(Vec<String>, &Path)> = images.iter().map(|path| (parts(path), path.as_path())).collect();
        images.sort_unstable();
        Self { images }
    }

    /// Returns the images that share the most parts at the end of their paths with these parts, the last part first, and the number of
    /// parts that they share.
    fn nearest(&self, parts: &[String]) -> (&[(Vec<String>, &'a Path)], usize) {
        let shared =
            |(own, _): &(Vec<String>, &Path)| own.iter().zip(parts).take_while(|(own, part)| own == part).count();
        let at = self.images.partition_point(|(own, _)| own[..] < *parts);
        let beside = [at.checked_sub(1), Some(at)].into_iter().flatten().filter_map(|at| self.images.get(at));
        let count = beside.map(shared).max().unwrap_or(0);
        if count == 0 {
            return (&[], 0);
        }
        let start = |own: &[String]| own.iter().take(count).cmp(parts.iter().take(count));
        let from = self.images.partition_point(|(own, _)| start(own).is_lt());
        let to = self.images.partition_point(|(own, _)| start(own).is_le());
        (self.images.get(from..to).unwrap_or_default(), count)
    }

    /// Returns the image that a name in a file of annotations in `folder` stands for. Label Studio changes the names of files that are
    /// uploaded: if there is none of such a name, the image is the one of its own name.
    pub(super) fn find(&self, name: &str, folder: &Path) -> Result<FoundAt, String> {
        let found = self.find_named(name, folder)?;
        let last = found.path.file_name().and_then(OsStr::to_str);
        let Some(own) = last.filter(|_| found.base.is_none()).and_then(own_name) else { return Ok(found) };
        let uploaded = self.find_named(own, folder)?;
        Ok(if uploaded.base.is_some() { FoundAt { name: found.name, is_whole: false, ..uploaded } } else { found })
    }

    /// Returns the image that a name in a file of annotations in `folder` stands for. Tools write paths of their own, so the
    /// image is the one that shares the most parts at the end of its path. An image that is not there is expected in the folder.
    fn find_named(&self, name: &str, folder: &Path) -> Result<FoundAt, String> {
        if name.len() > MAX_PATH {
            return Err(format!("a file_name has {} bytes; a path has at most {MAX_PATH}", name.len()));
        }
        let name = name.replace('\\', "/");
        let parts: Vec<String> = Path::new(&name)
            .components()
            .filter_map(|part| match part {
                Component::Normal(part) => Some(composed(part)),
                _ => None,
            })
            .collect();
        let Some(last) = parts.last() else { return Err(format!("the file_name \"{name}\" names no file")) };
        let (nearest, count) = self.nearest(&parts.iter().rev().cloned().collect::<Vec<_>>());
        let is_in_folder = nearest.iter().any(|(_, path)| path.starts_with(folder));
        let mut equal = nearest.iter().map(|(_, path)| *path).filter(|path| !is_in_folder || path.starts_with(folder));
        match (equal.next(), equal.next()) {
            (Some(one), Some(other)) => Err(format!(
                "the file_name \"{name}\" may be {} or {}; name the folder, too, or move one away",
                shown(one),
                shown(other)
            )),
            (Some(one), None) => {
                let base = one.ancestors().nth(count).map(Path::to_path_buf);
                Ok(FoundAt { path: one.to_path_buf(), name: parts.join("/"), base, is_whole: count == parts.len() })
            }
            (None, _) => Ok(FoundAt { path: folder.join(last), name: parts.join("/"), base: None, is_whole: true }),
        }
    }
}

/// Returns the name that a file had before it was uploaded to Label Studio, which puts eight hexadecimal digits and a hyphen before it.
pub(super) fn own_name(name: &str) -> Option<&str> {
    let (digits, own) = name.split_once('-')?;
    let is_prefix = digits.len() == 8 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    (is_prefix && !own.is_empty()).then_some(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_of_a_name_is_found_among_many() {
        let mut images: Vec<PathBuf> =
            (0..5000).map(|index| PathBuf::from(format!("/d/{index:04}/rgb/000.png"))).collect();
        images.push("/d/7/x/000.png".into());
        images.push("/d/labels/y.png".into());
        let index = Index::new(&images);
        // 5000 names among 5000 images: comparing every name with every image would take 25 million comparisons.
        for (number, path) in images.iter().take(5000).enumerate() {
            let found = index.find(&format!("../data/{number:04}/rgb/000.png"), Path::new("/d")).unwrap();
            assert_eq!((&found.path, found.is_whole), (path, false));
            assert_eq!(found.base.as_deref(), Some(Path::new("/d")));
        }
        let find = |name: &str, folder: &str| index.find(name, Path::new(folder));
        assert_eq!(find("7/x/000.png", "/d").unwrap().path, Path::new("/d/7/x/000.png"));
        assert!(find("000.png", "/d").is_err_and(|error| error.contains("may be")));
        assert_eq!(find("000.png", "/d/0003").unwrap().path, Path::new("/d/0003/rgb/000.png"));
        assert_eq!(find("y.png", "/d/0003").unwrap().path, Path::new("/d/labels/y.png"));
        let missing = find("sub/z.png", "/d").unwrap();
        assert_eq!((missing.path.as_path(), missing.base), (Path::new("/d/z.png"), None));
    }
}
