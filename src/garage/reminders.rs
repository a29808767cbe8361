//! Turns appointments that come near into reminders.
//!
//! The database does the whole step in one statement, so a crash leaves no reminder half made, and its table of reminders
//! made keeps a second one from being made, by this or any other daemon.

use std::time::Duration;

use crate::db::{Database, DbError, field, statement};

/// Reminders enqueued by one statement, so that ten thousand appointments never make one long transaction.
const BATCH: i64 = 500;

/// Enqueues what is due within `lead`; returns how many reminders were made.
///
/// # Errors
/// [`DbError`]; what a statement had enqueued stays.
pub async fn enqueue_due(database: &Database, lead: Duration) -> Result<i64, DbError> {
    let lead_ms = i64::try_from(lead.as_millis()).unwrap_or(i64::MAX);
    let mut total = 0;
    loop {
        let row = database.query_one(&statement::REMIND, &[("lead_ms", &lead_ms), ("at_most", &BATCH)]).await?;
        let enqueued: i64 = field(&row, "enqueued")?;
        total += enqueued;
        if enqueued < BATCH {
            return Ok(total);
        }
    }
}
