//! Records of where weights come from.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The kind of source that a backbone's weights come from. In JSON it is its name: `file`, `bytes`, `hub`, `synthetic`, `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightsSource {
    /// A file.
    File,
    /// Bytes in memory.
    Bytes,
    /// A file on the Hugging Face hub.
    Hub,
    /// Values made by rule from a seed ([`crate::weights::synthetic`]).
    Synthetic,
    /// No source: the backbone has no weights, or nothing is recorded.
    // Earlier versions wrote an empty string where nothing was recorded.
    #[default]
    #[serde(alias = "")]
    None,
}

impl WeightsSource {
    /// Returns the name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Bytes => "bytes",
            Self::Hub => "hub",
            Self::Synthetic => "synthetic",
            Self::None => "none",
        }
    }
}

impl fmt::Display for WeightsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The record of where a backbone's weights come from. A saved model holds it, so that the same weights can be loaded again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Provenance {
    /// The kind of source.
    pub source: WeightsSource,
    /// The file's absolute path, `owner/name/file` on the hub, or `seed N` of synthetic weights; empty for the others.
    pub location: String,
    /// The commit on the hub, or `None` for other sources.
    pub revision: Option<String>,
    /// The SHA-256 of the whole file, in lower-case hexadecimal, or `None` where there is no file.
    pub sha256: Option<String>,
}

impl Provenance {
    pub(crate) fn new(source: WeightsSource, location: String) -> Self {
        Self { source, location, revision: None, sha256: None }
    }

    /// Sets the kind of source.
    #[must_use]
    pub fn with_source(mut self, source: WeightsSource) -> Self {
        self.source = source;
        self
    }

    /// Sets the location.
    #[must_use]
    pub fn with_location(mut self, location: impl Into<String>) -> Self {
        self.location = location.into();
        self
    }

    /// Sets the commit on the hub.
    #[must_use]
    pub fn with_revision(mut self, revision: Option<String>) -> Self {
        self.revision = revision;
        self
    }

    /// Sets the SHA-256.
    #[must_use]
    pub fn with_sha256(mut self, sha256: Option<String>) -> Self {
        self.sha256 = sha256;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_saved_models() {
        use WeightsSource::{Bytes, File, Hub, None, Synthetic};
        for source in [File, Bytes, Hub, Synthetic, None] {
            let json = format!("\"{source}\"");
            assert_eq!(serde_json::to_string(&source).unwrap(), json);
            assert_eq!(serde_json::from_str::<WeightsSource>(&json).unwrap(), source);
        }
        assert_eq!(serde_json::from_str::<WeightsSource>("\"\"").unwrap(), None);
        assert!(serde_json::from_str::<WeightsSource>("\"web\"").is_err());
    }
}
