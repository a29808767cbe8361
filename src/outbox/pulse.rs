//! What the rest of the daemon may know of the claimer: that it comes round, and that the outbox is in reach.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Beats and looks, in milliseconds since the daemon's start.
#[derive(Debug)]
pub struct Pulse {
    started: Instant,
    beat_ms: AtomicU64,
    looked_ms: AtomicU64,
    problem: Mutex<Option<String>>,
}

impl Pulse {
    /// Of a daemon that starts now.
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            beat_ms: AtomicU64::new(0),
            looked_ms: AtomicU64::new(0),
            problem: Mutex::new(None),
        }
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn since(&self, ms: &AtomicU64) -> Duration {
        Duration::from_millis(self.elapsed_ms().saturating_sub(ms.load(Ordering::Relaxed)))
    }

    fn locked(&self) -> MutexGuard<'_, Option<String>> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A turn begins.
    pub fn beat(&self) {
        self.beat_ms.store(self.elapsed_ms(), Ordering::Relaxed);
    }

    /// The outbox was looked at.
    pub fn looked(&self) {
        self.looked_ms.store(self.elapsed_ms(), Ordering::Relaxed);
        *self.locked() = None;
    }

    /// The outbox cannot be looked at. True when nobody was told this before.
    pub fn failed(&self, problem: &str) -> bool {
        let before = self.locked().replace(problem.to_owned());
        before.as_deref() != Some(problem)
    }

    /// Time since the last turn began.
    pub fn since_beat(&self) -> Duration {
        self.since(&self.beat_ms)
    }

    /// Time since the outbox was last looked at.
    pub fn since_look(&self) -> Duration {
        self.since(&self.looked_ms)
    }

    /// Why the outbox cannot be looked at, when it cannot.
    pub fn problem(&self) -> Option<String> {
        self.locked().clone()
    }
}

impl Default for Pulse {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_news_once_and_ends_with_the_next_look() {
        let pulse = Pulse::new();
        assert!(pulse.failed("down"));
        assert!(!pulse.failed("down"));
        assert!(pulse.failed("locked"));
        assert_eq!(pulse.problem().as_deref(), Some("locked"));
        pulse.looked();
        assert_eq!(pulse.problem(), None);
    }
}
