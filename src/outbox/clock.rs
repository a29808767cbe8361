//! Watches the database's clock against this process's own, which only ever goes forward.
//!
//! Times that are compared in SQL are the database's. When that clock jumps, they lie: after a jump back everything that waits would
//! wait for as long again, so [`rewind`] brings it near; after a jump forward leases and waits seem to be over that are not. So for
//! [`SUSPECT`] after any jump no row is taken for lost and no doubt is decided by time.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tracing::{info, warn};

use crate::db::{Database, DbError, statement};

/// A difference that is no jump: a slow statement, a clock that is disciplined.
const TOLERANCE: Duration = Duration::from_secs(5);

/// The longest lease: the limit of a provider's time-out and the margin of a lease.
pub const LEASE_LIMIT: Duration = Duration::from_secs(100);

/// How long after a jump time proves nothing: by then every lease given before it is over.
const SUSPECT: Duration = Duration::from_secs(120);

/// What is known of the database's clock.
#[derive(Debug, Default)]
pub struct Clock {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    last: Option<(Instant, Timestamp)>,
    jumped: Option<Instant>,
}

impl Clock {
    fn locked(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The database says that it is `database_now`. True when its clock went back since the last time.
    pub fn observe(&self, now: Instant, database_now: Timestamp) -> bool {
        let mut inner = self.locked();
        let Some((then, database_then)) = inner.last.replace((now, database_now)) else { return false };
        let passed = SignedDuration::try_from(now.saturating_duration_since(then)).unwrap_or(SignedDuration::MAX);
        let jump = database_now.duration_since(database_then).saturating_sub(passed);
        if jump.unsigned_abs() <= TOLERANCE {
            return false;
        }
        inner.jumped = Some(now);
        drop(inner);
        warn!(
            seconds = jump.as_secs(),
            "the database's clock jumped; for two minutes nothing is decided by time alone"
        );
        jump.is_negative()
    }

    /// Whether times of the database may be wrong just now.
    pub fn is_suspect(&self, now: Instant) -> bool {
        self.locked().jumped.is_some_and(|jumped| now.saturating_duration_since(jumped) < SUSPECT)
    }
}

/// Brings near what a clock that went back put into the far future.
///
/// # Errors
/// [`DbError`].
pub async fn rewind(database: &Database) -> Result<(), DbError> {
    let limit_ms = i64::try_from(LEASE_LIMIT.as_millis()).unwrap_or(i64::MAX);
    let rows = database.query(&statement::REWIND, &[("lease_limit_ms", &limit_ms)]).await?;
    if !rows.is_empty() {
        info!(messages = rows.len(), "the database's clock went back; these messages are looked at as if it had not");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_is_told_from_the_course_of_time() {
        let (start, clock) = (Instant::now(), Clock::default());
        let at = |seconds: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(!clock.observe(start, at(1_000)));
        assert!(!clock.observe(after(60), at(1_061)), "a second off is no jump");
        assert!(!clock.is_suspect(after(60)));
        assert!(!clock.observe(after(61), at(4_661)), "forward");
        assert!(clock.is_suspect(after(61)));
        assert!(clock.observe(after(62), at(1_062)), "back");
        assert!(clock.is_suspect(after(181)));
        assert!(!clock.is_suspect(after(183)));
    }
}
