// SPDX-License-Identifier: Apache-2.0
//! Work that a full node has much of, shared by two threads. No more than that, for the node has other work.

use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};

/// Into how many parts it is cut, so that both threads end at about the same time.
const PARTS: usize = 16;

/// What `of` makes of each part of `all`, in their order. The last part is begun first.
pub fn in_parts<T: Sync, R: Send>(all: &[T], of: impl Fn(&[T]) -> R + Sync) -> Vec<R> {
    if all.len() <= PARTS {
        return vec![of(all)];
    }
    let parts = Mutex::new(all.chunks(all.len().div_ceil(PARTS)).enumerate().rev());
    let next = || parts.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || std::iter::from_fn(next).map(|(number, part)| (number, of(part))).collect::<Vec<_>>();
    let mut made = std::thread::scope(|scope| {
        let other = scope.spawn(work);
        let own = work();
        [own, other.join().unwrap_or_else(|panic| resume_unwind(panic))]
    })
    .into_iter()
    .flatten()
    .collect::<Vec<_>>();
    made.sort_unstable_by_key(|(number, _)| *number);
    made.into_iter().map(|(_, made)| made).collect()
}
