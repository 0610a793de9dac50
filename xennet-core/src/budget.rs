//! A deadline that is handed on to everything that waits.
//!
//! A duration that is handed on is spent anew by each that gets it: two locks that may be waited for ten seconds each take
//! twenty. A [`Budget`] is made once, where a call begins, and every wait ends with it.
//!
//! ```
//! use std::time::Duration;
//! use xennet_core::Budget;
//!
//! let call = Budget::of(Duration::from_secs(10));
//! let work = call.but(Duration::from_secs(1)); // the last second is for the answer
//! assert!(work.at_most(Duration::from_secs(3)).left() <= Duration::from_secs(3));
//! assert!(Budget::unlimited().but(Duration::from_secs(1)).left() > Duration::from_secs(1 << 40));
//! ```

use std::time::{Duration, Instant};

/// A moment until which something may take, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    end: Option<Instant>,
}

impl Budget {
    /// No deadline: each wait has only its own limit.
    pub const fn unlimited() -> Self {
        Budget { end: None }
    }

    /// So long from now on.
    pub fn of(time: Duration) -> Self {
        Budget::from(Instant::now(), time)
    }

    /// So long from this moment on.
    pub fn from(start: Instant, time: Duration) -> Self {
        // Beyond what a clock can say is as good as for ever.
        Budget { end: start.checked_add(time) }
    }

    /// What is left; of no limit, the longest time there is.
    pub fn left(&self) -> Duration {
        self.end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()))
    }

    /// Whether nothing is left.
    pub fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    /// The same, but no longer than this from now on: for a wait that has a limit of its own.
    #[must_use]
    pub fn at_most(self, time: Duration) -> Self {
        let now = Budget::of(time);
        match (self.end, now.end) {
            (Some(end), Some(other)) => Budget { end: Some(end.min(other)) },
            (end, other) => Budget { end: end.or(other) },
        }
    }

    /// The same, but ending earlier by `reserve`, which is left for what follows.
    #[must_use]
    pub fn but(self, reserve: Duration) -> Self {
        // A moment before the clock's first is over in any case.
        Budget { end: self.end.map(|end| end.checked_sub(reserve).unwrap_or(end)) }
    }

    /// The same, but ending so much later.
    #[must_use]
    pub fn and(self, more: Duration) -> Self {
        Budget { end: self.end.and_then(|end| end.checked_add(more)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn it_is_one_moment_for_all_who_wait() {
        let start = Instant::now();
        let call = Budget::from(start, HOUR);
        assert_eq!(call.at_most(2 * HOUR), call);
        assert!(call.at_most(HOUR / 2).left() <= HOUR / 2);
        assert_eq!(call.but(HOUR / 4), Budget::from(start, HOUR - HOUR / 4));
        assert_eq!(call.but(HOUR / 4).and(HOUR / 4), call);
        assert!(call.but(HOUR).is_over() && call.but(2 * HOUR).left().is_zero() && !call.is_over());
    }

    #[test]
    fn without_a_limit_the_own_one_counts() {
        let none = Budget::unlimited();
        assert_eq!((none.left(), none.but(HOUR), none.and(HOUR)), (Duration::MAX, none, none));
        assert!(none.at_most(HOUR).left() <= HOUR);
        assert_eq!(Budget::of(Duration::MAX), none);
    }
}
