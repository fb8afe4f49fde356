//! The result of a function.

/// The result of a function, by the part of the system that is at fault.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DualadStatus {
    /// The function has done its work.
    Ok = 0,
    /// An argument is NULL, not UTF-8, out of its range, or does not match the others.
    InvalidArgument = 1,
    /// An image cannot be decoded, or exceeds the limits.
    Image = 2,
    /// A file of the model cannot be used: damaged, of another version, or of another model.
    Model = 3,
    /// Computed values overflowed.
    Numeric = 4,
    /// The operating system refused something: a file cannot be read, or there is no memory.
    System = 5,
    /// The device that computes failed.
    Device = 6,
    /// The work was cancelled.
    Cancelled = 7,
    /// An error inside the library. Please report it with its text.
    Internal = 8,
}
