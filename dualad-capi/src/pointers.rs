//! Conversions of the pointers that C passes. Each checks what can be checked.

use std::ffi::{CStr, c_char};
use std::mem::MaybeUninit;
use std::path::Path;

use crate::failure::Failure;

/// Returns the text at a pointer; `None` for NULL.
///
/// # Safety
/// The pointer is NULL, or points to text that ends with a zero byte and that nobody changes during `'a`.
pub(crate) unsafe fn optional_text<'a>(pointer: *const c_char, name: &str) -> Result<Option<&'a str>, Failure> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: It is not NULL, and the caller answers for the rest.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str().map(Some).map_err(|error| {
        let at = error.valid_up_to();
        Failure::argument(name, format_args!("is not UTF-8 text: its byte number {at}, counted from 0, is wrong"))
    })
}

/// Returns the path at a pointer.
///
/// # Safety
/// As [`optional_text`].
pub(crate) unsafe fn path<'a>(pointer: *const c_char, name: &str) -> Result<&'a Path, Failure> {
    // SAFETY: The caller answers for it.
    match unsafe { optional_text(pointer, name) }? {
        None => Err(null(name)),
        // It would be the current folder.
        Some("") => Err(Failure::argument(name, "is empty; give a path")),
        Some(text) => Ok(Path::new(text)),
    }
}

/// Returns the values at a pointer; `None` for NULL.
///
/// # Safety
/// The pointer is NULL, or points to `length` values that nobody changes during `'a`.
pub(crate) unsafe fn optional_bytes<'a>(
    pointer: *const u8,
    length: usize,
    name: &str,
) -> Result<Option<&'a [u8]>, Failure> {
    if pointer.is_null() {
        return match length {
            0 => Ok(None),
            _ => Err(Failure::argument(name, format_args!("is NULL, and its length is {length}"))),
        };
    }
    if isize::try_from(length).is_err() {
        return Err(Failure::argument(name, format_args!("cannot have {length} bytes; no memory is so large")));
    }
    // SAFETY: It is neither NULL nor too long, bytes have no alignment, and the caller answers for the rest.
    Ok(Some(unsafe { std::slice::from_raw_parts(pointer, length) }))
}

/// Returns the values at a pointer.
///
/// # Safety
/// As [`optional_bytes`].
pub(crate) unsafe fn bytes<'a>(pointer: *const u8, length: usize, name: &str) -> Result<&'a [u8], Failure> {
    // SAFETY: The caller answers for it.
    unsafe { optional_bytes(pointer, length, name) }?.ok_or_else(|| null(name))
}

/// Returns the caller's array of `length` values, which may be uninitialized.
///
/// # Safety
/// The pointer is NULL, or points to memory for `length` values that nobody else uses during `'a`.
pub(crate) unsafe fn array<'a, T>(
    pointer: *mut T,
    length: usize,
    name: &str,
) -> Result<&'a mut [MaybeUninit<T>], Failure> {
    check(pointer, name)?;
    if length.checked_mul(size_of::<T>()).is_none_or(|bytes| isize::try_from(bytes).is_err()) {
        return Err(Failure::argument(name, format_args!("cannot have {length} values; no memory is so large")));
    }
    // SAFETY: It is not NULL, aligned and not too long, `MaybeUninit` allows any content, and the caller answers for the rest.
    Ok(unsafe { std::slice::from_raw_parts_mut(pointer.cast(), length) })
}

/// Returns the object at a pointer.
///
/// # Safety
/// The pointer is NULL, or points to an object that lives during `'a` and that nobody changes meanwhile.
pub(crate) unsafe fn object<'a, T>(pointer: *const T, name: &str) -> Result<&'a T, Failure> {
    check(pointer, name)?;
    // SAFETY: It is not NULL and aligned, and the caller answers for the rest.
    Ok(unsafe { &*pointer })
}

/// Returns the object at a pointer, to change it.
///
/// # Safety
/// The pointer is NULL, or points to an object that lives during `'a` and that nobody else uses meanwhile.
pub(crate) unsafe fn object_mut<'a, T>(pointer: *mut T, name: &str) -> Result<&'a mut T, Failure> {
    check(pointer, name)?;
    // SAFETY: It is not NULL and aligned, and the caller answers for the rest.
    Ok(unsafe { &mut *pointer })
}

/// Returns the caller's variable for a result, which may be uninitialized.
///
/// # Safety
/// The pointer is NULL, or points to memory for a `T` that nobody else uses during `'a`.
pub(crate) unsafe fn result<'a, T>(pointer: *mut T, name: &str) -> Result<&'a mut MaybeUninit<T>, Failure> {
    check(pointer, name)?;
    // SAFETY: It is not NULL and aligned, `MaybeUninit` allows any content, and the caller answers for the rest.
    Ok(unsafe { &mut *pointer.cast() })
}

/// Moves an object to the heap. [`free`] takes it back.
pub(crate) fn give<T>(object: T) -> *mut T {
    Box::into_raw(Box::new(object))
}

/// Frees an object; NULL is nothing to free.
///
/// # Safety
/// The pointer is NULL, or one of [`give`] that was not freed and that nobody uses.
pub(crate) unsafe fn free<T>(pointer: *mut T) {
    if !pointer.is_null() {
        // SAFETY: The caller answers for it.
        drop(unsafe { Box::from_raw(pointer) });
    }
}

fn check<T>(pointer: *const T, name: &str) -> Result<(), Failure> {
    if pointer.is_null() {
        return Err(null(name));
    }
    if !pointer.is_aligned() {
        let reason = format_args!("is not aligned to {} bytes; give a variable's own address", align_of::<T>());
        return Err(Failure::argument(name, reason));
    }
    Ok(())
}

fn null(name: &str) -> Failure {
    Failure::argument(name, "is NULL")
}
