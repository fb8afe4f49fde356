//! Checks of names that become paths and addresses.

use crate::hub::error::HubError;
use crate::hub_file::HubFile;

/// Returns whether the text is a SHA-256 in hexadecimal.
pub(crate) fn is_sha256(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns whether the revision is a commit, not a branch or a tag.
pub(crate) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Checks that no name leads out of the cache or changes the request's path.
pub(crate) fn check_names(file: &HubFile) -> Result<(), HubError> {
    let plain = |part: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte);
        !part.is_empty() && part.len() <= 200 && part.bytes().all(allowed) && !part.bytes().all(|byte| byte == b'.')
    };
    let parts = |value: &str, limit: usize| value.split('/').count() <= limit && value.split('/').all(plain);
    let invalid = |part, value: &str| Err(HubError::Name { part, value: value.into(), file: file.to_string() });
    // The cache writes a repository's slash as two dashes. Names on the hub have no two dashes in a row.
    if !parts(&file.repo, 2) || file.repo.contains("--") {
        return invalid("repository", &file.repo);
    }
    if !parts(&file.revision, 8) {
        return invalid("revision", &file.revision);
    }
    if !parts(&file.filename, 16) {
        return invalid("file name", &file.filename);
    }
    Ok(())
}
