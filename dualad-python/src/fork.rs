//! The state of the process after a fork.
//!
//! A child has only the thread that forked. The threads of a pool that the parent has used are gone, and a lock that another
//! thread held stays locked. So a child of a process that has computed gets a new pool, and a child of a process in which a
//! call was running refuses to compute.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

/// The process that computed last, in the upper half, and the number of its calls that are running, in the lower half. Zero
/// before the first call. A child inherits the value of the moment of the fork.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// True in a process whose parent, or an ancestor, has computed.
static IS_CHILD: AtomicBool = AtomicBool::new(false);

/// The pool of a child, with its process. Pools of ancestors are never dropped: their threads do not exist here.
static POOL: Mutex<Option<(u32, &'static ThreadPool)>> = Mutex::new(None);

/// A fault that only a fork can cause.
#[derive(Debug)]
pub(crate) enum Fault {
    /// A call was running in another thread of the parent.
    Busy,
    /// The threads of the child cannot be started.
    NoThreads(String),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Busy => f.write_str(
                "this process was forked while another thread of its parent was using dualad, and locks of that moment stay \
                 locked; fork while nothing is computed, or start processes with the method \"spawn\" or \"forkserver\"",
            ),
            Self::NoThreads(reason) => write!(f, "the threads of the forked process cannot be started: {reason}"),
        }
    }
}

/// A running call. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Call(());

impl Call {
    /// Begins a call.
    ///
    /// # Errors
    /// [`Fault::Busy`] in a child that was forked while a call was running.
    pub(crate) fn begin() -> Result<Self, Fault> {
        let own = u64::from(std::process::id()) << 32;
        let mut state = CALLS.load(Ordering::Acquire);
        loop {
            let (process, running) = (state & !u64::from(u32::MAX), state & u64::from(u32::MAX));
            let inherited = process != own && state != 0;
            if inherited && running > 0 {
                return Err(Fault::Busy);
            }
            let next = if process == own { state + 1 } else { own + 1 };
            if inherited {
                IS_CHILD.store(true, Ordering::Release);
            }
            match CALLS.compare_exchange_weak(state, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(Self(())),
                Err(found) => state = found,
            }
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        CALLS.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Returns whether the last call was in this process, and not in an ancestor.
pub(crate) fn is_own_process() -> bool {
    CALLS.load(Ordering::Acquire) >> 32 == u64::from(std::process::id())
}

/// Runs `work` in the global pool of rayon, or in a child of a process that has computed, in a pool of its own.
///
/// # Errors
/// [`Fault::NoThreads`].
pub(crate) fn in_pool<R: Send>(work: impl FnOnce() -> R + Send) -> Result<R, Fault> {
    if !IS_CHILD.load(Ordering::Acquire) {
        return Ok(work());
    }
    let pool = {
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        match *pool {
            Some((process, pool)) if process == std::process::id() => pool,
            _ => {
                let built = ThreadPoolBuilder::new().thread_name(|index| format!("dualad-child-{index}")).build();
                let built = built.map_err(|error| Fault::NoThreads(error.to_string()))?;
                let leaked: &'static ThreadPool = Box::leak(Box::new(built));
                *pool = Some((std::process::id(), leaked));
                leaked
            }
        }
    };
    Ok(pool.install(work))
}
