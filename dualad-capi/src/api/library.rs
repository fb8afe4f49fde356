//! The version, and the text of errors.

use std::ffi::{CStr, c_char};

use crate::border::value;
use crate::last_error;

/// The version of the binary interface that this header describes. It is raised when a program that was built with an earlier header
/// would no longer work. New functions and new values of enumerations do not raise it.
pub const DUALAD_ABI_VERSION: u32 = 1;

const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => c"",
};

/// Returns the version of the library, such as `0.1.0`. The text is valid as long as the library is loaded.
#[unsafe(no_mangle)]
pub extern "C" fn dualad_version() -> *const c_char {
    VERSION.as_ptr()
}

/// Returns the version of the library's binary interface. A program that loads the library at run time compares it with
/// `DUALAD_ABI_VERSION` of its header.
#[unsafe(no_mangle)]
pub extern "C" fn dualad_abi_version() -> u32 {
    DUALAD_ABI_VERSION
}

/// Returns the text of the last error of this thread, or an empty text; never NULL. It names the value, file or field at fault and
/// says what to do.
///
/// The text is valid until the next error in this thread, or the end of the thread. A call without an error leaves it unchanged.
#[unsafe(no_mangle)]
pub extern "C" fn dualad_last_error_message() -> *const c_char {
    value(c"".as_ptr(), || Ok(last_error::get()))
}
