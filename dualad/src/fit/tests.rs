use crate::fit::{Fit, PreparedFit, RunFolder};

/// A program with a user interface runs a fit on a thread of its own.
#[test]
fn a_fit_can_move_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<Fit>();
    is_send::<RunFolder>();
    is_send::<PreparedFit>();
}

/// A run can be moved to another thread.
#[test]
fn a_fit_is_send() {
    fn is_send<T: Send>() {}
    is_send::<Fit>();
}
