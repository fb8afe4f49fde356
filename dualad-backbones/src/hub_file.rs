//! Names of files on the Hugging Face hub.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A file on the Hugging Face hub.
///
/// ```
/// use dualad_backbones::{Backbone, HubFile};
///
/// let file = HubFile::new("timm/resnet18.tv_in1k");
/// assert_eq!(Backbone::ResNet18.hub_file(), Some(file.clone()));
/// let other = file.revision("v1.0").filename("weights/best.safetensors");
/// assert_eq!(other.to_string(), "timm/resnet18.tv_in1k@v1.0/weights/best.safetensors");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HubFile {
    /// The model repository, `owner/name`.
    pub repo: String,
    /// A branch, a tag or a commit. Only a commit names the same content forever.
    pub revision: String,
    /// The file's path inside the repository.
    pub filename: String,
    /// The SHA-256 that the file must have, in lower-case hexadecimal, or `None` to accept any content.
    pub sha256: Option<String>,
}

impl HubFile {
    /// Names `model.safetensors` on the branch `main` of a repository.
    pub fn new(repo: impl Into<String>) -> Self {
        Self { repo: repo.into(), revision: "main".into(), filename: "model.safetensors".into(), sha256: None }
    }

    /// Sets the branch, tag or commit.
    #[must_use]
    pub fn revision(mut self, revision: impl Into<String>) -> Self {
        self.revision = revision.into();
        self
    }

    /// Sets the file's path inside the repository.
    #[must_use]
    pub fn filename(mut self, filename: impl Into<String>) -> Self {
        self.filename = filename.into();
        self
    }

    /// Sets the SHA-256 that the file must have (hexadecimal).
    #[must_use]
    pub fn sha256(mut self, hex: impl Into<String>) -> Self {
        self.sha256 = Some(hex.into().to_ascii_lowercase());
        self
    }
}

impl fmt::Display for HubFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}/{}", self.repo, self.revision, self.filename)
    }
}
