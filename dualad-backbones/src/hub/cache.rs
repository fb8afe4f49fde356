//! The layout of the hub's cache: content under `blobs`, names under `snapshots`, branches under `refs`.

use std::io::Read;
use std::path::{Path, PathBuf};

use dualad_store::{AtomicFile, open_file, write_atomically};
use hf_hub::{Cache, Repo, RepoType};

use crate::hub::client::Metadata;
use crate::hub::error::HubError;
use crate::hub::name::{is_commit, is_sha256};
use crate::hub_file::HubFile;

/// A file in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fetched {
    /// The file's path in the cache.
    pub path: PathBuf,
    /// The commit that its revision named.
    pub commit: String,
    /// The SHA-256 of the content when it was fetched, or `None` for a small file, for which the hub gives none.
    pub sha256: Option<String>,
}

/// The places of one file in the cache.
pub(super) struct CacheEntry<'a> {
    cache: &'a Path,
    repo: hf_hub::CacheRepo,
    folder: PathBuf,
    pub(super) file: &'a HubFile,
}

impl<'a> CacheEntry<'a> {
    pub(super) fn new(cache: &'a Path, file: &'a HubFile) -> Self {
        let repo = Repo::with_revision(file.repo.clone(), RepoType::Model, file.revision.clone());
        let folder = cache.join(repo.folder_name());
        Self { cache, repo: Cache::new(cache.into()).repo(repo), folder, file }
    }

    /// Returns the file if the cache has it for the revision (a branch that was fetched before, or a commit).
    pub(super) fn find(&self) -> Option<Fetched> {
        let commits = [read_line(&self.reference()), Some(self.file.revision.to_ascii_lowercase())];
        commits.into_iter().flatten().filter(|commit| is_commit(commit)).find_map(|commit| {
            let path = self.repo.pointer_path(&commit).join(&self.file.filename);
            // The snapshot is a link to a blob. A large file's blob is named by its SHA-256.
            let blob = path.is_file().then(|| std::fs::canonicalize(&path).ok()).flatten();
            let name = blob.as_ref().and_then(|blob| blob.file_name()?.to_str()).unwrap_or_default();
            let sha256 = is_sha256(name).then(|| name.to_owned());
            path.is_file().then_some(Fetched { path, commit, sha256 })
        })
    }

    fn reference(&self) -> PathBuf {
        self.folder.join("refs").join(&self.file.revision)
    }

    pub(super) fn blob(&self, metadata: &Metadata) -> PathBuf {
        self.folder.join("blobs").join(&metadata.etag)
    }

    pub(super) fn lock(&self, metadata: &Metadata) -> PathBuf {
        let folder = self.folder.file_name().unwrap_or_default();
        self.cache.join(".locks").join(folder).join(format!("{}.lock", metadata.etag))
    }

    /// Gives the content its name under the commit, then records that the revision names that commit.
    pub(super) fn publish(&self, metadata: &Metadata, blob: &Path) -> Result<Fetched, HubError> {
        let commit = metadata.commit.clone();
        let snapshot = self.repo.pointer_path(&commit);
        let path = snapshot.join(&self.file.filename);
        let at = |path: &Path| {
            let path = path.to_path_buf();
            move |error| HubError::Cache { path, error }
        };
        let parent = path.parent().unwrap_or(&snapshot);
        std::fs::create_dir_all(parent).map_err(at(parent))?;
        if !path.is_file() {
            link(blob, &path, &self.folder).map_err(at(&path))?;
        }
        let reference = self.reference();
        if reference.file_name().is_some_and(|_| !is_commit(&self.file.revision)) {
            let parent = reference.parent().unwrap_or(&self.folder);
            std::fs::create_dir_all(parent).map_err(at(parent))?;
            remove_obstacle(&reference).map_err(at(&reference))?;
            write_atomically(&reference, commit.as_bytes()).map_err(at(&reference))?;
        }
        Ok(Fetched { path, commit, sha256: metadata.sha256().map(str::to_owned) })
    }
}

/// Makes a relative link from a snapshot to its blob, as Python's client does; where links cannot be made, a copy.
fn link(blob: &Path, path: &Path, folder: &Path) -> std::io::Result<()> {
    let depth = path.parent().and_then(|parent| parent.strip_prefix(folder).ok()).map_or(0, |p| p.components().count());
    let mut target: PathBuf = std::iter::repeat_n("..", depth).collect();
    target.push("blobs");
    target.push(blob.file_name().unwrap_or_default());
    remove_obstacle(path)?;
    #[cfg(unix)]
    let linked = std::os::unix::fs::symlink(&target, path);
    #[cfg(windows)]
    let linked = std::os::windows::fs::symlink_file(&target, path);
    #[cfg(not(any(unix, windows)))]
    let linked: std::io::Result<()> = Err(std::io::ErrorKind::Unsupported.into());
    // Another process may have made it meanwhile.
    if linked.is_ok() || path.is_file() {
        return Ok(());
    }
    let mut copy = AtomicFile::create(path)?;
    std::io::copy(&mut std::fs::File::open(blob)?, &mut copy)?;
    copy.commit()
}

/// Removes a link whose target was deleted, a pipe or a device: they cannot be replaced.
fn remove_obstacle(path: &Path) -> std::io::Result<()> {
    match path.symlink_metadata() {
        Ok(found) if !path.is_file() && !found.is_dir() => std::fs::remove_file(path),
        _ => Ok(()),
    }
}

/// Returns the trimmed text of a regular file of at most 4096 bytes, or `None` if it is empty or cannot be read.
pub(super) fn read_line(path: &Path) -> Option<String> {
    let file = open_file(path).ok()?;
    let mut text = String::new();
    file.take(4096).read_to_string(&mut text).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
