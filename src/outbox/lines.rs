//! How many lines the log gets about messages that were sent.
//!
//! Each has a line of its own, until there are so many in a second that nobody reads them and a journal with a limit of its own
//! would drop others for them: from then on they are counted, and the second ends with the number. The database has
//! every one of them. Lines about messages that were not sent are never left out.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::message::outcome::Outcome;
use crate::provider::outgoing::Outgoing;

/// Lines of their own within one [`WINDOW`].
const LINES: u32 = 100;

/// What is counted together.
const WINDOW: Duration = Duration::from_secs(1);

/// The lines of this daemon.
#[derive(Debug, Default)]
pub struct Lines {
    inner: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    since: Option<Instant>,
    written: u32,
    counted: u64,
}

impl Lines {
    /// Says what came of an attempt.
    pub fn tell(&self, id: i64, provider: &str, outgoing: &Outgoing, outcome: &Outcome, took: Duration) {
        let (word, took_ms) = (outcome.word(), u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        match outcome {
            Outcome::Accepted { .. } if !self.admits(Instant::now()) => {}
            Outcome::Accepted { .. } => {
                info!(
                    msg.id = id,
                    to = outgoing.masked_recipient(),
                    provider.name = provider,
                    outcome = word,
                    segments = outgoing.segments,
                    took_ms,
                    "message sent"
                );
            }
            Outcome::Unknown { detail } => {
                warn!(
                    msg.id = id,
                    to = outgoing.masked_recipient(),
                    provider.name = provider,
                    outcome = word,
                    detail,
                    took_ms,
                    "the message may have been sent"
                );
            }
            Outcome::Rejected { .. }
            | Outcome::Throttled { .. }
            | Outcome::TemporaryFailure { .. }
            | Outcome::Misconfigured { .. }
            | Outcome::NoCredit { .. } => {
                warn!(
                    msg.id = id,
                    to = outgoing.masked_recipient(),
                    provider.name = provider,
                    outcome = word,
                    detail = outcome.detail(),
                    took_ms,
                    "message not sent"
                );
            }
        }
    }

    fn locked(&self) -> MutexGuard<'_, Window> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a message that was just sent gets a line of its own; otherwise it is counted.
    pub fn admits(&self, now: Instant) -> bool {
        self.report(now);
        let mut window = self.locked();
        window.since.get_or_insert(now);
        if window.written < LINES {
            window.written += 1;
            return true;
        }
        window.counted += 1;
        false
    }

    /// Says how many were only counted, once their second is over.
    pub fn report(&self, now: Instant) {
        let mut window = self.locked();
        if window.since.is_none_or(|since| now.saturating_duration_since(since) < WINDOW) {
            return;
        }
        let Window { counted, .. } = std::mem::take(&mut *window);
        drop(window);
        if counted > 0 {
            info!(messages = counted, "further messages sent, without a line of their own");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_the_next_second_has_lines_again() {
        let (lines, start) = (Lines::default(), Instant::now());
        let admitted = (0..1_000).filter(|_| lines.admits(start)).count();
        assert_eq!(admitted, 100);
        assert_eq!(lines.locked().counted, 900);
        lines.report(start + WINDOW);
        assert_eq!(lines.locked().counted, 0, "it has been said");
        assert!(lines.admits(start + WINDOW));
    }
}
