//! Holds floods: more garage events within a minute than the setting `stampede_limit` are no day's work but an import or a
//! restore, and staff decide about all of them.
//!
//! Rows of one transaction become visible together, and a claim takes only as many as can be sent: so the daemon looks around
//! the claimed ones in the outbox before the first is sent. Events that were sent meanwhile are gone from there and are
//! remembered here. Events by hand, released ones and reminders are no part of it, and a batch without events costs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tracing::warn;

use super::lease::Row;
use super::result::Finished;
use super::settings::Settings;
use super::stage::Claimed;
use crate::db::{Database, DbError, field, statement};
use crate::message::kind::Kind;
use crate::message::reason::Reason;

/// The minute of the setting.
const WINDOW: Duration = Duration::from_secs(60);

/// How long an event that was let through is remembered: the minute, and the time that its successors may take to be claimed.
const MEMORY: Duration = Duration::from_secs(120);

/// Rows read around a batch at most, each way. With a limit above it a flood is held from the limit on and not whole.
const LOOK_LIMIT: usize = 20_000;

/// What the claimer remembers.
#[derive(Debug, Default)]
pub struct Stampede {
    /// Events let through: when each happened and when it passed, by id.
    passed: BTreeMap<i64, (Instant, Instant)>,
    said: Option<Instant>,
}

impl Stampede {
    /// Splits a batch into the rows that may go on and those that are held.
    ///
    /// # Errors
    /// All rows with a [`DbError`], when the outbox cannot be looked at.
    pub async fn hold_back(
        &mut self,
        database: &Database,
        rows: Vec<Claimed>,
        settings: &Settings,
    ) -> Result<(Vec<Claimed>, Vec<Finished>), (Vec<Claimed>, DbError)> {
        let now = Instant::now();
        self.passed.retain(|_, (_, passed)| now.saturating_duration_since(*passed) < MEMORY);
        let limit = settings.stampede_limit;
        let events: BTreeMap<i64, Instant> = rows
            .iter()
            .filter(|claimed| limit > 0 && is_event(&claimed.row, settings))
            .map(|claimed| (claimed.lease.id, happened(now, claimed.row.age)))
            .collect();
        let (Some(first), Some(last)) = (events.keys().next().copied(), events.keys().next_back().copied()) else {
            return Ok((rows, Vec::new()));
        };
        let near = match neighbours(database, first, last, limit, now).await {
            Ok(near) => near,
            Err(error) => return Err((rows, error)),
        };
        // The claimed rows are among their neighbours; one name each, so that nothing counts twice.
        let mut all = near;
        all.extend(self.passed.iter().map(|(id, (at, _))| (*id, *at)));
        all.extend(events.iter().map(|(id, at)| (*id, *at)));
        let flood = flooded(&all, limit);
        let mut free = Vec::with_capacity(rows.len());
        let mut held = Vec::new();
        for claimed in rows {
            let id = claimed.lease.id;
            if let Some(at) = events.get(&id) {
                if flood.contains(&id) {
                    let detail = format!("more than {limit} events within a minute (setting stampede_limit)");
                    held.push(claimed.hold(Reason::Stampede, Some(detail)));
                    continue;
                }
                self.passed.insert(id, (*at, now));
            }
            free.push(claimed);
        }
        if !held.is_empty() {
            let known = self.said.replace(now).is_some_and(|said| now.saturating_duration_since(said) < WINDOW);
            if !known {
                warn!(
                    limit,
                    "a flood of events (an import, a restore?) is held for staff: ecar-sms release --reason stampede, or cancel --reason stampede"
                );
            }
        }
        Ok((free, held))
    }
}

/// Whether the limit speaks of this row: made by an event of the garage, not let go by staff, and still worth sending.
fn is_event(row: &Row, settings: &Settings) -> bool {
    let event = match row.kind {
        Kind::ServiceCompleted | Kind::InvoiceCreated => !row.by_hand && !row.released,
        Kind::AppointmentReminder | Kind::Custom | Kind::Campaign => false,
    };
    event && settings.rules.kinds.get(&row.kind).is_some_and(|rules| rules.enabled && row.age <= rules.validity)
}

fn happened(now: Instant, age: Duration) -> Instant {
    now.checked_sub(age).unwrap_or(now)
}

async fn neighbours(
    database: &Database,
    first: i64,
    last: i64,
    limit: usize,
    now: Instant,
) -> Result<BTreeMap<i64, Instant>, DbError> {
    let reach = limit.saturating_mul(2).saturating_add(1).min(LOOK_LIMIT);
    let at_most = i64::try_from(reach).unwrap_or(i64::MAX);
    let arguments: [crate::db::Argument<'_>; 3] = [("first", &first), ("last", &last), ("at_most", &at_most)];
    let rows = database.query(&statement::NEIGHBOURS, &arguments).await?;
    rows.iter()
        .map(|row| {
            let age = Duration::try_from_secs_f64(field::<f64>(row, "age_s")?.max(0.0)).unwrap_or(Duration::MAX);
            Ok((field(row, "id")?, happened(now, age)))
        })
        .collect()
}

/// The events that stand in a minute with more than `limit` of them.
fn flooded(events: &BTreeMap<i64, Instant>, limit: usize) -> BTreeSet<i64> {
    let mut by_time: Vec<(Instant, i64)> = events.iter().map(|(id, at)| (*at, *id)).collect();
    by_time.sort_unstable();
    let mut flood = BTreeSet::new();
    // Everything before this index is decided.
    let mut marked = 0;
    for (start, (at, _)) in by_time.iter().enumerate() {
        let Some((end_at, _)) = by_time.get(start + limit) else { break };
        if end_at.saturating_duration_since(*at) <= WINDOW {
            for (_, id) in by_time.iter().take(start + limit + 1).skip(marked.max(start)) {
                flood.insert(*id);
            }
            marked = start + limit + 1;
        }
    }
    flood
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: &[u64]) -> BTreeMap<i64, Instant> {
        let start = Instant::now();
        (1..).zip(seconds).map(|(id, second)| (id, start + Duration::from_secs(*second))).collect()
    }

    #[test]
    fn a_minute_with_more_than_the_limit_is_a_flood_from_its_first_event_on() {
        assert!(flooded(&at(&[0, 10, 20]), 3).is_empty());
        assert_eq!(flooded(&at(&[0, 10, 20, 30]), 3).len(), 4);
        assert_eq!(flooded(&at(&[0, 0, 0, 0, 0, 0]), 3).len(), 6);
    }

    #[test]
    fn events_spread_over_more_than_a_minute_are_none() {
        assert!(flooded(&at(&[0, 21, 42, 63, 84, 105, 126]), 3).is_empty());
        assert!(flooded(&BTreeMap::new(), 3).is_empty());
    }

    #[test]
    fn only_the_crowded_minute_is_held() {
        let flood = flooded(&at(&[0, 100, 101, 102, 103, 300]), 3);
        assert_eq!(flood.into_iter().collect::<Vec<_>>(), [2, 3, 4, 5]);
    }

    #[test]
    fn an_hour_of_work_that_waited_is_no_flood() {
        let seconds: Vec<u64> = (0..600).map(|event| event * 6).collect();
        assert!(flooded(&at(&seconds), 500).is_empty());
    }
}
