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

/// A time the database told, and between which moments of ours it read its clock.
#[derive(Debug, Clone, Copy)]
struct Seen {
    asked: Instant,
    answered: Instant,
    told: Timestamp,
}

#[derive(Debug, Default)]
struct Inner {
    last: Option<Seen>,
    jumped: Option<Instant>,
}

impl Clock {
    fn locked(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The database says that it was `told` when it answered a question put at `asked` whose answer was read at `answered`. True
    /// when its clock went back since the last time.
    ///
    /// Between question and answer this process may have been stopped, so each reading belongs somewhere between the two: a
    /// jump is only what no such place explains.
    pub fn observe(&self, asked: Instant, answered: Instant, told: Timestamp) -> bool {
        let seen = Seen { asked, answered, told };
        let mut inner = self.locked();
        let Some(last) = inner.last.replace(seen) else { return false };
        let between = |from: Instant, to: Instant| {
            SignedDuration::try_from(to.saturating_duration_since(from)).unwrap_or(SignedDuration::MAX)
        };
        let (least, most) = (between(last.answered, asked), between(last.asked, answered));
        let passed = told.duration_since(last.told);
        let jump = passed.saturating_sub(passed.clamp(least, most));
        if jump.unsigned_abs() <= TOLERANCE {
            return false;
        }
        inner.jumped = Some(answered);
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
        let observe = |moment, told| clock.observe(moment, moment, told);
        assert!(!observe(start, at(1_000)));
        assert!(!observe(after(60), at(1_061)), "a second off is no jump");
        assert!(!clock.is_suspect(after(60)));
        assert!(!observe(after(61), at(4_661)), "forward");
        assert!(clock.is_suspect(after(61)));
        assert!(observe(after(62), at(1_062)), "back");
        assert!(clock.is_suspect(after(181)));
        assert!(!clock.is_suspect(after(183)));
    }

    #[test]
    fn an_answer_that_was_read_late_is_no_jump() {
        let (start, clock) = (Instant::now(), Clock::default());
        let at = |seconds: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(!clock.observe(start, after(30), at(1_000)), "stopped for half a minute after the answer was given");
        assert!(!clock.observe(after(30), after(30), at(1_030)));
        assert!(!clock.observe(after(31), after(90), at(1_090)), "or before it");
        assert!(!clock.observe(after(91), after(91), at(1_091)));
        assert!(!clock.is_suspect(after(91)));
        assert!(clock.observe(after(92), after(100), at(1_080)), "no place between them explains this");
    }
}
