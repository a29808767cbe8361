//! Several daemons on one database: each takes its share of what a provider allows, so that the limits hold in sum.
//!
//! Every daemon says every [`BEAT_EVERY`] that it works, in its row of `sms_owner`, and counts the others. Requests at once are dealt
//! out one by one in order of start, and so are the messages of a second where there is a rate: of a provider that allows one request
//! at once, or one message a second, only the first daemon sends, and the next is its hot standby. A newcomer is believed at once, a departure at the second look; and a
//! newcomer that finds others waits for [`JOIN_WAIT`], until they have seen it, before its first claim. So the sum may fall short for
//! some seconds and never exceeds the limit. A daemon alone waits for nothing.
//!
//! The claims need none of this: no two daemons can claim the same row.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use tracing::info;

use crate::db::{Argument, Database, DbError, field, statement};

/// How often a daemon says that it works.
pub const BEAT_EVERY: Duration = Duration::from_secs(2);

/// Without a word for this long a daemon counts as gone: several beats, so that a slow moment is no departure.
const QUIET: Duration = Duration::from_secs(10);

/// How long a newcomer waits for the others to see it: two of their beats, and a moment.
pub const JOIN_WAIT: Duration = Duration::from_secs(5);

/// Who works on this database, as far as a share depends on it.
#[derive(Debug)]
pub struct Fleet {
    daemons: AtomicU32,
    rank: AtomicU32,
    /// A lower number than believed, seen once.
    fewer: AtomicU32,
    /// Where this daemon's looks at the outbox begin; each beat keeps it for the next start.
    floor: AtomicI64,
}

impl Default for Fleet {
    fn default() -> Self {
        Self { daemons: AtomicU32::new(1), rank: AtomicU32::new(0), fewer: AtomicU32::new(0), floor: AtomicI64::new(0) }
    }
}

impl Fleet {
    /// Beats, and learns who else works. Returns how long it is until a message in doubt is to be looked at, when there is one.
    ///
    /// # Errors
    /// [`DbError`]: what was known stays in force.
    pub async fn beat(&self, database: &Database, owner: i32) -> Result<Option<Duration>, DbError> {
        let quiet_ms = i64::try_from(QUIET.as_millis()).unwrap_or(i64::MAX);
        let floor = self.floor();
        let arguments: [Argument<'_>; 3] = [("owner", &owner), ("quiet_ms", &quiet_ms), ("floor", &floor)];
        let row = database.query_one(&statement::BEAT, &arguments).await?;
        let count = |name| Ok::<_, DbError>(u32::try_from(field::<i64>(&row, name)?).unwrap_or(u32::MAX));
        self.learn(count("daemons")?.max(1), count("rank")?);
        let doubt_due: Option<f64> = field(&row, "doubt_due_s")?;
        Ok(doubt_due.map(|due| Duration::try_from_secs_f64(due.max(0.0)).unwrap_or(Duration::MAX)))
    }

    /// Where the looks begin.
    pub fn floor(&self) -> i64 {
        self.floor.load(Ordering::Relaxed)
    }

    /// The looks begin here from now on.
    pub fn keep_floor(&self, floor: i64) {
        self.floor.store(floor, Ordering::Relaxed);
    }

    fn learn(&self, daemons: u32, rank: u32) {
        let known = (self.daemons.load(Ordering::Relaxed), self.rank.load(Ordering::Relaxed));
        if (daemons, rank) == known {
            self.fewer.store(0, Ordering::Relaxed);
            return;
        }
        if daemons < known.0 && self.fewer.swap(daemons, Ordering::Relaxed) == 0 {
            return;
        }
        self.fewer.store(0, Ordering::Relaxed);
        self.daemons.store(daemons, Ordering::Relaxed);
        self.rank.store(rank, Ordering::Relaxed);
        info!(daemons, rank, "daemons on this database; each takes its share of the providers' limits");
    }

    /// How many daemons work, this one included.
    pub fn daemons(&self) -> u32 {
        self.daemons.load(Ordering::Relaxed)
    }

    /// This daemon's part of `limit` requests at once.
    pub fn share(&self, limit: usize) -> usize {
        let daemons = usize::try_from(self.daemons()).unwrap_or(usize::MAX).max(1);
        let rank = usize::try_from(self.rank.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        limit / daemons + usize::from(rank < limit % daemons)
    }

    /// This daemon's part of `messages` of a rate: dealt out one by one too, among those that have a part of `limit` requests at once.
    pub fn deal(&self, messages: usize, limit: usize) -> usize {
        let daemons = usize::try_from(self.daemons()).unwrap_or(usize::MAX).min(limit).max(1);
        let rank = usize::try_from(self.rank.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        if rank < daemons { messages / daemons + usize::from(rank < messages % daemons) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(daemons: u32, rank: u32) -> Fleet {
        let fleet = Fleet::default();
        fleet.learn(daemons, rank);
        fleet
    }

    #[test]
    fn shares_add_up_to_the_limit_however_many_share_it() {
        for daemons in 1..8 {
            for limit in 0..40 {
                let sum: usize = (0..daemons).map(|rank| fleet(daemons, rank).share(limit)).sum();
                assert_eq!(sum, limit, "{daemons} daemons");
            }
        }
    }

    #[test]
    fn a_rate_is_dealt_out_whole_among_those_that_send() {
        for daemons in 1..8 {
            for (messages, limit) in [(10, 32), (10, 3), (1, 32), (3, 1), (7, 5)] {
                let parts: Vec<usize> = (0..daemons).map(|rank| fleet(daemons, rank).deal(messages, limit)).collect();
                assert_eq!(parts.iter().sum::<usize>(), messages, "{daemons} daemons: {parts:?}");
                let idle = |rank: u32| fleet(daemons, rank).share(limit) == 0;
                assert!((0..daemons).zip(&parts).all(|(rank, part)| *part == 0 || !idle(rank)), "{parts:?}");
            }
        }
        assert_eq!((0..3).map(|rank| fleet(3, rank).deal(10, 32)).collect::<Vec<_>>(), [4, 3, 3]);
    }

    #[test]
    fn a_newcomer_is_believed_at_once_and_a_departure_at_the_second_look() {
        let fleet = fleet(2, 0);
        assert_eq!(fleet.share(10), 5);
        fleet.learn(1, 0);
        assert_eq!(fleet.share(10), 5);
        fleet.learn(2, 0);
        fleet.learn(1, 0);
        assert_eq!(fleet.share(10), 5, "not twice in a row");
        fleet.learn(1, 0);
        assert_eq!(fleet.share(10), 10);
    }
}
