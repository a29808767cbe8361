//! What is done at regular times: sign of life, rows that nobody holds any more, reminders, the months of history.
//!
//! A row whose lease ran out belonged to a daemon that died in the middle of a send, or was stopped for longer than the
//! lease, by when a live one has met its own deadline. It may have been sent, so it is in doubt (see [`doubt`](super::doubt)). Daemons of
//! this machine that died are found sooner, by their journals (see [`recover`](super::recover)).

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::clock;
use super::contacts;
use super::doubt::Due;
use super::fleet::BEAT_EVERY;
use super::ledger::Ledger;
use super::patrol::Patrol;
use super::recover::Recovery;
use super::send::Shared;
use super::settings::{CatchUp, Settings};
use crate::db::{Argument, Database, DbError, field, statement};
use crate::garage::{missed, reminders};

/// Pause between two looks at the whole outbox for leases that ran out.
const RESCUE_EVERY: Duration = Duration::from_secs(15);

/// How often messages are looked for that wait by hours which were changed meanwhile.
const RECONSIDER_EVERY: Duration = Duration::from_secs(15);

/// The first look comes after what the journals tell has been written: they know better than a lease that ran out.
const FIRST_RESCUE: Duration = Duration::from_secs(2);

/// How often the journals of dead daemons are looked for.
const RECOVER_EVERY: Duration = Duration::from_secs(5);

/// By when the settler has usually written what a recovery found; otherwise the next beat tells of it.
const RECORDED_WITHIN: Duration = Duration::from_millis(500);

/// How often months are prepared and old ones dropped.
const MAINTAIN_EVERY: Duration = Duration::from_secs(3600);

/// How often events that made no message are looked for.
const CATCH_UP_EVERY: Duration = Duration::from_secs(600);

/// Rows taken by one statement.
const BATCH: i64 = 1_000;

/// The housekeeper: one task, whose errors are logged and tried again at the next turn.
pub struct Housekeeper {
    /// The daemon's parts.
    pub shared: Arc<Shared>,
    /// The journals of this machine, where there is a state directory.
    pub recovery: Option<Recovery>,
    /// Our owner number.
    pub owner: i32,
    /// The settings in force.
    pub settings: watch::Receiver<Arc<Settings>>,
    /// Told when messages in doubt are to be looked at.
    pub due: Arc<Due>,
    /// The garage's zone, in which reminders have their time of day.
    pub zone: String,
}

impl Housekeeper {
    /// Works until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut rescue = tokio::time::interval_at(tokio::time::Instant::now() + FIRST_RESCUE, RESCUE_EVERY);
        let mut reconsider = tokio::time::interval_at(tokio::time::Instant::now() + FIRST_RESCUE, RECONSIDER_EVERY);
        let mut recover = tokio::time::interval(RECOVER_EVERY);
        let mut beat = tokio::time::interval(BEAT_EVERY);
        let mut remind = tokio::time::interval(reminders::EVERY);
        let mut maintain = tokio::time::interval(MAINTAIN_EVERY);
        let mut catch_up = tokio::time::interval(CATCH_UP_EVERY);
        let mut patrol = Patrol::default();
        for timer in [&mut rescue, &mut reconsider, &mut recover, &mut beat, &mut remind, &mut maintain, &mut catch_up]
        {
            timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        }
        loop {
            let (what, result) = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = recover.tick() => ("the look through journals", self.recover().await),
                _ = rescue.tick() => ("the search for lost messages", self.rescue(&mut patrol).await.map(|pause| rescue.reset_after(pause))),
                _ = reconsider.tick() => ("the search for changed hours", self.reconsider().await),
                _ = beat.tick() => ("the sign of life", self.beat().await),
                _ = remind.tick() => ("the search for appointments", self.remind().await.map(|pause| remind.reset_after(pause))),
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

    async fn beat(&self) -> Result<(), DbError> {
        if let Some(wait) = self.shared.fleet.beat(&self.shared.database, self.owner).await? {
            self.due.after(wait);
        }
        Ok(())
    }

    /// Looks at a piece of the outbox. Returns how long to wait until the next one.
    async fn rescue(&self, patrol: &mut Patrol) -> Result<Duration, DbError> {
        // After a jump of the clock a lease may seem over that is not.
        if self.shared.clock.is_suspect(Instant::now()) {
            return Ok(RESCUE_EVERY);
        }
        let Shared { database, ledger, .. } = &*self.shared;
        let strays = patrol.look(database, ledger, self.owner).await?;
        if strays.lost {
            self.rescue_lost().await?;
        }
        if strays.unclaimed {
            unclaim(database, ledger, self.owner).await?;
        }
        if strays.early {
            clock::rewind(database).await?;
        }
        Ok(strays.pause.unwrap_or(RESCUE_EVERY))
    }

    /// However long a look at the whole outbox takes, hours that were changed reach their messages within seconds.
    async fn reconsider(&self) -> Result<(), DbError> {
        let again = self.shared.database.query(&statement::RECONSIDER, &[]).await?;
        if !again.is_empty() {
            info!(
                messages = again.len(),
                "the hours changed while these messages were looked at; they are looked at again"
            );
        }
        Ok(())
    }

    /// Messages of daemons that are gone.
    async fn rescue_lost(&self) -> Result<(), DbError> {
        let rows =
            self.shared.database.query(&statement::RESCUE, &[("owner", &self.owner), ("at_most", &BATCH)]).await?;
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
            self.shared.metrics.rescued(rows.len() as u64);
            self.due.after(Duration::ZERO);
        }
        Ok(())
    }

    async fn recover(&self) -> Result<(), DbError> {
        match &self.recovery {
            Some(recovery) => {
                if recovery.run().await? {
                    self.due.after(RECORDED_WITHIN);
                }
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Returns how long to wait until the next search.
    async fn remind(&self) -> Result<Duration, DbError> {
        let settings = Arc::clone(&self.settings.borrow());
        if !settings.reminders_enabled || settings.paused || !self.shared.guards.may_claim() {
            return Ok(reminders::EVERY);
        }
        let search = reminders::enqueue_due(&self.shared.database, &settings.reminder_offsets, &self.zone).await?;
        if search.made > 0 {
            info!(reminders = search.made, "appointment reminders queued");
        }
        Ok(search.pause())
    }

    /// Never in a copy: what it lacks, the original has sent.
    async fn catch_up(&self) -> Result<(), DbError> {
        let (mode, window) = {
            let settings = self.settings.borrow();
            (settings.catch_up, settings.catch_up_window)
        };
        if mode == CatchUp::Off || self.shared.guards.copy().is_some() {
            self.shared.guards.missed(Vec::new());
            return Ok(());
        }
        if mode == CatchUp::Enqueue {
            let enqueued = missed::enqueue(&self.shared.database, window).await?;
            if enqueued > 0 {
                warn!(enqueued, "the garage's triggers missed these events; their messages are queued now");
            }
        }
        let missed = missed::find(&self.shared.database, window).await?;
        let events = missed.len();
        if self.shared.guards.missed(missed) && events > 0 {
            warn!(
                events,
                "completions or invoices made no message; `ecar-sms status` names them, `ecar-sms doctor` says what to do"
            );
        }
        Ok(())
    }

    async fn maintain(&self) -> Result<(), DbError> {
        if let Some(alarm) = contacts::alarm(&self.shared.database).await? {
            warn!("{alarm}");
        }
        let row = self.shared.database.query_one(&statement::MAINTAIN, &[]).await?;
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
