//! The same for many things, some of them at once.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::Result;

/// Does it for each, so many at once; results in order.
pub(crate) fn side_by_side<T: Send, R: Send>(
    all: impl IntoIterator<Item = T>,
    at_once: usize,
    work: impl Fn(T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let queue: Mutex<VecDeque<(usize, T)>> = Mutex::new(all.into_iter().enumerate().collect());
    let results = Mutex::new(Vec::new());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let worker = || {
        while let Some((number, item)) = next() {
            let result = work(item);
            results.lock().unwrap_or_else(PoisonError::into_inner).push((number, result));
        }
    };
    thread::scope(|scope| {
        for _ in 0..at_once.max(1) {
            scope.spawn(worker);
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::side_by_side;

    #[test]
    fn they_run_at_once_and_results_are_in_order() {
        // Neither of two would end alone.
        let both = Barrier::new(2);
        let results = side_by_side(0..4, 2, |number| {
            both.wait();
            Ok(number * 10)
        });
        assert_eq!(results.unwrap(), [0, 10, 20, 30]);
        assert_eq!(side_by_side([1], 0, Ok).unwrap(), [1], "one at a time is the least");
    }
}
