//! The pauses between the tries of something that fails, such as writing to a full disk. They grow.

use std::time::{Duration, Instant};

/// The pause after the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Retry(Option<Failing>);

#[derive(Debug, Clone, Copy)]
struct Failing {
    due: Instant,
    pause: Duration,
}

impl Retry {
    /// Returns whether it is time to try.
    pub(super) fn is_due(&self) -> bool {
        self.0.is_none_or(|failing| Instant::now() >= failing.due)
    }

    /// Notes a failure. Returns true for the first one since it went well. The pause grows with each try that was due.
    pub(super) fn fails(&mut self) -> bool {
        let pause = match self.0 {
            Some(failing) if Instant::now() < failing.due => return false,
            Some(failing) => (failing.pause * 2).min(LONGEST),
            None => FIRST,
        };
        self.0.replace(Failing { due: Instant::now() + pause, pause }).is_none()
    }

    /// Notes that it went well. Returns true if it had failed before.
    pub(super) fn succeeds(&mut self) -> bool {
        self.0.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_the_first_failure_is_told_apart() {
        let mut retry = Retry::default();
        assert!(retry.is_due() && !retry.succeeds());
        assert!(retry.fails() && !retry.is_due() && !retry.fails());
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let failing = retry.0.as_mut().unwrap();
            pauses.push(failing.pause.as_secs());
            failing.due = Instant::now();
            assert!(retry.is_due() && !retry.fails());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert!(retry.succeeds() && retry.is_due() && retry.fails());
    }
}
