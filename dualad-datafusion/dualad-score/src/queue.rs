//! The units that are left, and the places that take them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use datafusion::prelude::SessionContext;
use url::Url;

use crate::cluster::check;
use crate::error::{Error, Result};
use crate::progress::note;
use crate::score::Run;
use crate::unit::Unit;

/// The number of times that a unit is begun.
const TRIES: usize = 5;

/// The time between two looks for work, or for a worker that does not answer.
const PAUSE: Duration = Duration::from_millis(100);
const SILENCE: Duration = Duration::from_secs(2);

/// The time after which a run ends if no worker answers.
const PATIENCE: Duration = Duration::from_secs(30);

/// A unit that is left.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) number: usize,
    pub(crate) unit: Unit,
    pub(crate) tries: usize,
}

/// A place that scores one unit at a time: a thread of this process, or a share of a worker.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) context: SessionContext,
    pub(crate) worker: Option<Url>,
}

/// The units that are left. A place that is free takes the next one, so slow places take fewer.
pub(crate) struct Queue {
    digest: String,
    state: Mutex<State>,
}

struct State {
    jobs: VecDeque<Job>,
    /// The number of units that are being scored.
    begun: usize,
    /// The number of places whose worker does not answer.
    silent: usize,
    last_answer: Instant,
    error: Option<Error>,
}

impl Queue {
    pub(crate) fn new(jobs: Vec<Job>, digest: &str) -> Arc<Self> {
        let state = State { jobs: jobs.into(), begun: 0, silent: 0, last_answer: Instant::now(), error: None };
        Arc::new(Self { digest: digest.into(), state: Mutex::new(state) })
    }

    /// Scores all units. The first error ends the run, but for those of workers that do not answer.
    pub(crate) async fn run(self: Arc<Self>, run: &Arc<Run>, places: Vec<Place>) -> Result<()> {
        let count = places.len();
        let mut tasks = tokio::task::JoinSet::new();
        for place in places {
            let (queue, run) = (self.clone(), run.clone());
            tasks.spawn(async move { queue.place(&run, &place, count).await });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(|error| Error::message(format!("a part failed: {error}")))?;
            if let Some(error) = self.with(|state| state.error.take()) {
                return Err(error);
            }
        }
        Ok(())
    }

    fn with<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        // No code that holds the lock can panic halfway through a change.
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes units until none is left and none can come back.
    async fn place(&self, run: &Run, place: &Place, places: usize) {
        loop {
            let (job, is_over) = self.with(|state| {
                let is_over = state.error.is_some() || (state.jobs.is_empty() && state.begun == 0);
                let job = if is_over { None } else { state.jobs.pop_front() };
                state.begun += usize::from(job.is_some());
                (job, is_over)
            });
            if is_over {
                return;
            }
            let Some(job) = job else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let done = run.unit(place, job.number, &job.unit).await;
            let failed = self.with(|state| {
                state.begun -= 1;
                match done {
                    Ok(()) => {
                        state.last_answer = Instant::now();
                        None
                    }
                    Err(error) if place.worker.is_some() && error.may_pass() && job.tries + 1 < TRIES => {
                        state.jobs.push_front(Job { tries: job.tries + 1, ..job });
                        Some(error)
                    }
                    Err(error) => {
                        state.error = Some(error);
                        None
                    }
                }
            });
            if let (Some(error), Some(worker)) = (failed, &place.worker) {
                self.wait_for(worker, places, &error).await;
            }
        }
    }

    /// Waits until a worker answers whose part has failed, the run is over, or no worker has answered for a while.
    async fn wait_for(&self, worker: &Url, places: usize, error: &Error) {
        let mut is_known = false;
        loop {
            // It may have been started with another model meanwhile. The others go on.
            let Err(reason) = check(worker, &self.digest).await else {
                if !is_known {
                    note(&format!("{error}; it is tried again"));
                    // Another worker may take the part meanwhile.
                    tokio::time::sleep(SILENCE).await;
                }
                break;
            };
            if !std::mem::replace(&mut is_known, true) {
                note(&format!("{reason}; its part is given to another"));
                let are_all = self.with(|state| {
                    state.silent += 1;
                    state.silent == places
                });
                if are_all {
                    note(&format!("no worker answers; the run ends in {} s unless one is back", PATIENCE.as_secs()));
                }
            }
            let is_over = self.with(|state| {
                if state.silent == places && state.last_answer.elapsed() > PATIENCE {
                    state.error = Some(Error::message("no worker answers any more; start them, and use --resume"));
                }
                state.error.is_some() || (state.jobs.is_empty() && state.begun == 0)
            });
            if is_over {
                break;
            }
            tokio::time::sleep(SILENCE).await;
        }
        if is_known {
            self.with(|state| state.silent -= 1);
        }
    }
}
