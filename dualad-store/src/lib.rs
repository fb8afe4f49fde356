//! Files on disk that survive a killed process, a full disk and a power failure.
//!
//! 1. [`write_atomically`] and [`AtomicFile`] replace one file: readers find the old content or the new one, never a part.
//! 2. [`Transaction`] changes several files of a folder together.
//! 3. [`FolderLock`] reserves a folder for one process and removes what killed processes left in it.
//! 4. [`sha256`] and [`sha256_of_file`] name content.
//! 5. [`printable`] makes names of files fit for messages.
//! 6. [`rename`], [`open_alone`] and [`is_file_at`] do the same on Unix and Windows.
//!
//! Every unfinished file and folder has a name that starts with [`UNFINISHED`].

mod atomic;
mod digest;
mod error;
mod lock;
mod system;
mod text;
mod transaction;

pub use atomic::{AtomicFile, UNFINISHED, is_unfinished, open_file, remove_unfinished, sync_folder, write_atomically};
pub use digest::{hex, sha256, sha256_of_file};
pub use error::{Error, Result};
pub use lock::FolderLock;
pub use system::{is_file_at, open_alone, rename};
pub use text::printable;
pub use transaction::{Transaction, exists, find, find_optional, read, recover};
