//! The download of one file into the cache, at most once at a time.

use std::time::{Duration, Instant};

use crate::hub::cache::{CacheEntry, Fetched};
use crate::hub::client::{Client, Metadata};
use crate::hub::config::Hub;
use crate::hub::download;
use crate::hub::error::HubError;
use crate::hub::name::check_names;
use crate::hub::progress::Progress;
use crate::hub_file::HubFile;

impl Hub {
    /// Returns the file in the cache, and downloads it first if it is not there.
    ///
    /// If the cache has the file for the revision, the server is not asked. So a branch that has moved is not noticed: name a
    /// commit to be sure of the content.
    ///
    /// # Errors
    /// Any [`HubError`]. The cache never holds a partial file under its final name.
    pub fn fetch(&self, file: &HubFile) -> Result<Fetched, HubError> {
        check_names(file)?;
        let entry = CacheEntry::new(&self.cache, file);
        if let Some(fetched) = entry.find() {
            return Ok(fetched);
        }
        if self.offline {
            return Err(HubError::Offline { file: file.to_string(), cache: self.cache.clone() });
        }
        let client = Client::new(&self.endpoint, self.token.as_deref(), self.timeout)?;
        let metadata = client.metadata(file)?;
        if metadata.size > self.max_bytes {
            return Err(HubError::TooLarge { file: file.to_string(), size: metadata.size, limit: self.max_bytes });
        }
        let _lock = self.lock(&entry, &metadata)?;
        let blob = entry.blob(&metadata);
        if !download::is_whole(&blob, file, &metadata)? {
            let report = |received| {
                if let Some(callback) = &self.progress {
                    callback(Progress { file, received, total: metadata.size });
                }
            };
            download::download(&client, file, &metadata, &blob, &report)?;
        }
        entry.publish(&metadata, &blob)
    }

    /// Takes the lock of the content; waits while another process holds it. Dropping the file releases it.
    fn lock(&self, entry: &CacheEntry<'_>, metadata: &Metadata) -> Result<std::fs::File, HubError> {
        let path = entry.lock(metadata);
        let cache_error = |error| HubError::Cache { path: path.clone(), error };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(cache_error)?;
        }
        let file = std::fs::OpenOptions::new().create(true).write(true).truncate(false).open(&path);
        let file = file.map_err(cache_error)?;
        let started = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(std::fs::TryLockError::WouldBlock) if started.elapsed() < self.lock_timeout => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(std::fs::TryLockError::WouldBlock) => {
                    let waited = started.elapsed();
                    return Err(HubError::Locked { file: entry.file.to_string(), lock: path, waited });
                }
                Err(std::fs::TryLockError::Error(error)) => return Err(cache_error(error)),
            }
        }
    }
}
