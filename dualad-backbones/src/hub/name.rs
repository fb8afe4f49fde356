//! Checks of names that become paths and addresses.

use crate::hub::error::HubError;
use crate::hub_file::HubFile;

pub(crate) fn is_sha256(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

pub(crate) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Nothing that leads out of the cache or changes the request's path.
pub(crate) fn check_names(file: &HubFile) -> Result<(), HubError> {
    let plain = |part: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte);
        !part.is_empty() && part.len() <= 200 && part.bytes().all(allowed) && !part.bytes().all(|byte| byte == b'.')
    };
    let parts = |value: &str, limit: usize| value.split('/').count() <= limit && value.split('/').all(plain);
    let wrong = |what, value: &str| Err(HubError::Name { what, value: value.into(), file: file.to_string() });
    // The cache writes a repository's slash as two dashes; the hub has no names with such.
    if !parts(&file.repo, 2) || file.repo.contains("--") {
        return wrong("repository", &file.repo);
    }
    if !parts(&file.revision, 8) {
        return wrong("revision", &file.revision);
    }
    if !parts(&file.filename, 16) {
        return wrong("file name", &file.filename);
    }
    Ok(())
}
