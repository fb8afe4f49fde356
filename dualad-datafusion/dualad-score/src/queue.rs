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

/// The number of times that a unit is begun before its error ends the run.
const TRIES: usize = 5;

/// The most failures in a row for which a worker rests longer each time.
const MAX_RESTS: u32 = 30;

/// The time between two looks for work, or for a worker that does not answer.
const PAUSE: Duration = Duration::from_millis(100);
const SILENCE: Duration = Duration::from_secs(2);

/// The time after which a run ends if no worker answers.
const PATIENCE: Duration = Duration::from_secs(30);

/// A unit that is left.
#[derive(Debug)]
pub(crate) struct Job {
    number: usize,
    unit: Unit,
    /// The workers that failed at it and still answer, once for each time.
    failed: Vec<Url>,
    /// The number of workers that were lost at it.
    lost: usize,
}

impl Job {
    pub(crate) fn new(number: usize, unit: Unit) -> Self {
        Self { number, unit, failed: Vec::new(), lost: 0 }
    }
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
    places: Vec<Place>,
    state: Mutex<State>,
}

struct State {
    jobs: VecDeque<Job>,
    /// The number of units that are being scored.
    begun: usize,
    workers: Vec<Url>,
    /// The workers that do not answer, once for each of their places.
    silent: Vec<Url>,
    last_answer: Instant,
    error: Option<Error>,
}

impl State {
    fn new(jobs: Vec<Job>, workers: Vec<Url>) -> Self {
        Self { jobs: jobs.into(), begun: 0, workers, silent: Vec::new(), last_answer: Instant::now(), error: None }
    }

    /// Returns whether no unit is left, and none can come back.
    fn is_over(&self) -> bool {
        self.error.is_some() || (self.jobs.is_empty() && self.begun == 0)
    }

    /// Takes the next unit. One at which this worker has failed is left to the others, until all that answer have failed at it.
    fn take(&mut self, worker: Option<&Url>) -> Option<Job> {
        let is_new = |job: &Job| worker.is_none_or(|worker| !job.failed.contains(worker));
        let next = self.jobs.iter().position(|job| is_new(job) || self.has_failed_everywhere(job))?;
        self.begun += 1;
        self.jobs.remove(next)
    }

    fn has_failed_everywhere(&self, job: &Job) -> bool {
        self.workers.iter().all(|worker| job.failed.contains(worker) || self.silent.contains(worker))
    }

    /// Puts a unit back at which a worker has failed, or ends the run with the error.
    fn give_back(&mut self, mut job: Job, worker: &Url, answers: bool, error: Error) {
        self.begun -= 1;
        if answers {
            job.failed.push(worker.clone());
        } else {
            job.lost += 1;
        }
        if job.lost >= TRIES || (job.failed.len() >= TRIES && self.has_failed_everywhere(&job)) {
            self.error = Some(error);
        } else {
            self.jobs.push_front(job);
        }
    }
}

impl Queue {
    pub(crate) fn new(jobs: Vec<Job>, places: Vec<Place>, digest: &str) -> Arc<Self> {
        let workers = places.iter().filter_map(|place| place.worker.clone()).collect();
        Arc::new(Self { digest: digest.into(), places, state: Mutex::new(State::new(jobs, workers)) })
    }

    /// Scores all units. The first error ends the run, but for those that another worker, or another try, may not have.
    pub(crate) async fn run(self: Arc<Self>, run: &Arc<Run>) -> Result<()> {
        let mut tasks = tokio::task::JoinSet::new();
        for place in self.places.clone() {
            let (queue, run) = (self.clone(), run.clone());
            tasks.spawn(async move { queue.place(&run, &place).await });
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
    async fn place(&self, run: &Run, place: &Place) {
        let mut failures = 0;
        while !self.with(|state| state.is_over()) {
            let Some(job) = self.with(|state| state.take(place.worker.as_ref())) else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let done = run.unit(place, job.number, &job.unit).await;
            let (error, worker) = match (done, &place.worker) {
                (Ok(()), _) => {
                    failures = 0;
                    self.with(|state| {
                        state.begun -= 1;
                        state.last_answer = Instant::now();
                    });
                    continue;
                }
                (Err(error), Some(worker)) if error.may_pass() => (error, worker),
                (Err(error), _) => {
                    self.with(|state| {
                        state.begun -= 1;
                        state.error = Some(error);
                    });
                    continue;
                }
            };
            // It may have been started with another model meanwhile. The others go on.
            let silence = check(worker, &self.digest).await.err();
            let text = error.to_string();
            self.with(|state| state.give_back(job, worker, silence.is_none(), error));
            if let Some(reason) = silence {
                failures = 0;
                self.wait_for(worker, &reason).await;
                continue;
            }
            failures += 1;
            match failures {
                1 => note(&format!("{text}; it is tried again")),
                TRIES => note(&format!(
                    "the worker {} has failed {TRIES} times in a row; its further failures are not told",
                    worker.authority()
                )),
                _ => {}
            }
            self.rest(SILENCE * u32::try_from(failures).unwrap_or(MAX_RESTS).min(MAX_RESTS)).await;
        }
    }

    /// Waits for this time, or until the run is over.
    async fn rest(&self, time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time && !self.with(|state| state.is_over()) {
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until a worker answers, the run is over, or no worker has answered for a while.
    async fn wait_for(&self, worker: &Url, reason: &str) {
        note(&format!("{reason}; its part is given to another"));
        let places = self.places.len();
        let are_all = self.with(|state| {
            state.silent.push(worker.clone());
            state.silent.len() == places
        });
        if are_all {
            note(&format!("no worker answers; the run ends in {} s unless one is back", PATIENCE.as_secs()));
        }
        loop {
            self.with(|state| {
                if state.silent.len() == places && state.last_answer.elapsed() > PATIENCE {
                    state.error = Some(Error::message("no worker answers any more; start them, and use --resume"));
                }
            });
            self.rest(SILENCE).await;
            if self.with(|state| state.is_over()) || check(worker, &self.digest).await.is_ok() {
                break;
            }
        }
        self.with(|state| {
            if let Some(place) = state.silent.iter().position(|silent| silent == worker) {
                state.silent.remove(place);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(jobs: usize, workers: &[&Url]) -> State {
        let job = |number| Job::new(number, Unit { file: 0, groups: number..number + 1, rows: 1 });
        State::new((0..jobs).map(job).collect(), workers.iter().copied().cloned().collect())
    }

    fn number(job: Option<&Job>) -> Option<usize> {
        job.map(|job| job.number)
    }

    #[test]
    fn a_unit_at_which_a_worker_fails_is_left_to_the_others() -> std::result::Result<(), url::ParseError> {
        let (blind, other) = (Url::parse("http://a:1")?, Url::parse("http://b:1")?);
        let mut state = state(9, &[&blind, &other]);
        for unit in 0..9 {
            let job = state.take(Some(&blind));
            assert_eq!(number(job.as_ref()), Some(unit));
            state.give_back(job.unwrap(), &blind, true, Error::message("no file"));
        }
        assert!(state.take(Some(&blind)).is_none() && state.error.is_none());
        assert!(state.take(Some(&other)).is_some());
        // It is the only one that answers.
        state.silent.push(other);
        assert!(state.take(Some(&blind)).is_some());
        Ok(())
    }

    #[test]
    fn a_unit_that_fails_everywhere_or_ends_workers_ends_the_run() -> std::result::Result<(), url::ParseError> {
        let workers = [Url::parse("http://a:1")?, Url::parse("http://b:1")?];
        for answers in [true, false] {
            let mut state = state(9, &workers.each_ref());
            for turn in 0..TRIES {
                assert!(!state.is_over());
                let worker = &workers[turn % 2];
                let job = state.take(Some(worker)).unwrap();
                assert_eq!(job.number, 0);
                state.give_back(job, worker, answers, Error::message("broken"));
            }
            assert!(state.is_over() && state.error.is_some());
        }
        Ok(())
    }
}
