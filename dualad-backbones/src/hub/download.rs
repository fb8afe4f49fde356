//! The download of one file's content into the cache, in several attempts if the connection breaks.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Instant;

use dualad_store::{rename, sha256_of_file};

use crate::hub::client::{Client, Metadata};
use crate::hub::error::HubError;
use crate::hub_file::HubFile;

/// The number of attempts in a row that receive less than [`MIN_BYTES`] before the download fails.
const MAX_FRUITLESS_ATTEMPTS: u32 = 3;

/// The bytes that must arrive within the client's timeout. A slower server counts as silent.
const MIN_BYTES: u64 = 16 << 10;

/// Returns whether the cache has the complete content. Content of another size or digest is removed.
pub(super) fn is_whole(blob: &Path, file: &HubFile, metadata: &Metadata) -> Result<bool, HubError> {
    let cache_error = |error| HubError::Cache { path: blob.into(), error };
    let Ok(found) = std::fs::metadata(blob) else { return Ok(false) };
    let sizes_agree = found.is_file() && found.len() == metadata.size;
    let agrees = |expected: &str| {
        let found = sha256_of_file(blob).map_err(cache_error)?;
        Ok(found.eq_ignore_ascii_case(expected))
    };
    for expected in [metadata.sha256(), file.sha256.as_deref()].into_iter().flatten() {
        if sizes_agree && !agrees(expected)? {
            std::fs::remove_file(blob).map_err(cache_error)?;
            return Ok(false);
        }
    }
    if !sizes_agree && found.is_file() {
        std::fs::remove_file(blob).map_err(cache_error)?;
    }
    Ok(sizes_agree)
}

/// Downloads the content into `<blob>.incomplete`, continues where an earlier attempt stopped, checks it, and renames it.
pub(super) fn download(
    client: &Client<'_>,
    file: &HubFile,
    metadata: &Metadata,
    blob: &Path,
    report: &dyn Fn(u64),
) -> Result<(), HubError> {
    let partial = blob.with_added_extension("incomplete");
    let cache_error = |error| HubError::Cache { path: partial.clone(), error };
    if let Some(folder) = blob.parent() {
        std::fs::create_dir_all(folder).map_err(cache_error)?;
    }
    let options = OpenOptions::new().create(true).append(true).read(true).clone();
    let mut target = options.open(&partial).map_err(cache_error)?;
    let mut received = target.metadata().map_err(cache_error)?.len();
    if received > metadata.size {
        target.set_len(0).map_err(cache_error)?;
        received = 0;
    }
    report(received);
    let (mut fruitless, mut most) = (0, received);
    while received < metadata.size {
        let result = append(client, file, metadata, &mut target, &mut received, report, &cache_error);
        if let Err(error) = result {
            // Another attempt helps only if the transfer broke. What the server refuses, it will refuse again.
            if !matches!(error, HubError::Unreachable { .. }) {
                return Err(error);
            }
            // Compared with the maximum so far: a server that restarts every attempt makes no progress.
            fruitless = if received >= most + MIN_BYTES { 0 } else { fruitless + 1 };
            most = most.max(received);
            if fruitless == MAX_FRUITLESS_ATTEMPTS {
                return Err(error);
            }
        }
    }
    target.sync_all().map_err(cache_error)?;
    drop(target);
    for expected in [metadata.sha256(), file.sha256.as_deref()].into_iter().flatten() {
        let found = sha256_of_file(&partial).map_err(cache_error)?;
        if !found.eq_ignore_ascii_case(expected) {
            std::fs::remove_file(&partial).map_err(cache_error)?;
            let (file, endpoint, expected) = (file.to_string(), client.endpoint.into(), expected.into());
            return Err(HubError::Sha256 { file, endpoint, expected, found });
        }
    }
    rename(&partial, blob).map_err(cache_error)
}

/// Appends the bytes of one request to `target`.
fn append(
    client: &Client<'_>,
    file: &HubFile,
    metadata: &Metadata,
    target: &mut File,
    received: &mut u64,
    report: &dyn Fn(u64),
    cache_error: &dyn Fn(std::io::Error) -> HubError,
) -> Result<(), HubError> {
    let (mut body, continued) = client.bytes(file, &metadata.commit, *received)?;
    if !continued {
        target.set_len(0).map_err(cache_error)?;
        target.seek(SeekFrom::Start(0)).map_err(cache_error)?;
        *received = 0;
    }
    let mut buffer = vec![0; 1 << 16];
    let mut window = (Instant::now(), *received);
    loop {
        let read = match body.read(&mut buffer) {
            Ok(0) if *received < metadata.size => {
                let reason =
                    format!("the connection ended after {received} of {} bytes, which are kept", metadata.size);
                return Err(client.unreachable(file, &reason));
            }
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) => return Err(client.unreachable(file, &error)),
        };
        if *received + read as u64 > metadata.size {
            let reason = format!("it sends more than the {} bytes it declared", metadata.size);
            return Err(client.protocol(file, reason));
        }
        target.write_all(&buffer[..read]).map_err(cache_error)?;
        *received += read as u64;
        report(*received);
        if window.0.elapsed() > client.timeout {
            if *received < metadata.size.min(window.1 + MIN_BYTES) {
                let reason = format!("only {} bytes in {:?}", *received - window.1, client.timeout);
                return Err(client.unreachable(file, &reason));
            }
            window = (Instant::now(), *received);
        }
    }
}
