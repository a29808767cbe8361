//! The senders: one for each claimed row, from facts to result, on a slot of its provider.
//!
//! A request is written only when the daemon is not stopping and the rest of the lease covers the longest time that it may
//! take. The slot is free as soon as the provider has answered; the result goes to the settler. A panic here stops the
//! daemon: what became of the message is not known, and its lease runs out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::guards::Guards;
use super::lease::{Armed, Claimed, Finished, RetryRules};
use super::ledger::Ledger;
use super::prepare::{Informed, Preparer};
use super::pulse::Pulse;
use super::settings::Settings;
use super::settle::Settler;
use crate::db::Database;
use crate::message::outcome::Outcome;
use crate::metrics::Metrics;
use crate::provider::Provider;
use crate::provider::outgoing::Outgoing;

/// Everything that the claimer and its senders share.
pub struct Shared {
    /// The database.
    pub database: Database,
    /// From row to text.
    pub preparer: Preparer,
    /// Where results go.
    pub settler: Settler,
    /// Whether this database may be sent from.
    pub guards: Arc<Guards>,
    /// Open claims.
    pub ledger: Arc<Ledger>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Beats and looks.
    pub pulse: Arc<Pulse>,
    /// Pauses between attempts; the wait in doubt comes from the settings.
    pub retry: RetryRules,
    /// No new request is written once this is set.
    pub stop: CancellationToken,
    /// Requests under way are given up as unknown once this is set.
    pub hasten: CancellationToken,
}

/// What the senders of one batch share.
pub struct Desk {
    /// The daemon's parts.
    pub shared: Arc<Shared>,
    /// Who carries the batch.
    pub provider: Arc<Provider>,
    /// The settings that the claim saw.
    pub settings: Arc<Settings>,
    /// The database's clock at the claim.
    pub now: Timestamp,
}

impl Desk {
    /// Starts a sender for each row. A slot goes with each.
    pub fn dispatch(
        self: Arc<Self>,
        rows: Vec<Claimed>,
        mut slots: Vec<OwnedSemaphorePermit>,
        senders: &mut JoinSet<()>,
    ) {
        let (sourced, plain): (Vec<_>, Vec<_>) = rows.into_iter().partition(|claimed| claimed.row.kind.has_source());
        for (claimed, slot) in plain.into_iter().zip(slots.split_off(sourced.len())) {
            senders.spawn(Arc::clone(&self).handle(Preparer::plain(claimed), slot));
        }
        if !sourced.is_empty() {
            senders.spawn(self.handle_batch(sourced, slots));
        }
    }

    /// Rows that speak of a source: facts in one call, then each on its own.
    async fn handle_batch(self: Arc<Self>, rows: Vec<Claimed>, slots: Vec<OwnedSemaphorePermit>) {
        let (informed, finished) = self.shared.preparer.inform(rows).await;
        if informed.is_empty() {
            self.provider.circuit().not_probed(Instant::now());
        }
        for finished in finished {
            self.shared.settler.record(finished).await;
        }
        let mut senders: JoinSet<()> =
            informed.into_iter().zip(slots).map(|(informed, slot)| Arc::clone(&self).handle(informed, slot)).collect();
        while let Some(ended) = senders.join_next().await {
            if let Err(panic) = ended {
                // Passed on: the claimer stops the daemon.
                std::panic::resume_unwind(panic.into_panic());
            }
        }
    }

    /// One message, from facts to result. The slot is free as soon as the provider has answered.
    async fn handle(self: Arc<Self>, informed: Informed, slot: OwnedSemaphorePermit) {
        let finished = match self.arm(informed) {
            Ok(armed) => self.send(armed).await,
            Err(finished) => {
                self.provider.circuit().not_probed(Instant::now());
                finished
            }
        };
        drop(slot);
        self.shared.settler.record(finished).await;
    }

    fn arm(&self, informed: Informed) -> Result<Armed, Finished> {
        let ready = self.shared.preparer.prepare(informed, &self.settings, self.now)?;
        if self.shared.stop.is_cancelled() {
            return Err(ready.give_back());
        }
        ready.arm(Instant::now(), self.provider.timeout())
    }

    async fn send(&self, armed: Armed) -> Finished {
        let rendered = armed.rendered();
        let outgoing = Outgoing {
            reference: armed.reference(),
            recipient: rendered.recipient.clone(),
            text: rendered.body.clone(),
            encoding: rendered.encoding,
            segments: rendered.segments,
            deadline: self.provider.timeout(),
        };
        let begun = Instant::now();
        let outcome = tokio::select! {
            outcome = self.provider.send(&outgoing) => outcome,
            () = self.shared.hasten.cancelled() => {
                Outcome::Unknown { detail: "the daemon was told to stop at once while the request was under way".to_owned() }
            }
        };
        let took = begun.elapsed();
        self.shared.metrics.attempt(self.provider.name(), outcome.word(), took.as_secs_f64());
        // The provider's own words go to the record of the message; logs and status have them without number and text.
        let shown = outgoing.discreet(&outcome);
        self.log(&armed, &outgoing, &shown, took);
        let (changed, open) = {
            let mut circuit = self.provider.circuit();
            (circuit.record(&shown, Instant::now()), circuit.is_open())
        };
        if changed && open {
            error!(
                provider.name = self.provider.name(),
                outcome = shown.word(),
                detail = shown.detail(),
                "the provider is not asked for a while; messages wait"
            );
        } else if changed {
            info!(provider.name = self.provider.name(), "the provider takes messages again");
        }
        let rules = RetryRules { unknown_wait: self.settings.unknown_wait, ..self.shared.retry.clone() };
        armed.answered(outcome, self.provider.name(), open, &rules)
    }

    fn log(&self, armed: &Armed, outgoing: &Outgoing, outcome: &Outcome, took: Duration) {
        let (id, to, provider) = (armed.id(), outgoing.masked_recipient(), self.provider.name());
        let (word, took_ms) = (outcome.word(), u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        match outcome {
            Outcome::Accepted { .. } => {
                info!(
                    msg.id = id,
                    to,
                    provider.name = provider,
                    outcome = word,
                    segments = outgoing.segments,
                    took_ms,
                    "message sent"
                );
            }
            Outcome::Unknown { detail } => {
                warn!(
                    msg.id = id,
                    to,
                    provider.name = provider,
                    outcome = word,
                    detail,
                    took_ms,
                    "the message may have been sent"
                );
            }
            Outcome::Rejected { .. }
            | Outcome::Throttled { .. }
            | Outcome::TemporaryFailure { .. }
            | Outcome::Misconfigured { .. }
            | Outcome::NoCredit { .. } => {
                warn!(
                    msg.id = id,
                    to,
                    provider.name = provider,
                    outcome = word,
                    detail = outcome.detail(),
                    took_ms,
                    "message not sent"
                );
            }
        }
    }
}
