//! Garage events that made no message: the triggers were disabled for a while, or gave way to a lock.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::db::{Database, DbError, field, statement};

/// Events found or enqueued by one statement.
const BATCH: i64 = 1_000;

/// An event without a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// The kind of the message that is missing.
    pub kind: String,
    /// The service or invoice.
    pub source_id: i64,
    /// When it happened.
    pub at: Timestamp,
    /// Whether the garage wrote this time; otherwise the row may have been changed for another reason.
    pub certain: bool,
}

/// The oldest thousand of the last `window`.
///
/// # Errors
/// [`DbError`].
pub async fn find(database: &Database, window: Duration) -> Result<Vec<Missed>, DbError> {
    let rows = database.query(&statement::MISSED, &[("window_ms", &ms(window)), ("at_most", &BATCH)]).await?;
    rows.iter()
        .map(|row| {
            Ok(Missed {
                kind: field(row, "kind")?,
                source_id: field(row, "source_id")?,
                at: field(row, "at")?,
                certain: field(row, "certain")?,
            })
        })
        .collect()
}

/// Enqueues those that are certain; returns how many. What is left of more than a thousand comes at the next turn.
///
/// # Errors
/// [`DbError`]; nothing was enqueued then, or all of it.
pub async fn enqueue(database: &Database, window: Duration) -> Result<i64, DbError> {
    let row = database.query_one(&statement::CATCH_UP, &[("window_ms", &ms(window)), ("at_most", &BATCH)]).await?;
    field(&row, "enqueued")
}

fn ms(window: Duration) -> i64 {
    i64::try_from(window.as_millis()).unwrap_or(i64::MAX / 2)
}
