// SPDX-License-Identifier: Apache-2.0
//! A tug of war: another program undoes each fix, and both would go on for ever.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

/// After so many fixes within the time below, no more are made.
const TIMES: usize = 3;
const WITHIN: Duration = Duration::from_secs(10);

/// What was fixed when, and what is no longer fixed.
#[derive(Debug, Default)]
pub struct Tug {
    fixed: BTreeMap<String, VecDeque<Instant>>,
    left: BTreeSet<String>,
}

impl Tug {
    /// Notes a fix. True if it was one too many: from now on it is not fixed.
    pub fn fixed(&mut self, what: &str, now: Instant) -> bool {
        let recent =
            |at: &VecDeque<Instant>| at.back().is_some_and(|last| now.duration_since(*last) < WITHIN);
        self.fixed.retain(|_, at| recent(at));
        let times = self.fixed.entry(what.to_string()).or_default();
        times.push_back(now);
        times.retain(|at| now.duration_since(*at) < WITHIN);
        // The first fix does not count: nobody undid a fix before it.
        times.len() > TIMES && self.left.insert(what.to_string())
    }

    pub fn is_left(&self, what: &str) -> bool {
        self.left.contains(what)
    }

    pub fn left(&self) -> &BTreeSet<String> {
        &self.left
    }

    /// Fixes everything again, after a reload of the service.
    pub fn forget(&mut self) {
        *self = Tug::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_times_set_back_in_ten_seconds_is_enough() {
        let mut tug = Tug::default();
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let slow: Vec<bool> = (0..8).map(|turn| tug.fixed("slow", at(4 * turn))).collect();
        assert!(!slow.contains(&true) && !tug.is_left("slow"));
        let fast: Vec<bool> = (0..5).map(|turn| tug.fixed("fast", at(100 + turn))).collect();
        assert_eq!(fast, [false, false, false, true, false], "told once");
        assert!(tug.is_left("fast"));
        tug.forget();
        assert!(!tug.is_left("fast"));
    }
}
