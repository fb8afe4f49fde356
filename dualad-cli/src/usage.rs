//! The results of the program's parts, and the error of flags that do not go together.

use std::error::Error;
use std::fmt::{self, Display, Formatter};

/// The result of a program: any error, which becomes one line.
pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Flags that do not go together, where it takes more than the command line to tell. The program ends with status 2.
#[derive(Debug)]
pub(crate) struct UsageError(pub(crate) String);

impl Display for UsageError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for UsageError {}
