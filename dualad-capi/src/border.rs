//! The border between C and Rust: the one place where panics are caught and errors are kept.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::failure::Failure;
use crate::last_error;
use crate::status::DualadStatus;

/// Does the work of a function that returns a status.
pub(crate) fn call(work: impl FnOnce() -> Result<(), Failure>) -> DualadStatus {
    match caught(work) {
        Ok(()) => DualadStatus::Ok,
        Err(Failure { status, message }) => {
            last_error::set(message);
            status
        }
    }
}

/// Does the work of a function that returns a value, and `otherwise` if it fails.
pub(crate) fn value<T>(otherwise: T, work: impl FnOnce() -> Result<T, Failure>) -> T {
    caught(work).unwrap_or_else(|failure| {
        last_error::set(failure.message);
        otherwise
    })
}

fn caught<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    // What a panic may leave half done is dropped, or is replaced as a whole under its lock (detector.rs).
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let failure = Failure::panic(&*payload);
        // The destructor of a payload could panic, too.
        std::mem::forget(payload);
        Err(failure)
    })
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    use super::*;

    fn message() -> String {
        // SAFETY: The text is valid until the next error of this thread, and is copied before.
        unsafe { CStr::from_ptr(last_error::get()) }.to_str().unwrap().to_owned()
    }

    /// Panics as a function that C calls would.
    extern "C" fn panics(kind: i32) -> DualadStatus {
        struct Worse;
        impl Drop for Worse {
            fn drop(&mut self) {
                panic!("in a destructor");
            }
        }
        call(|| match kind {
            0 => panic!("a text"),
            1 => panic!("a number: {kind}"),
            _ => std::panic::panic_any(Worse),
        })
    }

    #[test]
    fn no_panic_crosses_the_border() {
        for (kind, text) in [(0, "a text"), (1, "a number: 1"), (2, "a panic")] {
            assert_eq!(panics(kind), DualadStatus::Internal);
            assert!(message().contains(text), "{}", message());
        }
        assert_eq!(value(7, || panic!("a value")), 7);
        assert!(message().contains("a value"));
    }

    #[test]
    fn each_thread_has_its_own_text() {
        let fails = |name: &str| call(|| Err(Failure::argument(name, "is \"wrong\"\0")));
        assert_eq!(fails("first"), DualadStatus::InvalidArgument);
        std::thread::spawn(move || {
            assert_eq!(message(), "");
            fails("second");
            assert_eq!(message(), "second is \"wrong\"\u{fffd}");
        })
        .join()
        .unwrap();
        assert_eq!(call(|| Ok(())), DualadStatus::Ok);
        assert_eq!(message(), "first is \"wrong\"\u{fffd}");
    }
}
