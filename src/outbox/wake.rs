//! The wake flag in the database: a NOTIFY in every event's transaction would cost the application's concurrent writers
//! dear, so the triggers send one only while the daemon sleeps and has asked for it.
//!
//! The flag is set before sleeping, and the outbox looked at once more after that. It is cleared when messages come so fast that the
//! daemon hardly sleeps: it then looks every [`BUSY_POLL`] instead, until they come slower. So a quiet day costs no
//! writes at all, and a busy moment two. It is cleared too while nothing may be claimed for longer.

use std::time::{Duration, Instant};

use crate::db::{Database, DbError, statement};

/// Messages are counted over this time.
const WINDOW: Duration = Duration::from_millis(100);

/// As many within one [`WINDOW`] are too many for a notification each.
const BUSY: usize = 10;

/// How often a busy claimer looks that has found less than it could take.
pub const BUSY_POLL: Duration = Duration::from_millis(10);

/// What the claimer knows of the flag.
#[derive(Debug)]
pub struct WakeFlag {
    window: Instant,
    messages: usize,
    busy: bool,
    rests: bool,
}

impl WakeFlag {
    /// Of a claimer that has seen nothing yet.
    pub fn new(now: Instant) -> Self {
        Self { window: now, messages: 0, busy: false, rests: false }
    }

    /// Learns how many messages a claim found. Whether they come so fast that notifications only disturb.
    pub fn is_busy(&mut self, now: Instant, messages: usize) -> bool {
        self.rests = false;
        if now.saturating_duration_since(self.window) >= WINDOW {
            // A window in which nobody looked is over as well, and was quiet.
            self.busy = self.messages >= BUSY && now.saturating_duration_since(self.window) < 2 * WINDOW;
            (self.window, self.messages) = (now, 0);
        }
        self.messages += messages;
        self.busy |= self.messages >= BUSY;
        self.busy
    }

    /// Asks for notifications. True when the flag was not set before: the outbox must be looked at once more.
    ///
    /// # Errors
    /// [`DbError`]: the poll finds what comes.
    pub async fn ask(&self, database: &Database, wanted: bool) -> Result<bool, DbError> {
        if wanted {
            return Ok(false);
        }
        database.query(&statement::WANT_NOTIFY, &[("wanted", &true)]).await?;
        Ok(true)
    }

    /// Wants no notifications, as long as the claimer looks by itself.
    ///
    /// # Errors
    /// [`DbError`]: the flag is as it was.
    pub async fn decline(&self, database: &Database, wanted: bool) -> Result<(), DbError> {
        if wanted {
            database.query(&statement::WANT_NOTIFY, &[("wanted", &false)]).await?;
        }
        Ok(())
    }

    /// Nothing may be claimed for a while: said once, until messages are claimed again.
    ///
    /// # Errors
    /// [`DbError`]: it is tried again with the next call.
    pub async fn rest(&mut self, database: &Database) -> Result<(), DbError> {
        if !self.rests {
            self.decline(database, true).await?;
            self.rests = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_messages_are_notified_of_and_a_stream_of_them_is_not() {
        let start = Instant::now();
        let mut flag = WakeFlag::new(start);
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        assert!((0..20).all(|n| !flag.is_busy(at(n * 50), 1)), "twenty a second");
        assert!(flag.is_busy(at(1_010), 12), "a burst");
        assert!(flag.is_busy(at(1_050), 0), "while it may go on");
        assert!((0..100).all(|n| flag.is_busy(at(1_060 + n * 10), 2)), "two hundred a second");
        assert!(!(0..30).fold(true, |_, n| flag.is_busy(at(2_060 + n * 10), 0)), "it has ended");
    }

    #[test]
    fn after_a_long_sleep_nothing_is_left_of_a_busy_time() {
        let start = Instant::now();
        let mut flag = WakeFlag::new(start);
        assert!(flag.is_busy(start, 100));
        assert!(!flag.is_busy(start + Duration::from_secs(10), 1));
    }
}
