//! Rows that nobody holds any more, messages in doubt, and the months of history.
//!
//! A row whose lease ran out belonged to a daemon that died in the middle of a send, or was stopped for longer than the
//! lease. It may have been sent, so it becomes `unknown`: it waits for proof, then the policy of its kind decides: once
//! more, or staff.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::guards::Guards;
use super::ledger::Ledger;
use super::settings::{CatchUp, Settings};
use crate::db::{Argument, Database, DbError, field, statement};
use crate::garage::{missed, reminders};
use crate::metrics::Metrics;

/// How often leases that ran out are looked for.
const RESCUE_EVERY: Duration = Duration::from_secs(15);

/// How often messages in doubt are decided.
const RESOLVE_EVERY: Duration = Duration::from_secs(5);

/// How often appointments are looked at.
const REMIND_EVERY: Duration = Duration::from_secs(30);

/// How often months are prepared and old ones dropped.
const MAINTAIN_EVERY: Duration = Duration::from_secs(3600);

/// How often events that made no message are looked for.
const CATCH_UP_EVERY: Duration = Duration::from_secs(600);

/// Rows taken by one statement.
const BATCH: i64 = 1_000;

/// The housekeeper: one task, whose errors are logged and tried again at the next turn.
pub struct Housekeeper {
    /// The database.
    pub database: Database,
    /// Open claims of this process.
    pub ledger: Arc<Ledger>,
    /// Whether this database may be sent from.
    pub guards: Arc<Guards>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Our owner number.
    pub owner: i32,
    /// The settings in force.
    pub settings: watch::Receiver<Arc<Settings>>,
}

impl Housekeeper {
    /// Works until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut rescue = tokio::time::interval(RESCUE_EVERY);
        let mut resolve = tokio::time::interval(RESOLVE_EVERY);
        let mut remind = tokio::time::interval(REMIND_EVERY);
        let mut maintain = tokio::time::interval(MAINTAIN_EVERY);
        let mut catch_up = tokio::time::interval(CATCH_UP_EVERY);
        for timer in [&mut rescue, &mut resolve, &mut remind, &mut maintain, &mut catch_up] {
            timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        }
        loop {
            let (what, result) = tokio::select! {
                () = stop.cancelled() => return,
                _ = rescue.tick() => ("the search for lost messages", self.rescue().await),
                _ = resolve.tick() => ("the decision about messages in doubt", self.resolve().await),
                _ = remind.tick() => ("the search for appointments", self.remind().await),
                _ = catch_up.tick() => ("the search for events without a message", self.catch_up().await),
                _ = maintain.tick() => ("maintenance", self.maintain().await),
            };
            match result {
                Ok(()) => {}
                // The claimer says so already, once and not at every turn.
                Err(error) if error.is_unavailable() => debug!(error = %error, "{what} was put off"),
                Err(error) => warn!(error = %error, "{what} failed; it is tried again"),
            }
        }
    }

    async fn rescue(&self) -> Result<(), DbError> {
        let wait = self.settings.borrow().unknown_wait;
        let wait_ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX / 2);
        let rows = self
            .database
            .query(&statement::RESCUE, &[("owner", &self.owner), ("wait_ms", &wait_ms), ("at_most", &BATCH)])
            .await?;
        for row in &rows {
            let (id, attempt): (i64, i32) = (field(row, "id")?, field(row, "attempt")?);
            let owner: Option<i32> = field(row, "lease_owner")?;
            warn!(
                msg.id = id,
                msg.attempt = attempt,
                owner,
                "the daemon that was sending this message is gone; it may have been sent"
            );
        }
        if !rows.is_empty() {
            self.metrics.rescued(rows.len() as u64);
        }
        unclaim(&self.database, &self.ledger, self.owner).await
    }

    async fn resolve(&self) -> Result<(), DbError> {
        if !self.guards.may_claim() {
            return Ok(());
        }
        let kinds = self.settings.borrow().resend_kinds();
        let rows = self.database.query(&statement::RESOLVE, &[("resend_kinds", &kinds), ("at_most", &BATCH)]).await?;
        for row in &rows {
            let (id, state): (i64, &str) = (field(row, "id")?, field(row, "state")?);
            match state {
                "queued" => warn!(
                    msg.id = id,
                    "no proof that it was sent; it is sent once more, as the policy of its kind says"
                ),
                _ => warn!(msg.id = id, "no proof that it was sent; staff decide: ecar-sms resend or cancel {id}"),
            }
        }
        Ok(())
    }

    async fn remind(&self) -> Result<(), DbError> {
        let (lead, enabled) = {
            let settings = self.settings.borrow();
            (settings.reminder_lead, settings.reminders_enabled && !settings.paused)
        };
        if !enabled || !self.guards.may_claim() {
            return Ok(());
        }
        let reminders = reminders::enqueue_due(&self.database, lead).await?;
        if reminders > 0 {
            info!(reminders, "appointment reminders queued");
        }
        Ok(())
    }

    /// Never in a copy: what it lacks, the original has sent.
    async fn catch_up(&self) -> Result<(), DbError> {
        let (mode, window) = {
            let settings = self.settings.borrow();
            (settings.catch_up, settings.catch_up_window)
        };
        if mode == CatchUp::Off || self.guards.copy().is_some() {
            self.guards.missed(Vec::new());
            return Ok(());
        }
        if mode == CatchUp::Enqueue {
            let enqueued = missed::enqueue(&self.database, window).await?;
            if enqueued > 0 {
                warn!(enqueued, "the garage's triggers missed these events; their messages are queued now");
            }
        }
        let missed = missed::find(&self.database, window).await?;
        let events = missed.len();
        if self.guards.missed(missed) && events > 0 {
            warn!(
                events,
                "completions or invoices made no message; `ecar-sms status` names them, `ecar-sms doctor` says what to do"
            );
        }
        Ok(())
    }

    async fn maintain(&self) -> Result<(), DbError> {
        let row = self.database.query_one(&statement::MAINTAIN, &[]).await?;
        let done: Option<String> = field(&row, "done")?;
        if let Some(done) = done.filter(|done| !done.is_empty()) {
            info!(done, "history maintained");
        }
        Ok(())
    }
}

/// Frees rows of claims whose answer never arrived. Nothing of such a claim was handed out, so nothing was sent.
///
/// # Errors
/// [`DbError`]: it is tried again at the next turn.
pub async fn unclaim(database: &Database, ledger: &Ledger, owner: i32) -> Result<(), DbError> {
    // The statement may run much later than this look, when the database was away; claims begun meanwhile are not its business.
    let (newest, live) = ledger.look();
    let arguments: [Argument<'_>; 3] = [("owner", &owner), ("live_tokens", &live), ("newest", &newest)];
    let rows = database.query(&statement::UNCLAIM, &arguments).await?;
    if !rows.is_empty() {
        info!(messages = rows.len(), "messages of a claim whose answer was lost are free again");
    }
    Ok(())
}
