//! What staff decide about many messages at once: let all go that match, or none of them.

use std::time::Duration;

use super::staff::StaffError;
use crate::db::{Argument, Database, field, statement};

/// Messages that one call of the database's functions takes; see sql/migrations/0005_guards.sql.
const BATCH: i64 = 5_000;

/// Calls at most: a bound on the loop, far above any outbox.
const CALLS_LIMIT: u32 = 10_000;

/// Which messages; what is none is any.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// A kind.
    pub kind: Option<String>,
    /// A reason.
    pub reason: Option<String>,
    /// Made within this time.
    pub since: Option<Duration>,
    /// Made longer ago than this.
    pub until: Option<Duration>,
    /// All of them; otherwise one of the others must be given.
    pub all: bool,
}

/// What is done with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BulkAction {
    /// Let the held ones go.
    Release,
    /// Send none of them; those being sent are left alone.
    Cancel,
}

/// Acts; returns how many messages it was.
///
/// # Errors
/// [`StaffError::Refused`] when nothing says which, [`StaffError::Database`]; batches that were done stay done.
pub async fn act(database: &Database, action: BulkAction, selection: &Selection, by: &str) -> Result<i64, StaffError> {
    let ms = |age: Option<Duration>| age.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX / 2));
    let statement = match action {
        BulkAction::Release => &statement::RELEASE_WHERE,
        BulkAction::Cancel => &statement::CANCEL_WHERE,
    };
    let (since, until) = (ms(selection.since), ms(selection.until));
    let arguments: [Argument<'_>; 6] = [
        ("kind", &selection.kind),
        ("reason", &selection.reason),
        ("since_ms", &since),
        ("until_ms", &until),
        ("all", &selection.all),
        ("by", &by),
    ];
    let mut total = 0;
    for _ in 0..CALLS_LIMIT {
        let row = database.query_one(statement, &arguments).await?;
        let messages: i64 = field(&row, "messages")?;
        total += messages;
        if messages < BATCH {
            break;
        }
    }
    Ok(total)
}
