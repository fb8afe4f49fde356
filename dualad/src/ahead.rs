//! Work that is prepared while the work before it is done.

use crate::error::Result;

/// Calls `take` with the result of `make` for each item, in order. The next result is made meanwhile, on other threads of the pool: a
/// device that computes in `take` need not wait for files that are read in `make`. At most two results are in memory.
///
/// # Errors
/// The first error of `take` or `make`.
pub(crate) fn ahead<T: Sync, U: Send>(
    items: &[T],
    make: impl Fn(&T) -> Result<U> + Sync,
    mut take: impl FnMut(&T, U) -> Result<()> + Send,
) -> Result<()> {
    let mut made = items.first().map(&make).transpose()?;
    for (index, item) in items.iter().enumerate() {
        let Some(current) = made.take() else { break };
        let next = items.get(index + 1);
        let (taken, next) = rayon::join(|| take(item, current), || next.map(&make).transpose());
        taken?;
        made = next?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::error::Error;

    #[test]
    fn the_next_result_is_made_while_one_is_taken() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let (items, made, mut taken) = ([3, 1, 4, 1, 5], AtomicUsize::new(0), Vec::new());
        pool.install(|| {
            let make = |item: &usize| {
                made.fetch_add(1, Ordering::SeqCst);
                Ok(item * 10)
            };
            let take = |item: &usize, result: usize| {
                assert_eq!(result, item * 10);
                taken.push(*item);
                let next = (taken.len() + 1).min(items.len());
                let begun = Instant::now();
                while made.load(Ordering::SeqCst) < next {
                    assert!(begun.elapsed() < Duration::from_secs(60), "the next one is not made");
                    std::thread::yield_now();
                }
                // Not further.
                assert_eq!(made.load(Ordering::SeqCst), next);
                Ok(())
            };
            ahead(&items, make, take)
        })
        .unwrap();
        assert_eq!(taken, items);
    }

    #[test]
    fn one_thread_makes_and_takes_in_turn() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let mut sum = 0;
        let take = |_: &usize, result: usize| {
            sum += result;
            Ok(())
        };
        pool.install(|| ahead(&[1, 2, 3], |item| Ok(*item), take)).unwrap();
        assert_eq!(sum, 6);
        ahead(&[], |item: &usize| Ok(*item), |_, _| Ok(())).unwrap();
    }

    #[test]
    fn an_error_ends_the_work_after_what_was_made_before() {
        let fail = |item: usize, at: usize| if item == at { Err(Error::Cancelled) } else { Ok(item) };
        for (make_at, take_at, expected) in [(3, 9, 3), (9, 2, 3), (0, 9, 0), (3, 2, 3)] {
            let mut taken = 0;
            let take = |_: &usize, item: usize| {
                taken += 1;
                fail(item, take_at).map(drop)
            };
            let result = ahead(&[0, 1, 2, 3, 4], |&item| fail(item, make_at), take);
            assert!(matches!(result, Err(Error::Cancelled)));
            assert_eq!(taken, expected);
        }
    }
}
