//! Turns appointments that come near into reminders, and withdraws those that are no longer true.
//!
//! The database does a whole search in one statement, so a crash leaves no reminder half made, and its table of reminders
//! made keeps a second one from being made, by this or any other daemon. A search that fails (a column of the garage is
//! gone, a table is locked) changes nothing and is tried again at the next turn; the policy looks at each reminder once
//! more when it is claimed.

use std::time::{Duration, Instant};

use crate::db::{Argument, Database, DbError, field, statement};

/// How often appointments are looked at: a reminder may be this late.
pub const EVERY: Duration = Duration::from_secs(30);

/// The longest pause between two searches, however slow they are: reminders are promised to the minute, more or less.
const EVERY_AT_MOST: Duration = Duration::from_secs(300);

/// One part in so many of the time may be spent on searches: each reads all of the garage's services.
const SHARE_OF_TIME: u32 = 1_000;

/// Reminders enqueued by one statement, so that ten thousand appointments never make one long transaction.
const BATCH: i64 = 500;

/// What a search did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Search {
    /// Reminders made.
    pub made: i64,
    /// How long the last look took, after which nothing was left to be made.
    pub took: Duration,
}

impl Search {
    /// How long to wait until the next one.
    pub fn pause(self) -> Duration {
        self.took.saturating_mul(SHARE_OF_TIME).clamp(EVERY, EVERY_AT_MOST)
    }
}

/// Enqueues what is due by `offsets` (the setting, as staff wrote it) in `zone` (an IANA name).
///
/// # Errors
/// [`DbError`]; what a statement had enqueued stays.
pub async fn enqueue_due(database: &Database, offsets: &str, zone: &str) -> Result<Search, DbError> {
    let mut made = 0;
    loop {
        let began = Instant::now();
        let arguments: [Argument<'_>; 3] = [("offsets", &offsets), ("zone", &zone), ("at_most", &BATCH)];
        let row = database.query_one(&statement::REMIND, &arguments).await?;
        let enqueued: i64 = field(&row, "enqueued")?;
        made += enqueued;
        if enqueued < BATCH {
            return Ok(Search { made, took: began.elapsed() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_search_comes_less_often_and_never_less_than_every_five_minutes() {
        let pause = |ms| Search { made: 0, took: Duration::from_millis(ms) }.pause();
        assert_eq!(pause(0), Duration::from_secs(30));
        assert_eq!(pause(30), Duration::from_secs(30));
        assert_eq!(pause(31), Duration::from_secs(31));
        assert_eq!(pause(200), Duration::from_secs(200));
        assert_eq!(pause(20_000), Duration::from_secs(300));
        assert_eq!(Search { made: 0, took: Duration::MAX }.pause(), Duration::from_secs(300));
    }
}
