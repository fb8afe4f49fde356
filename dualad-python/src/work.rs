//! Work on a thread of its own, while the caller's thread waits for it without the interpreter's lock, calls the progress function,
//! and looks for signals.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dualad::Error;
use dualad::data::Cancel;
use pyo3::prelude::*;

use crate::errors;
use crate::fork::{self, Call, Fault};
use crate::progress::Step;

/// The time between two looks for a signal such as Ctrl-C.
const POLL: Duration = Duration::from_millis(50);

/// The time for work to end after it is cancelled. Work that does not is left behind and ends by itself.
const GRACE: Duration = Duration::from_millis(400);

/// The number of works that were left behind and have not ended.
static LEFT_BEHIND: AtomicU64 = AtomicU64::new(0);

/// The state of work: it runs, it was left behind, or it has ended.
const RUNS: u8 = 0;
const IS_LEFT: u8 = 1;
const HAS_ENDED: u8 = 2;

enum Message<T> {
    Progress(Step),
    Done(std::thread::Result<Result<T, Fault>>),
}

/// The function that reports progress.
pub(crate) type Report = Box<dyn Fn(Step) + Send + Sync>;

/// The connection of work to its caller.
pub(crate) struct Caller {
    pub(crate) cancel: Cancel,
    report: Report,
}

impl Caller {
    /// Reports progress.
    pub(crate) fn report(&self, step: Step) {
        (self.report)(step);
    }

    /// Returns the function that reports progress.
    pub(crate) fn into_report(self) -> Report {
        self.report
    }
}

/// Runs `work`, and calls `progress` with each of its steps on the caller's thread.
///
/// An exception of `progress`, or of a signal's handler, cancels the work and is raised.
pub(crate) fn run<T: Send + 'static>(
    py: Python<'_>,
    progress: Option<&Bound<'_, PyAny>>,
    work: impl FnOnce(Caller) -> T + Send + 'static,
) -> PyResult<T> {
    let call = Call::begin().map_err(|fault| errors::from_fault(py, &fault))?;
    let (sender, receiver) = channel::<Message<T>>();
    let cancel = Cancel::default();
    let caller = Caller { cancel: cancel.clone(), report: reporter(sender.clone()) };
    let state = Arc::new(AtomicU8::new(RUNS));
    let own_state = state.clone();
    let body = move || {
        let result = catch_unwind(AssertUnwindSafe(|| fork::in_pool(|| work(caller))));
        if own_state.swap(HAS_ENDED, Ordering::AcqRel) == IS_LEFT {
            LEFT_BEHIND.fetch_sub(1, Ordering::AcqRel);
        }
        // Before the caller goes on: it may fork.
        drop(call);
        // The caller may have gone.
        let _ = sender.send(Message::Done(result));
    };
    std::thread::Builder::new().name("dualad-call".into()).spawn(body).map_err(|error| {
        errors::exception(py, "DeviceError", &format!("a thread cannot be started: {error}; too many may be running"))
    })?;
    let receiver = Mutex::new(receiver);
    let mut failed: Option<(PyErr, Instant)> = None;
    loop {
        let message = py.detach(|| match receiver.lock() {
            Ok(receiver) => receiver.recv_timeout(POLL),
            Err(_) => Err(RecvTimeoutError::Disconnected),
        });
        let outcome = match message {
            Ok(Message::Progress(step)) => match progress {
                Some(progress) if failed.is_none() => progress.call1(step.into_pyobject(py)?).map(drop),
                _ => Ok(()),
            },
            Ok(Message::Done(result)) => {
                return match (failed, result) {
                    (Some((error, _)), _) => Err(error),
                    (None, Ok(Ok(value))) => Ok(value),
                    (None, Ok(Err(fault))) => Err(errors::from_fault(py, &fault)),
                    (None, Err(panic)) => Err(errors::from_panic(py, &*panic)),
                };
            }
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => return Err(errors::internal("a thread ended without a result")),
        };
        if failed.is_none()
            && let Err(error) = outcome.and_then(|()| py.check_signals())
        {
            cancel.cancel();
            failed = Some((error, Instant::now() + GRACE));
        }
        if failed.as_ref().is_some_and(|(_, end)| Instant::now() > *end)
            && let Some((error, _)) = failed.take()
        {
            LEFT_BEHIND.fetch_add(1, Ordering::AcqRel);
            if state.swap(IS_LEFT, Ordering::AcqRel) == HAS_ENDED {
                LEFT_BEHIND.fetch_sub(1, Ordering::AcqRel);
            }
            return Err(error);
        }
    }
}

fn reporter<T: Send + 'static>(sender: Sender<Message<T>>) -> Report {
    // The channel has no bound: work never waits for a caller that may wait for the same threads.
    Box::new(move |step| {
        let _ = sender.send(Message::Progress(step));
    })
}

/// Runs `work` that can fail, as [`run`] does.
pub(crate) fn try_run<T: Send + 'static>(
    py: Python<'_>,
    progress: Option<&Bound<'_, PyAny>>,
    work: impl FnOnce(Caller) -> Result<T, Error> + Send + 'static,
) -> PyResult<T> {
    run(py, progress, work)?.map_err(|error| errors::from_error(py, &error))
}

/// Waits until all work that was left behind has ended, at most this many seconds. Returns false if some has not.
#[pyfunction]
pub(crate) fn wait(py: Python<'_>, seconds: f64) -> PyResult<bool> {
    let end =
        Instant::now() + Duration::try_from_secs_f64(seconds).unwrap_or_default().min(Duration::from_secs(86_400));
    // A child of a fork has none of its parent's.
    while fork::is_own_process() && LEFT_BEHIND.load(Ordering::Acquire) > 0 {
        if Instant::now() >= end {
            return Ok(false);
        }
        py.detach(|| std::thread::sleep(Duration::from_millis(5)));
        py.check_signals()?;
    }
    Ok(true)
}
