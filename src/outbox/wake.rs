//! The wake flag in the database: a NOTIFY in every event's transaction would cost the application's concurrent writers
//! dear, so the triggers send one only while the daemon sleeps and has asked for it.
//!
//! The flag is set before sleeping, and the outbox looked at once more after that; it is cleared only when the claimer
//! has been busy for a while, so that a quiet day costs no writes at all.

use crate::db::{Database, DbError, statement};

/// Full claims in a row after which notifications only disturb.
const BUSY_CLAIMS: u32 = 3;

/// What the claimer knows of the flag.
#[derive(Debug, Default)]
pub struct WakeFlag {
    full_claims: u32,
}

impl WakeFlag {
    /// Learns from a claim; clears the flag when the claimer is busy.
    ///
    /// # Errors
    /// [`DbError`]: the flag is as it was.
    pub async fn claimed(&mut self, database: &Database, full: bool, wanted: bool) -> Result<(), DbError> {
        self.full_claims = if full { self.full_claims.saturating_add(1) } else { 0 };
        if wanted && self.full_claims >= BUSY_CLAIMS {
            database.query(&statement::WANT_NOTIFY, &[("wanted", &false)]).await?;
        }
        Ok(())
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
}
